"""What `hub status` reads: one query a fact, all at one instant that is passed in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.cadences import Cadences, CadenceValues
from shared.ops.bib_rows import conflicts
from shared.ops.freshness import Watched
from shared.ops.selecting import Partner, all_partners
from shared.postgres import Database
from shared.postgres.beats import living
from shared.postgres.replays import going_on
from shared.postgres.schedules import RaceKey, event_times, hour_of, in_hour, load_cadences
from shared.postgres.truths import Checked, last_checked

#: A bib in conflict needs somebody when its race starts so soon.
SOON = timedelta(hours=24)


#: In which a provider's calls are looked at.
JUST_NOW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Facts:
    """The state of the whole system."""

    now: datetime
    services: dict[str, int]
    partners: Sequence[Partner]
    races: Sequence[Watched]
    refused_races: int
    budgets: Sequence[Any]
    runs: Sequence[Any]
    backfills: Sequence[Any]
    failures: Sequence[Any]
    quarantine: Sequence[Any]
    dead_letters: Sequence[Any]
    held: Sequence[Any]
    conflicts: Sequence[Any]  # whose bib is in conflict, in races that start within a day
    replays: Sequence[Any]  # that are going on
    stops: Sequence[Any]
    failing: Sequence[Any]  # providers of whose calls at least half failed just now
    broken: Sequence[Checked]  # truths that did not hold when they were checked last
    stretched: Sequence[Any]  # hours to come in which races are asked for less often
    outbox: int
    outbox_since: datetime | None
    newest_feed_id: int
    archive_bytes: int


async def broken_truths(database: Database) -> list[Checked]:
    """What the scheduler, or `hub check`, found broken the last time."""
    async with database.connection("reading checks") as connection:
        return [each for each in await last_checked(connection) if each.broken]


async def gather(database: Database, base: CadenceValues, now: datetime) -> Facts:
    """Read all of it."""
    async with database.connection("reading cadences") as connection:
        cadences = await load_cadences(connection, base)
    outbox = await database.fetchrow("SELECT count(*) AS waiting, min(created_at) AS since FROM outbox")
    assert outbox is not None
    partners = await all_partners(database)
    return Facts(
        now=now,
        services=await living(database, now),
        partners=partners,
        races=await watched_races(database, cadences, now),
        refused_races=await database.fetchval("SELECT count(*) FROM race_sync WHERE state = 'refused'"),
        budgets=await budgets(database, now),
        runs=await database.fetch(
            "SELECT state, sync_class, count(*) AS runs, min(requested_at) AS oldest_at, min(not_before) AS next_at"
            " FROM sync_runs WHERE state IN ('queued', 'requested', 'running', 'fetched') GROUP BY 1, 2"
            " ORDER BY array_position(ARRAY['raceday', 'near', 'routine', 'backfill'], sync_class), 1"
        ),
        backfills=await database.fetch(
            "SELECT state, count(*) AS partners FROM (SELECT DISTINCT ON (timing_partner_id) state FROM backfills"
            " ORDER BY timing_partner_id, backfill_id DESC) AS newest GROUP BY 1 ORDER BY 1"
        ),
        failures=await database.fetch(
            "SELECT coalesce(error_code, state) AS code, count(*) AS runs FROM sync_runs"
            " WHERE state IN ('failed', 'expired') AND requested_at > $1::timestamptz - interval '24 hours'"
            " GROUP BY 1 ORDER BY 2 DESC",
            now,
        ),
        quarantine=await database.fetch(
            "SELECT v.name AS provider, reason, count(*) AS rows, max(last_seen_at) AS last_at FROM quarantine"
            " JOIN public.providers v USING (provider_id) WHERE resolved_at IS NULL GROUP BY 1, 2 ORDER BY 3 DESC"
        ),
        dead_letters=await database.fetch(
            "SELECT type, reason, count(*) AS messages, max(dead_at) AS last_at FROM dead_letters"
            " WHERE resolved_at IS NULL GROUP BY 1, 2 ORDER BY 3 DESC"
        ),
        held=await database.fetch(
            "SELECT item_id, timing_partner_id AS partner_id, race_id, cardinality(registration_ids) AS people, active,"
            " held_at FROM held_removals WHERE resolved_at IS NULL ORDER BY 4 DESC"
        ),
        conflicts=await conflicts(database, [each.partner_id for each in partners], now, within=SOON),
        replays=await going_on(database),
        broken=await broken_truths(database),
        stops=await database.fetch(
            "SELECT v.name AS provider, s.reason, s.until FROM provider_stops s"
            " JOIN public.providers v USING (provider_id) WHERE s.until > $1",
            now,
        ),
        failing=await database.fetch(
            "SELECT v.name AS provider, count(*) AS calls, count(*) FILTER (WHERE outcome <> 'ok') AS failed,"
            " mode() WITHIN GROUP (ORDER BY outcome) FILTER (WHERE outcome <> 'ok') AS code"
            " FROM calls c JOIN public.providers v USING (provider_id)"
            " WHERE finished_at > $1 AND outcome NOT IN ('unused', 'cancelled') GROUP BY 1"
            " HAVING count(*) FILTER (WHERE outcome <> 'ok') >= greatest(3, count(*) / 2.0)",
            now - JUST_NOW,
        ),
        stretched=await database.fetch(
            "SELECT fingerprint, hour, raceday_races, interval_seconds, slowdown, announced_at FROM key_hours"
            " WHERE announced_at IS NOT NULL AND hour >= $1 ORDER BY fingerprint, hour",
            hour_of(now),
        ),
        outbox=outbox["waiting"],
        outbox_since=outbox["since"],
        newest_feed_id=int(
            await database.fetchval("SELECT coalesce(max(feed_first + size) - 1, 0) FROM change_batches")
        ),
        archive_bytes=await database.fetchval("SELECT pg_total_relation_size('hub.raw_batches')"),
    )


async def watched_races(database: Database, cadences: Cadences, now: datetime) -> list[Watched]:
    """Every race that is polled, with the cadence that holds for it now."""
    async with database.connection("reading the schedule") as connection:
        times = await event_times(connection, None, now, cadences.wanted)
        rows = await connection.fetch(
            """
            SELECT s.provider_id, s.timing_partner_id, s.race_id, r.name, s.last_confirmed_at, s.pace_since,
                h.interval_seconds, h.slowdown
            FROM race_sync s JOIN credentials c USING (credential_id)
            JOIN public.timing_partners p ON p.timing_partner_id = s.timing_partner_id
            LEFT JOIN races r ON (r.provider_id, r.timing_partner_id, r.race_id)
                = (s.provider_id, s.timing_partner_id, s.race_id)
            CROSS JOIN LATERAL (
                SELECT max(interval_seconds) AS interval_seconds, max(slowdown) AS slowdown FROM key_hours
                WHERE (provider_id, fingerprint) = (s.provider_id, c.fingerprint)
                  AND hour IN ($1, date_trunc('hour', s.last_confirmed_at, 'UTC')) -- in which it was promised
            ) h
            WHERE s.state = 'active' AND c.state <> 'disabled' AND coalesce(p.api_access_enabled, true)
            """,
            hour_of(now),
        )
    found = []
    for row in rows:
        key = RaceKey(row["provider_id"], row["timing_partner_id"], row["race_id"])
        if key not in times:
            continue
        cadence = in_hour(cadences.of(key.timing_partner_id, key.race_id), row)
        spans = [each.span(cadence) for each in times[key]]
        seen = (row["last_confirmed_at"], row["pace_since"])
        found.append(Watched(key.timing_partner_id, key.race_id, row["name"], spans, cadence, *seen))
    return found


async def budgets(database: Database, now: datetime) -> list[Any]:
    """Each key's limit, what counts of it now, and until when it is blocked."""
    return await database.fetch(
        """
        SELECT v.name AS provider, k.fingerprint,
            coalesce(k.calls_per_hour, v.rate_limit_per_hour, 1000) AS calls_per_hour,
            (SELECT count(*) FROM calls c WHERE c.provider_id = k.provider_id AND c.fingerprint = k.fingerprint
                AND c.counts_until > $1) AS calls,
            k.others_calls, CASE WHEN k.others_seen_at > $1::timestamptz - interval '1 hour' THEN k.others_seen_at END
                AS others_seen_at,
            CASE WHEN k.blocked_until > $1 THEN k.blocked_until END AS blocked_until,
            CASE WHEN k.blocked_until > $1 THEN k.block_reason END AS block_reason
        FROM provider_keys k JOIN public.providers v USING (provider_id) ORDER BY calls DESC, k.fingerprint
        """,
        now,
    )
