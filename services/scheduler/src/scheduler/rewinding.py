"""A backfill's run after a restart of a process that was its own bus: it goes on behind what was written.

Batches that were on their way are gone. Where all batches up to a page's end are applied, the page behind that one is
the next; a fetched page is fetched again only if it was not written.
"""

from collections.abc import Collection, Mapping
from typing import Any

import orjson

from shared.postgres import Connection

#: The list that is paged through by ids, and its end; whatever else a run was at begins anew, for a page or two.
PARTICIPANTS, DONE = "participants", "done"


def rewound(progress: Mapping[str, Any], applied: Collection[tuple[int, int]]) -> dict[str, Any]:
    """The progress as far as its pages are written; empty when none is. ``applied``: (attempt, sequence)."""
    if progress.get("stage") not in {PARTICIPANTS, DONE}:
        return {}
    written, ranges = 0, []
    for attempt, first, end in progress["ranges"]:
        last = first - 1
        while last < end and (attempt, last + 1) in applied:
            last += 1
        ranges.append([attempt, first, last])
        written = last
        if last < end:
            break
    if written == progress["sequence"]:
        return {name: value for name, value in progress.items() if name != "end"}  # that is the writer's
    marks = [mark for mark in progress.get("marks", ()) if mark[0] <= written]
    if not marks:
        return {}
    sequence, last_id, records, pages = marks[-1]
    return {
        **{name: value for name, value in progress.items() if name != "end"},
        "stage": PARTICIPANTS,
        "ranges": [[attempt, first, min(last, sequence)] for attempt, first, last in ranges if first <= sequence],
        "marks": marks,
        "sequence": sequence,
        "last_id": last_id,
        "records": records,
        "pages": pages,
        "last_count": 0,
        "longest": 0,
        "is_doubted": False,
    }


async def rewind(connection: Connection) -> int:
    """Put every begun run of a backfill back to where it is written, to be requested again; how many."""
    runs = await connection.fetch(
        "SELECT run_id, progress FROM sync_runs WHERE reason = 'backfill' AND kind = 'race' AND mode = 'full'"
        " AND state IN ('requested', 'running', 'fetched') AND started_at IS NOT NULL FOR UPDATE"
    )
    for run in runs:
        rows = await connection.fetch("SELECT attempt, sequence FROM applied_batches WHERE run_id = $1", run["run_id"])
        progress = rewound(orjson.loads(run["progress"]), {(row["attempt"], row["sequence"]) for row in rows})
        await connection.execute(
            "UPDATE sync_runs SET state = 'requested', sent_at = NULL, leased_until = NULL, deadline_at = NULL,"
            " ranges = NULL, batches = NULL, progress = $2 WHERE run_id = $1",
            run["run_id"],
            orjson.dumps(progress).decode(),
        )
    return len(runs)
