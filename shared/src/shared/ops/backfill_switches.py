"""The switches of a backfill: each changes one row, and puts aside what waits in its name."""

from datetime import datetime
from uuid import UUID, uuid5

from shared.domain.run import State
from shared.postgres import Connection
from shared.postgres.pool import notify
from shared.postgres.runs import Ending, finish_run
from shared.providers.registry import by_id


async def plan(connection: Connection, partner_id: int, now: datetime) -> None:
    """Let a partner's races and events of all years be listed; one that runs or rests already goes on as it is."""
    await connection.execute(
        """
        INSERT INTO backfills AS b (timing_partner_id, state, created_at) VALUES ($1, 'planned', $2)
        ON CONFLICT (timing_partner_id) WHERE state IN ('planned', 'running', 'paused')
        DO UPDATE SET created_at = $2, listed_at = NULL WHERE b.state = 'planned'
        """,
        partner_id,
        now,
    )
    await notify(connection, "due")


async def start(connection: Connection, partner_id: int, now: datetime) -> str:
    """Start a partner's backfill; what it is now: started, running already, or paused."""
    before = await connection.fetchval(
        "SELECT state FROM backfills WHERE timing_partner_id = $1 AND state IN ('planned', 'running', 'paused')"
        " FOR UPDATE",
        partner_id,
    )
    if before in {"running", "paused"}:
        return str(before)
    await connection.execute(
        """
        INSERT INTO backfills (timing_partner_id, state, created_at, started_at) VALUES ($1, 'running', $2, $2)
        ON CONFLICT (timing_partner_id) WHERE state IN ('planned', 'running', 'paused')
        DO UPDATE SET state = 'running', started_at = $2
        """,
        partner_id,
        now,
    )
    await notify(connection, "due")
    return "started"


async def pause(connection: Connection, partner_id: int, now: datetime) -> bool:
    """Let a running backfill rest: what waits is put aside, what runs stops at its page. False: none was running."""
    if not await _turn(connection, partner_id, "running", "paused"):
        return False
    await connection.execute(
        """
        UPDATE sync_runs r SET state = 'queued', not_before = $2 WHERE timing_partner_id = $1 AND reason = 'backfill'
          AND state = 'requested' AND NOT EXISTS (
            SELECT 1 FROM sync_runs q WHERE q.subject = r.subject AND q.state = 'queued')
        """,
        partner_id,
        now,
    )
    return True


async def resume(connection: Connection, partner_id: int, now: datetime) -> bool:
    """Let a paused backfill go on, each run at its page; False: none was paused."""
    return await _turn(connection, partner_id, "paused", "running")


async def cancel(connection: Connection, partner_id: int, now: datetime) -> bool:
    """End a backfill and every run of it; what was fetched stays. False: there was none."""
    row = await connection.fetchrow(
        "UPDATE backfills SET state = 'cancelled', ended_at = $2 WHERE timing_partner_id = $1"
        " AND state IN ('planned', 'running', 'paused') RETURNING backfill_id",
        partner_id,
        now,
    )
    if row is None:
        return False
    runs = await connection.fetch(
        "SELECT run_id, provider_id FROM sync_runs WHERE timing_partner_id = $1 AND reason = 'backfill'"
        " AND state IN ('queued', 'requested', 'running', 'fetched')",
        partner_id,
    )
    for run in runs:
        run_id = UUID(str(run["run_id"]))
        await finish_run(
            connection,
            run_id,
            Ending(State.FAILED, "cancelled", "an operator cancelled the backfill"),
            provider=by_id(run["provider_id"]).name,
            source="hub",
            message_id=uuid5(run_id, "cancelled"),
            now=now,
        )
    return True


async def _turn(connection: Connection, partner_id: int, before: str, after: str) -> bool:
    tag: str = await connection.execute(
        "UPDATE backfills SET state = $3 WHERE timing_partner_id = $1 AND state = $2", partner_id, before, after
    )
    await notify(connection, "due")
    return tag.endswith("1")
