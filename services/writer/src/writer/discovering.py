"""Applying a list of races: races, events, and a schedule row for each race."""

from collections.abc import Sequence
from datetime import datetime

from shared.contracts import RacesFetched
from shared.domain.participant import Unusable
from shared.domain.race import Event, Race
from shared.errors import Never
from shared.postgres import Connection
from shared.postgres.pool import notify
from shared.providers.registry import by_name
from shared.runtime import House
from shared.telemetry import metrics
from writer import quarantine, store
from writer.archive import keep, pack
from writer.completion import complete_if_whole
from writer.mapped import put_aside
from writer.settings import WriterSettings
from writer.wholeness import record_counts


async def apply_races(body: RacesFetched, raw: bytes | None, *, house: House, settings: WriterSettings) -> bool:
    """Apply a batch of race records, once, and archive its message ``raw``; False when it was applied already.

    A race whose events are new or moved is looked at by the schedule at once.
    """
    provider, now = by_name(body.provider), house.clock.now()
    place = store.Place(provider.provider_id, body.timing_partner_id, "")
    batch = store.BatchId(body.run_id, body.attempt, body.sequence)
    races, aside = [], []
    for record in body.records:
        mapped = provider.map_race(record)
        if isinstance(mapped, Unusable):
            aside.append(put_aside(record, mapped))
        else:
            races.append(mapped)
    async with house.database.transaction("applying races") as connection:
        credential = await lock_credential(connection, body.credential_id)
        seen = [race.race_id for race in races] + [each.registration_id for each in aside if each.registration_id]
        unreadable = sum(each.registration_id is None for each in aside)
        if not await store.enter_inbox(
            connection, batch, type=body.TYPE, now=now, seen_ids=seen, unreadable=unreadable
        ):
            metrics.batches_duplicate.inc()
            return False
        if raw is not None:
            size = len(body.records)
            await keep(
                connection, batch, place, type=body.TYPE, fetched_at=body.fetched_at, records=size, packed=pack(raw)
            )
        await quarantine.put_aside(
            connection,
            place,
            body.run_id,
            aside,
            type=body.TYPE,
            mapping_version=provider.mapping_version,
            fetched_at=body.fetched_at,
            now=now,
        )
        changed = await _upsert_races(connection, place, races, credential, body.fetched_at, now)
        changed |= await _upsert_events(connection, place, races, credential, body.fetched_at, now)
        await _schedule(connection, place, races, changed, body.credential_id, now)
        counts = {"updated": len(changed), "unchanged": len(races) - len(changed), "quarantined": len(aside)}
        row = await record_counts(connection, body.run_id, counts)
        await complete_if_whole(connection, row, place, house=house, settings=settings, now=now)
    return True


async def lock_credential(connection: Connection, credential_id: int) -> str:
    """Take the lock of everything about a key's list of races; the key's fingerprint."""
    fingerprint: str | None = await connection.fetchval(
        "SELECT fingerprint FROM credentials WHERE credential_id = $1 FOR UPDATE", credential_id
    )
    if fingerprint is None:
        raise Never(f"credential {credential_id} does not exist", reason="unknown_credential")
    return fingerprint


async def _upsert_races(
    connection: Connection, place: store.Place, races: Sequence[Race], key: str, fetched_at: datetime, now: datetime
) -> set[str]:
    """Write what is new or differs, unless something fetched later is stored; the races that were written."""
    written = set()
    for race in races:
        tag = await connection.execute(
            """
            INSERT INTO races AS r (provider_id, timing_partner_id, race_id, name, timezone, url, is_draft, is_private,
                is_registration_open, created_at, provider_modified_at, address, details, notes, credentials_used,
                fetched_at, first_seen_at, changed_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $17)
            ON CONFLICT (provider_id, timing_partner_id, race_id) DO UPDATE SET
                name = excluded.name, timezone = excluded.timezone, url = excluded.url, is_draft = excluded.is_draft,
                is_private = excluded.is_private, is_registration_open = excluded.is_registration_open,
                created_at = excluded.created_at, provider_modified_at = excluded.provider_modified_at,
                address = excluded.address, details = excluded.details, notes = excluded.notes,
                credentials_used = excluded.credentials_used, fetched_at = excluded.fetched_at,
                changed_at = excluded.changed_at, missing_at = NULL
            WHERE r.fetched_at <= excluded.fetched_at AND (r.details, r.address, r.notes, r.missing_at)
                IS DISTINCT FROM (excluded.details, excluded.address, excluded.notes, NULL::timestamptz)
            """,
            place.provider_id,
            place.timing_partner_id,
            race.race_id,
            race.name,
            race.timezone,
            race.url,
            race.is_draft,
            race.is_private,
            race.is_registration_open,
            race.created_at,
            race.provider_modified_at,
            race.address,
            race.details,
            race.notes,
            key,
            fetched_at,
            now,
        )
        if tag.endswith("1"):
            written.add(race.race_id)
    return written


