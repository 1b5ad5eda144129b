"""The end of a run: complete if and only if exactly the batches of its pass are applied.

Whichever of two writers makes the pass complete, in whatever order batches and end come, completes it, once: every
transaction of a race locks the race's row first.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
import structlog

from shared.contracts import Diff, SyncFetched
from shared.domain.bibs import BibRanges
from shared.domain.cursor import next_cursor
from shared.domain.participant import Removal
from shared.domain.run import Kind, Mode, Reason, State
from shared.postgres import Connection
from shared.postgres.credentials import take_over
from shared.postgres.pool import notify
from shared.postgres.runs import Ending, finish_run
from shared.providers.registry import by_id
from shared.runtime import House
from shared.telemetry import metrics
from writer import archive, participants, quarantine, store
from writer.merging import LONG_AGO, Loss, may_remove
from writer.settings import WriterSettings
from writer.telling import tell_changes

log = structlog.get_logger()

SOURCE = "writer"

#: Why somebody is gone whom a complete full pass did not contain, until a list of removed people tells it better.
ABSENT = "absent"


def _batches_of(run_id: str, ranges: str) -> str:
    """The batches of a run that belong to its pass, as SQL."""
    return f"""
        SELECT b.* FROM applied_batches b
        WHERE b.run_id = {run_id} AND EXISTS (SELECT 1 FROM jsonb_array_elements({ranges}) AS r
            WHERE b.attempt = (r->>0)::int AND b.sequence BETWEEN (r->>1)::int AND (r->>2)::int)
    """


BATCHES_OF_RUN = _batches_of("$1", "$2::jsonb")

#: What a run's end is decided by, as it stands after a change of the run: for RETURNING.
WHOLENESS = f"""
    run_id, state, kind, mode, reason, race_id, removals, event_ids, ranges, batches, credential_id, deadline_at,
    progress->'end' AS ending,
    CASE WHEN state = 'fetched' THEN
        (SELECT count(*) FROM ({_batches_of("sync_runs.run_id", "sync_runs.ranges")}) AS pass)
    END AS applied
"""


async def record_end(connection: Connection, end: SyncFetched) -> Any:
    """Keep what makes up the pass; what the run's end is decided by, None when it has ended or its end was known."""
    total = sum(last - first + 1 for _, first, last in end.ranges)
    return await connection.fetchrow(
        f"""
        UPDATE sync_runs SET state = 'fetched', ranges = $2, batches = $3, pages = $4, fetched = $5,
            leased_until = NULL, progress = progress || $6, started_at = coalesce(started_at, $7)
        WHERE run_id = $1 AND state IN ('requested', 'running')
        RETURNING {WHOLENESS}
        """,
        end.run_id,
        orjson.dumps(end.ranges).decode(),
        total,
        end.pages,
        end.records,
        orjson.dumps({"end": end.model_dump(mode="json", exclude={"ranges", "failure"})}).decode(),
        end.first_call_at,
    )


async def record_counts(connection: Connection, run_id: UUID, counts: Mapping[str, int]) -> Any:
    """Add to a run's counts; what its end is decided by, None for a run that does not exist."""
    return await connection.fetchrow(
        f"""
        UPDATE sync_runs SET added = added + $2, updated = updated + $3, unchanged = unchanged + $4, stale = stale + $5,
            removed = removed + $6, restored = restored + $7, quarantined = quarantined + $8
        WHERE run_id = $1
        RETURNING {WHOLENESS}
        """,
        run_id,
        *(
            counts.get(name, 0)
            for name in ("added", "updated", "unchanged", "stale", "removed", "restored", "quarantined")
        ),
    )


async def complete_if_whole(
    connection: Connection, row: Any, place: store.Place, *, house: House, settings: WriterSettings, now: datetime
) -> bool:
    """Complete a run if all of its pass is applied and its end known; say whether it did.

    ``row`` is what `record_end` or `record_counts` said of it in this transaction.
    """
    if row is None or row["state"] != State.FETCHED or row["applied"] != row["batches"]:
        return False
    if row["deadline_at"] is not None and row["deadline_at"] < now:
        return False  # expired for good: the scheduler gives it up, its rows stay
    run_id: UUID = row["run_id"]
    end = SyncFetched.model_validate({**orjson.loads(row["ending"]), "ranges": orjson.loads(row["ranges"])})
    cursor: datetime | None = None
    if row["kind"] == Kind.RACE:
        covered, before = await _covered(connection, place, row["event_ids"], now)
        whole = covered and row["reason"] != Reason.BACKFILL
        if row["mode"] == Mode.FULL:
            await _remove_missing(
                connection, run_id, place, row, end, whole=whole, house=house, settings=settings, now=now
            )
        cursor = await _move_cursor(connection, place, row["event_ids"], end, before, removals=row["removals"])
        await quarantine.settle_by_later_records(connection, place, now)
        if end.bib_ranges:
            await _keep_bib_ranges(connection, place, end.bib_ranges)
        if whole:
            await _confirm(connection, place, end, full=row["mode"] == Mode.FULL)
    elif row["kind"] == Kind.DISCOVER:
        await _mark_missing_races(connection, run_id, place, row, end, now)
    elif row["kind"] == Kind.HISTORY and row["race_id"] is not None:
        await connection.execute(
            "UPDATE race_sync SET history_at = $4 WHERE provider_id = $1 AND timing_partner_id = $2 AND race_id = $3",
            place.provider_id,
            place.timing_partner_id,
            row["race_id"],
            end.first_call_at,
        )
    provider = by_id(place.provider_id).name
    ending = Ending(State.COMPLETED, cursor=cursor)
    done = await finish_run(
        connection, run_id, ending, provider=provider, source=SOURCE, message_id=house.new_id(), now=now
    )
    if done:
        metrics.runs_finished.labels(provider, row["kind"], State.COMPLETED).inc()
    return done


