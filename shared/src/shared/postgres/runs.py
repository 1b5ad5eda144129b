"""What becomes of a run: claimed, put back, finished. Every end is recorded and told in one transaction."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.contracts import Counts, SyncCompleted, encode
from shared.domain.run import Kind, State
from shared.postgres.outbox import tell
from shared.postgres.pool import CHANNEL, Connection


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended."""

    state: State
    error_code: str | None = None
    error: str | None = None
    cursor: datetime | None = None


async def finish_run(
    connection: Connection, run_id: UUID, ending: Ending, *, provider: str, source: str, message_id: UUID, now: datetime
) -> bool:
    """End a run that has not ended, and tell it; False when it had ended already (safe to repeat)."""
    row: Any = await connection.fetchrow(
        """
        WITH ended AS (
            UPDATE sync_runs SET state = $2, finished_at = $3, error_code = $4, error = $5, cursor_at = $6,
                leased_until = NULL
            WHERE run_id = $1 AND state IN ('queued', 'requested', 'running', 'fetched') RETURNING *
        ), forgotten AS (
            UPDATE applied_batches SET seen_ids = NULL WHERE run_id IN (SELECT run_id FROM ended)
                AND seen_ids IS NOT NULL
        )
        SELECT *, CASE WHEN added + updated + removed + restored > 0
            THEN pg_notify($7, 'run') END -- its diffs may be acted on
        FROM ended
        """,
        run_id,
        ending.state,
        now,
        ending.error_code,
        ending.error,
        ending.cursor,
        CHANNEL,
    )
    if row is None:
        return False
    body = SyncCompleted(
        run_id=run_id,
        kind=Kind(row["kind"]),
        provider=provider,
        timing_partner_id=row["timing_partner_id"],
        race_id=row["race_id"],
        outcome=ending.state,
        counts=Counts(**{name: row[name] for name in Counts.model_fields}),
        cursor=ending.cursor,
        error=ending.error,
    )
    message = encode(body, id=message_id, occurred_at=now, source=source, correlation_id=run_id)
    await tell(connection, message, now=now)
    return True