async def _upsert_events(
    connection: Connection, place: store.Place, races: Sequence[Race], key: str, fetched_at: datetime, now: datetime
) -> set[str]:
    """Write events that are new or differ; events a race does not show any more are marked. The races touched."""
    touched = set()
    for race in races:
        for event in race.events:
            if await _upsert_event(connection, place, race.race_id, event, key, fetched_at, now):
                touched.add(race.race_id)
        if not race.events_known:
            continue  # nobody is removed by silence, and no event either
        # A list shows a race's current events only: one that is over is not missing because it is not shown any more.
        gone = await connection.fetch(
            "UPDATE events SET missing_at = $5 WHERE provider_id = $1 AND timing_partner_id = $2 AND race_id = $3"
            " AND NOT event_id = ANY($4) AND missing_at IS NULL AND fetched_at <= $6"
            " AND coalesce(last_moment_at, $6) > $6::timestamptz - interval '1 hour'"
            " RETURNING event_id",
            place.provider_id,
            place.timing_partner_id,
            race.race_id,
            [event.event_id for event in race.events],
            now,
            fetched_at,
        )
        if gone:
            touched.add(race.race_id)
    return touched


async def _upsert_event(
    connection: Connection,
    place: store.Place,
    race_id: str,
    event: Event,
    key: str,
    fetched_at: datetime,
    now: datetime,
) -> bool:
    tag: str = await connection.execute(
        """
        INSERT INTO events AS e (provider_id, timing_partner_id, event_id, race_id, name, event_type, edition_id,
            starts_at, ends_at, registration_opens_at, registration_closes_at, distance, distance_unit, is_volunteer,
            sub_event_ids, details, notes, credentials_used, fetched_at, first_seen_at, changed_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $20)
        ON CONFLICT (provider_id, timing_partner_id, event_id) DO UPDATE SET
            race_id = excluded.race_id, name = excluded.name, event_type = excluded.event_type,
            edition_id = excluded.edition_id, starts_at = excluded.starts_at, ends_at = excluded.ends_at,
            registration_opens_at = excluded.registration_opens_at,
            registration_closes_at = excluded.registration_closes_at, distance = excluded.distance,
            distance_unit = excluded.distance_unit, is_volunteer = excluded.is_volunteer,
            sub_event_ids = excluded.sub_event_ids, details = excluded.details, notes = excluded.notes,
            credentials_used = excluded.credentials_used, fetched_at = excluded.fetched_at,
            changed_at = excluded.changed_at, missing_at = NULL
        WHERE e.fetched_at <= excluded.fetched_at
          AND (e.race_id, e.starts_at, e.ends_at, e.registration_closes_at, e.details, e.notes, e.missing_at)
            IS DISTINCT FROM (excluded.race_id, excluded.starts_at, excluded.ends_at, excluded.registration_closes_at,
                excluded.details, excluded.notes, NULL::timestamptz)
        """,
        place.provider_id,
        place.timing_partner_id,
        event.event_id,
        race_id,
        event.name,
        event.event_type,
        event.edition_id,
        event.starts_at,
        event.ends_at,
        event.registration_opens_at,
        event.registration_closes_at,
        event.distance,
        event.distance_unit,
        event.is_volunteer,
        list(event.sub_event_ids),
        event.details,
        event.notes,
        key,
        fetched_at,
        now,
    )
    return tag.endswith("1")


async def _schedule(
    connection: Connection,
    place: store.Place,
    races: Sequence[Race],
    changed: set[str],
    credential_id: int,
    now: datetime,
) -> None:
    """A schedule row for each race; new, changed and returned ones are looked at at once.

    A race keeps the key that it was found with, unless that key is not in use any more. A refused race that is still
    listed is tried again once a day: rights come back without the race changing.
    """
    await connection.execute(
        """
        INSERT INTO race_sync AS s (provider_id, timing_partner_id, race_id, credential_id, next_due_at)
        SELECT $1, $2, race_id, $4, $5 FROM unnest($3::text[]) AS race_id
        ORDER BY race_id -- as everyone does who locks several
        ON CONFLICT (provider_id, timing_partner_id, race_id) DO UPDATE SET
            state = 'active', state_reason = NULL,
            next_due_at = CASE WHEN s.race_id = ANY($6) OR s.state <> 'active' THEN $5 ELSE s.next_due_at END,
            credential_id = CASE WHEN s.state = 'active' AND EXISTS (SELECT 1 FROM credentials c
                WHERE c.credential_id = s.credential_id AND c.state IN ('new', 'active'))
                THEN s.credential_id ELSE $4 END
        WHERE s.race_id = ANY($6) OR s.state = 'missing'
            OR (s.state = 'refused' AND (s.credential_id <> $4 OR s.next_due_at < $5::timestamptz - interval '1 day'))
            OR NOT EXISTS (SELECT 1 FROM credentials c
                WHERE c.credential_id = s.credential_id AND c.state IN ('new', 'active'))
        """,
        place.provider_id,
        place.timing_partner_id,
        list(dict.fromkeys(race.race_id for race in races)),
        credential_id,
        now,
        sorted(changed),
    )
    await notify(connection, "due")
    if changed:
        await notify(connection, "races")  # whoever plans ahead has to think again
