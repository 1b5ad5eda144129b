"""What the end of a run is decided by: read in passing, whenever the run's row changes."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson

from shared.contracts import SyncFetched
from shared.postgres import Connection


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
