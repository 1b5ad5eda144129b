"""Whom a complete full pass did not contain: noted the first time, gone the second; held when they are many.

An answer may leave people out and look true, and nothing in it tells. Two passes, a round apart, would have to leave
out the same people. What the provider itself says of who left needs none of this.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from shared.contracts import Diff, SyncFetched
from shared.domain.participant import Removal
from shared.postgres import Connection
from shared.providers.registry import by_id
from shared.runtime import House
from shared.telemetry import metrics
from writer import archive, participants, store, wholeness
from writer.merging import Loss, may_remove
from writer.settings import WriterSettings
from writer.telling import tell_changes

log = structlog.get_logger()

#: Why somebody is gone whom complete full passes did not contain, until a list of removed people tells it better.
ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Missed:
    """Whom the last complete full pass of a race did not contain, for the first time."""

    registration_ids: frozenset[str]
    first_call_at: datetime


async def remove_missing(
    connection: Connection,
    run_id: UUID,
    place: store.Place,
    row: Any,
    end: SyncFetched,
    *,
    whole: bool,
    house: House,
    settings: WriterSettings,
    now: datetime,
) -> None:
    """Mark those gone whom this complete full pass did not contain, nor the one before, unless they are too many to
    believe.

    Whom it is the first to lack is noted, if it is ``whole``: of all events that are wanted.
    """
    assert end.first_call_at is not None
    loss, missing = await _lacking(connection, run_id, place, row, end.first_call_at)
    if missing:
        allowed, why = may_remove(loss, share=settings.removal_share, people=settings.removal_people)
        if not allowed:
            await _hold(connection, run_id, place, missing, loss, why, end.first_call_at, whole=whole, now=now)
            return
    if whole:
        await _settle_held(connection, place, now)
    before = await _missed_before(connection, place)
    gone: set[str] = set()
    if before is not None:
        if before.first_call_at >= end.first_call_at:
            return  # a newer pass is over already
        twice = [each for each in missing if each in before.registration_ids]
        as_of, since = end.first_call_at, before.first_call_at
        gone = set(await remove_absent(connection, run_id, place, twice, as_of, house=house, unseen_since=since))
    once = [each for each in missing if each not in gone]
    if whole and (once or before is not None):
        # The next round asks for everybody again; but not one round after the other, should the provider flicker.
        await _note(connection, run_id, place, once, end.first_call_at, ask_again=before is None)


async def _lacking(
    connection: Connection, run_id: UUID, place: store.Place, row: Any, as_of: datetime
) -> tuple[Loss, list[str]]:
    """Who is active, was not seen since the pass began, and is not in it."""
    found = await connection.fetchrow(
        f"""
        WITH pass AS ({wholeness.BATCHES_OF_RUN}),
        seen AS (SELECT unnest(seen_ids) AS registration_id FROM pass WHERE type = 'participants.fetched.v1'),
        active AS (
            -- Event by event, and the provider outside: so the one index that fits is participants_of_race. On a table
            -- never analyzed every index looks alike, and another one walks through everybody of every race.
            SELECT p.registration_id, p.presence_at FROM unnest($6::text[]) AS wanted (event_id), LATERAL (
                SELECT * FROM participants WHERE timing_partner_id = $4 AND race_id = $5
                    AND event_id = wanted.event_id AND removed_at IS NULL OFFSET 0
            ) AS p WHERE p.provider_id = $3
        ),
        -- EXCEPT hashes or sorts whatever the planner believes of sizes; a join was quadratic on a fresh table.
        missing AS (SELECT registration_id FROM active WHERE presence_at < $7 EXCEPT SELECT registration_id FROM seen)
        SELECT (SELECT coalesce(sum(unreadable), 0) FROM pass) AS unreadable, (SELECT count(*) FROM seen) AS seen,
            (SELECT count(*) FROM active) AS active,
            (SELECT coalesce(array_agg(registration_id), '{{}}') FROM missing) AS missing
        """,
        run_id,
        row["ranges"],
        place.provider_id,
        place.timing_partner_id,
        place.race_id,
        row["event_ids"],
        as_of,
    )
    assert found is not None
    return Loss(len(found["missing"]), found["active"], found["seen"], found["unreadable"]), found["missing"]


async def _hold(
    connection: Connection,
    run_id: UUID,
    place: store.Place,
    missing: list[str],
    loss: Loss,
    why: str,
    first_call_at: datetime,
    *,
    whole: bool,
    now: datetime,
) -> None:
    """Remove nobody, and leave it to an operator."""
    log.warning(
        "People missing from a full pass were not removed.",
        action="removals_held",
        run_id=str(run_id),
        race=place.race_id,
        partner=place.timing_partner_id,
        missing=loss.missing,
        active=loss.active,
        why=why,
    )
    metrics.removals_held.labels(by_id(place.provider_id).name).inc()
    await connection.execute(
        """
        INSERT INTO held_removals (provider_id, timing_partner_id, race_id, run_id, registration_ids, active,
            first_call_at, held_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (provider_id, timing_partner_id, race_id) WHERE resolved_at IS NULL
        DO UPDATE SET run_id = $4, active = greatest(held_removals.active, $6), first_call_at = $7,
            registration_ids = CASE WHEN $9 THEN $5
                ELSE ARRAY(SELECT unnest(held_removals.registration_ids) UNION SELECT unnest($5::text[])) END
        """,
        place.provider_id,
        place.timing_partner_id,
        place.race_id,
        run_id,
        missing,
        loss.active,
        first_call_at,
        now,
        whole,
    )


async def _missed_before(connection: Connection, place: store.Place) -> Missed | None:
    row = await connection.fetchrow(
        "SELECT registration_ids, first_call_at FROM missed"
        " WHERE provider_id = $1 AND timing_partner_id = $2 AND race_id = $3",
        place.provider_id,
        place.timing_partner_id,
        place.race_id,
    )
    return None if row is None else Missed(frozenset(row["registration_ids"]), row["first_call_at"])


async def _note(
    connection: Connection,
    run_id: UUID,
    place: store.Place,
    registration_ids: list[str],
    first_call_at: datetime,
    *,
    ask_again: bool,
) -> None:
    """Keep whom a pass was the first to lack, in the place of what an earlier one left."""
    where = (place.provider_id, place.timing_partner_id, place.race_id)
    if not registration_ids:
        await connection.execute(
            "DELETE FROM missed WHERE provider_id = $1 AND timing_partner_id = $2 AND race_id = $3", *where
        )
        return
    await connection.execute(
        "INSERT INTO missed (provider_id, timing_partner_id, race_id, run_id, registration_ids, first_call_at,"
        " ask_again) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (provider_id, timing_partner_id, race_id)"
        " DO UPDATE SET run_id = $4, registration_ids = $5, first_call_at = $6, ask_again = $7",
        *where,
        run_id,
        registration_ids,
        first_call_at,
        ask_again,
    )


async def remove_absent(
    connection: Connection,
    run_id: UUID,
    place: store.Place,
    registration_ids: list[str],
    as_of: datetime,
    *,
    house: House,
    unseen_since: datetime | None = None,
    keep: bool = True,
) -> list[str]:
    """Mark those gone who were not there as of an instant, unless they were seen since (``unseen_since``: since then).

    Returns them. The race is locked. ``keep`` archives it, as a replay would otherwise bring them back.
    """
    now, rows = house.clock.now(), await participants.stored_rows(connection, place, registration_ids)
    gone = [
        Removal(each, place.race_id, rows[each]["event_id"], ABSENT, None, None, None, None)
        for each in sorted(rows)
        if rows[each]["removed_at"] is None and rows[each]["presence_at"] < (unseen_since or as_of)
    ]
    if not gone:
        return []
    await participants.mark_removed(connection, place, gone, fetched_at=as_of, now=now)
    run = await store.load_run(connection, run_id)
    assert run is not None
    diffs = [removed_diff(each, rows[each.registration_id]["bib"]) for each in gone]
    await tell_changes(connection, run, place, diffs, house=house, now=now)
    await wholeness.record_counts(connection, run_id, {"removed": len(gone)})
    if keep:
        events = {each.registration_id: each.event_id for each in gone}
        await archive.keep_absent(connection, run_id, place, events, as_of)
    return [each.registration_id for each in gone]


async def _settle_held(connection: Connection, place: store.Place, now: datetime) -> None:
    """A later complete pass says who is missing now: what was held before is settled by it."""
    await connection.execute(
        "UPDATE held_removals SET resolved_at = $4, resolution = 'settled by a later pass' WHERE provider_id = $1"
        " AND timing_partner_id = $2 AND race_id = $3 AND resolved_at IS NULL",
        place.provider_id,
        place.timing_partner_id,
        place.race_id,
        now,
    )


def removed_diff(removal: Removal, bib: str | None) -> Diff:
    """How the feed tells that somebody is gone."""
    fields: dict[str, tuple[object, object]] = {"removed_reason": (None, removal.reason)}
    if removal.new_registration_id is not None:
        fields["new_registration_id"] = (None, removal.new_registration_id)
    if bib is not None:
        fields["bib"] = (bib, None)
    return {
        "registration_id": removal.registration_id,
        "event_id": removal.event_id,
        "kind": "removed",
        "fields": fields,
    }
