"""The end of a run: complete if and only if exactly the batches of its pass are applied.

Whichever of two writers makes the pass complete, in whatever order batches and end come, completes it, once: every
transaction of a race locks the race's row first.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
import structlog

from shared.contracts import SyncFetched
from shared.domain.bibs import BibRanges
from shared.domain.cursor import next_cursor
from shared.domain.run import Kind, Mode, Reason, State
from shared.postgres import Connection
from shared.postgres.credentials import take_over
from shared.postgres.pool import notify
from shared.postgres.runs import Ending, finish_run
from shared.providers.registry import by_id
from shared.runtime import House
from shared.telemetry import metrics
from writer import absence, archive, quarantine, store, wholeness
from writer.merging import LONG_AGO
from writer.settings import WriterSettings

log = structlog.get_logger()

SOURCE = "writer"


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
            await absence.remove_missing(
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


async def _move_cursor(
    connection: Connection,
    place: store.Place,
    event_ids: list[str],
    end: SyncFetched,
    before: datetime | None,
    *,
    removals: bool,
) -> datetime:
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
    """The provider's state was seen, as of the run's first call: the next round is due an interval after that.

    A run that waited between its calls, or that later asks joined, brings what was true long before its race was last
    asked for: then the next round is due that much sooner.
    """
    await connection.execute(
        """
        UPDATE race_sync SET last_confirmed_at = greatest(last_confirmed_at, $4), failures = 0,
            (next_due_at, last_asked_at) = (SELECT next_due_at - older, last_asked_at - older FROM (
                SELECT greatest(last_asked_at - greatest(last_confirmed_at, $4), interval '0') AS older) AS known),
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
        WITH pass AS ({wholeness.BATCHES_OF_RUN}), seen AS (SELECT unnest(seen_ids) AS race_id FROM pass),
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
