"""What the fetcher reads and writes of a run."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from fetcher.paging import Progress, Stage, begin
from shared.contracts import SyncRequest
from shared.domain.run import Kind
from shared.postgres import Connection, Database
from shared.postgres.asks import Ask, ask
from shared.postgres.pool import notify


@dataclass(frozen=True, slots=True)
class Claim:
    """A run that is ours for as long as its lease lasts."""

    run_id: UUID
    attempt: int
    progress: Progress
    began: bool  # its deadline runs already


async def claim(
    database: Database, request: SyncRequest, *, provider_id: int, now: datetime, lease: timedelta
) -> Claim | None:
    """Take a run, with a new attempt number; None when nothing is left to do for this message.

    A run that another fetcher holds is left to it: should that one die, the scheduler requests the run again.

    A request without a run (a hand-written message) is asked for like any other first.
    """
    async with database.transaction("claiming a run") as connection:
        row = await _take(connection, request.run_id, now, lease)
        if row is None:
            if not await connection.fetchval("SELECT 1 FROM sync_runs WHERE run_id = $1", request.run_id):
                await _adopt(connection, request, provider_id, now)  # its own message follows through the outbox
            return None
        return Claim(
            row["run_id"],
            row["attempt"],
            restore(orjson.loads(row["progress"]), Kind(row["kind"])),
            row["deadline_at"] is not None,
        )


async def _take(connection: Connection, run_id: UUID, now: datetime, lease: timedelta) -> Any:
    return await connection.fetchrow(
        """
        UPDATE sync_runs SET state = 'running', attempt = attempt + 1, leased_until = $3
        WHERE run_id = $1 AND (state = 'requested' OR (state = 'running' AND coalesce(leased_until, $2) <= $2))
        RETURNING run_id, attempt, progress, kind, deadline_at
        """,
        run_id,
        now,
        now + lease,
    )


async def _adopt(connection: Connection, request: SyncRequest, provider_id: int, now: datetime) -> None:
    wish = Ask(
        run_id=request.run_id,
        kind=request.kind,
        provider=request.provider,
        provider_id=provider_id,
        timing_partner_id=request.timing_partner_id,
        credential_id=request.credential_id,
        source="fetcher",
        reason=request.reason,
        sync_class=request.sync_class,
        mode=request.mode,
        removals=request.removals,
        race_id=request.race_id,
        event_ids=request.event_ids,
        bib=request.bib,
        deadline_seconds=request.deadline_seconds,
    )
    await ask(connection, wish, now)


def restore(saved: dict[str, Any], kind: Kind) -> Progress:
    """A saved progress, or the beginning."""
    if not saved:
        return begin(kind)
    moments = {name: _moment(saved[name]) for name in ("first_call_at", "first_answer_at")}
    ranges = tuple((int(a), int(b), int(c)) for a, b, c in saved["ranges"])
    return Progress(**{**saved, **moments, "ranges": ranges, "stage": Stage(saved["stage"])})


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


async def began(database: Database, claimed: Claim, seconds: int, now: datetime) -> None:
    """The first call goes out now: the run's deadline counts from here."""
    await database.execute(
        "UPDATE sync_runs SET started_at = coalesce(started_at, $3),"
        " deadline_at = coalesce(deadline_at, $3::timestamptz + make_interval(secs => $4))"
        " WHERE run_id = $1 AND attempt = $2",
        claimed.run_id,
        claimed.attempt,
        now,
        float(seconds),
    )


async def save(database: Database, claimed: Claim, progress: Progress, now: datetime, lease: timedelta) -> bool:
    """Save how far the run has come and renew the lease; False when the run is not ours any more."""
    tag = await database.execute(
        "UPDATE sync_runs SET progress = $3, pages = $4, fetched = $5, leased_until = $6"
        " WHERE run_id = $1 AND attempt = $2 AND state = 'running'",
        claimed.run_id,
        claimed.attempt,
        orjson.dumps(asdict(progress)).decode(),
        progress.pages,
        progress.records,
        now + lease,
    )
    return tag.endswith("1")


async def release(database: Database, claimed: Claim, *, code: str, message: str) -> None:
    """Let the next delivery of its message take the run; why this attempt ended is kept."""
    await database.execute(
        "UPDATE sync_runs SET state = 'requested', leased_until = NULL, error_code = $3, error = $4"
        " WHERE run_id = $1 AND attempt = $2 AND state = 'running'",
        claimed.run_id,
        claimed.attempt,
        code,
        message,
    )


async def postpone(database: Database, claimed: Claim, until: datetime, reason: str, now: datetime) -> None:
    """Put the run back into the database until then: no failure, no attempt. What was fetched is kept.

    Its deadline is lifted with its state; it counts again from the next call. Only one run of a race may wait: one that
    is queued behind it takes its place, and brings what both were to bring.
    """
    async with database.transaction("postponing a run") as connection:
        await connection.execute(
            """
            UPDATE sync_runs q SET mode = CASE WHEN me.mode = 'full' THEN me.mode ELSE q.mode END,
                removals = q.removals OR me.removals,
                deadline_seconds = greatest(q.deadline_seconds, me.deadline_seconds),
                event_ids = ARRAY(SELECT unnest(q.event_ids) UNION SELECT unnest(me.event_ids)),
                sync_class = (ARRAY['raceday', 'near', 'routine', 'backfill'])[least(
                    array_position(ARRAY['raceday', 'near', 'routine', 'backfill'], q.sync_class),
                    array_position(ARRAY['raceday', 'near', 'routine', 'backfill'], me.sync_class))]
            FROM sync_runs me WHERE me.run_id = $1 AND me.state = 'running' AND me.attempt = $2
                AND q.subject = me.subject AND q.state = 'queued'
            """,
            claimed.run_id,
            claimed.attempt,
        )
        await connection.execute(
            """
            UPDATE sync_runs SET state = 'replaced', replaced_by = q.run_id, finished_at = $3
            FROM (SELECT run_id AS mine, subject AS about FROM sync_runs WHERE run_id = $1) me
            JOIN LATERAL (SELECT run_id FROM sync_runs WHERE subject = me.about AND state = 'queued' LIMIT 1) q ON true
            WHERE sync_runs.run_id = $1 AND state = 'running' AND attempt = $2
            """,
            claimed.run_id,
            claimed.attempt,
            now,
        )
        await connection.execute(
            """
            UPDATE sync_runs SET state = 'queued', not_before = $3, leased_until = NULL, deadline_at = NULL,
                error_code = $4
            WHERE run_id = $1 AND attempt = $2 AND state = 'running'
            """,
            claimed.run_id,
            claimed.attempt,
            until,
            reason,
        )
        await notify(connection, "run")