async def _remove_missing(
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
    """Mark those gone whom a complete full pass did not contain, unless that is too many to believe."""
    found = await connection.fetchrow(
        f"""
        WITH pass AS ({BATCHES_OF_RUN}),
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
        end.first_call_at,
    )
    assert found is not None
    missing: list[str] = found["missing"]
    if not missing:
        if whole:
            await _settle_held(connection, place, now)
        return
    loss = Loss(len(missing), found["active"], found["seen"], found["unreadable"])
    allowed, why = may_remove(loss, share=settings.removal_share, people=settings.removal_people)
    if not allowed:
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
            end.first_call_at,
            now,
            whole,
        )
        return
    if whole:
        await _settle_held(connection, place, now)
    assert end.first_call_at is not None
    await remove_absent(connection, run_id, place, missing, end.first_call_at, house=house)


async def remove_absent(
    connection: Connection,
    run_id: UUID,
    place: store.Place,
    registration_ids: list[str],
    as_of: datetime,
    *,
    house: House,
    keep: bool = True,
) -> int:
    """Mark those gone who were not there as of an instant, unless they were seen since; how many.

    The race is locked. ``keep`` archives it, as a replay would otherwise bring them back.
    """
    now, rows = house.clock.now(), await participants.stored_rows(connection, place, registration_ids)
    gone = [
        Removal(each, place.race_id, rows[each]["event_id"], ABSENT, None, None, None, None)
        for each in sorted(rows)
        if rows[each]["removed_at"] is None and rows[each]["presence_at"] < as_of
    ]
    if not gone:
        return 0
    await participants.mark_removed(connection, place, gone, fetched_at=as_of, now=now)
    run = await store.load_run(connection, run_id)
    assert run is not None
    diffs = [removed_diff(each, rows[each.registration_id]["bib"]) for each in gone]
    await tell_changes(connection, run, place, diffs, house=house, now=now)
    await record_counts(connection, run_id, {"removed": len(gone)})
    if keep:
        events = {each.registration_id: each.event_id for each in gone}
        await archive.keep_absent(connection, run_id, place, events, as_of)
    return len(gone)


async def _covered(
    connection: Connection, place: store.Place, event_ids: list[str], now: datetime
) -> tuple[bool, datetime | None]:
    """Whether a run covered every event of its race that is still wanted, and the smallest cursor of those it did.

    An operator may ask for some events of a race.
    """
    row = await connection.fetchrow(
        """
        SELECT coalesce(bool_or(NOT event_id = ANY($4) AND missing_at IS NULL
                AND coalesce(last_moment_at, $5) > $5::timestamptz - interval '1 hour'), false) AS has_others,
            min(cursor_at) FILTER (WHERE event_id = ANY($4)) AS cursor
        FROM events WHERE provider_id = $1 AND timing_partner_id = $2 AND race_id = $3
        """,
        place.provider_id,
        place.timing_partner_id,
        place.race_id,
        event_ids,
        now,
    )
    assert row is not None, "an aggregate has a row"
    return not row["has_others"], row["cursor"]


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


async def _move_cursor(
    connection: Connection,
    place: store.Place,
    event_ids: list[str],
    end: SyncFetched,
    before: datetime | None,
    *,
    removals: bool,
) -> datetime | None:
    """Move the cursor of every event of the pass, never backwards, in the transaction that completed it.

    The cursor of removed people moves only with a pass that asked for them: most rounds do not. The first full pass
    sets it too, since nobody was known before.
    """
    cursor = next_cursor(
        newest_seen=end.newest_modified,
        first_answer_at=end.first_answer_at,
        first_page_newest=end.first_page_newest,
        before=before,
    )
    if cursor is None:
        # Nobody is registered, or the answer was a lie: the next round asks from the beginning, for no call more.
        cursor = LONG_AGO
    if cursor is not None:
        await connection.execute(
            """
            UPDATE events SET cursor_at = greatest(cursor_at, $4), removals_cursor_at = CASE
                WHEN $5 OR removals_cursor_at IS NULL THEN greatest(removals_cursor_at, $4) ELSE removals_cursor_at END
            WHERE provider_id = $1 AND timing_partner_id = $2 AND event_id = ANY($3)
              AND ($5 OR removals_cursor_at IS NULL OR cursor_at IS DISTINCT FROM greatest(cursor_at, $4))
            """,
            place.provider_id,
            place.timing_partner_id,
            event_ids,
            cursor,
            removals,
        )
    return cursor


async def _confirm(connection: Connection, place: store.Place, end: SyncFetched, *, full: bool) -> None:
    """The provider's state was seen, as of the run's first call."""
    await connection.execute(
        """
        UPDATE race_sync SET last_confirmed_at = greatest(last_confirmed_at, $4), failures = 0,
            state = CASE state WHEN 'refused' THEN 'active' ELSE state END, state_reason = NULL,
            last_full_at = CASE WHEN $5 THEN greatest(last_full_at, $4) ELSE last_full_at END
        WHERE provider_id = $1 AND timing_partner_id = $2 AND race_id = $3
        """,
        place.provider_id,
        place.timing_partner_id,
        place.race_id,
        end.first_call_at,
        full,
    )


async def _keep_bib_ranges(connection: Connection, place: store.Place, ranges: BibRanges) -> None:
    """Which bibs the race's events give out, as the run's last calls found it."""
    await connection.executemany(
        "UPDATE events SET bib_ranges = $5 WHERE provider_id = $1 AND timing_partner_id = $2 AND race_id = $3"
        " AND event_id = $4 AND bib_ranges IS DISTINCT FROM $5",
        [
            (place.provider_id, place.timing_partner_id, place.race_id, event_id, orjson.dumps(each).decode())
            for event_id, each in sorted(ranges.items())
        ],
    )


async def mark_missing(
    connection: Connection, place: store.Place, race_ids: list[str], as_of: datetime, now: datetime
) -> None:
    """Mark races as gone from the list as of an instant, unless they were found anew since."""
    await connection.execute(
        """
        WITH gone AS (
            UPDATE races SET missing_at = $5 WHERE provider_id = $1 AND timing_partner_id = $2 AND race_id = ANY($3)
                AND fetched_at < $4 AND missing_at IS NULL RETURNING race_id
        )
        UPDATE race_sync SET state = 'missing', state_reason = 'left the list'
        WHERE provider_id = $1 AND timing_partner_id = $2 AND race_id IN (SELECT race_id FROM gone)
        """,
        place.provider_id,
        place.timing_partner_id,
        race_ids,
        as_of,
        now,
    )


async def _mark_missing_races(
    connection: Connection, run_id: UUID, place: store.Place, row: Any, end: SyncFetched, now: datetime
) -> None:
    """Races that a complete list did not contain are kept, marked, and not polled; many at once are not believed."""
    credential_id: int = row["credential_id"]
    found = await connection.fetchrow(
        f"""
        WITH pass AS ({BATCHES_OF_RUN}), seen AS (SELECT unnest(seen_ids) AS race_id FROM pass),
        listed AS (SELECT race_id FROM race_sync WHERE credential_id = $3 AND state IN ('active', 'refused')),
        missing AS (SELECT race_id FROM listed EXCEPT SELECT race_id FROM seen)
        SELECT (SELECT count(*) FROM seen) AS seen, (SELECT coalesce(sum(unreadable), 0) FROM pass) AS unreadable,
            (SELECT count(*) FROM listed) AS active,
            (SELECT coalesce(array_agg(race_id), '{{}}') FROM missing) AS missing,
            (SELECT coalesce(array_agg(race_id), '{{}}') FROM seen) AS listed
        """,
        run_id,
        row["ranges"],
        credential_id,
    )
    assert found is not None
    missing: list[str] = found["missing"]
    few = len(missing) <= max(2, found["active"] // 2)
    if missing and found["seen"] and not found["unreadable"] and few:
        assert end.first_call_at is not None
        await mark_missing(connection, place, missing, end.first_call_at, now)
        await archive.keep_missing(connection, run_id, place, missing, end.first_call_at)
    elif missing:
        log.warning(
            "Races missing from a list were not given up.",
            action="missing_races_held",
            run_id=str(run_id),
            partner=place.timing_partner_id,
            missing=len(missing),
            listed=found["seen"],
        )
    await take_over(connection, credential_id, found["listed"], now)
    await connection.execute(
        "UPDATE credentials SET last_discovered_at = greatest(last_discovered_at, $2) WHERE credential_id = $1",
        credential_id,
        end.first_call_at,
    )
    await notify(connection, "due")
