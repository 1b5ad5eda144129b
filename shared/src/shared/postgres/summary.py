"""The day's summary: what is stored, what was synced, what failed and was not made good. Counts and ids, no person.

Its first keys are those of the former system's `runsignup_sync_summary.json`, which operators read with `jq`.
"""

from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from shared.postgres.pool import Connection

#: Errors told of one partner.
MOST_ERRORS = 20


async def summarise(connection: Connection, now: datetime, hours: float = 24.0) -> dict[str, Any]:
    """What the tables say of the last hours."""
    since = now - timedelta(hours=hours)
    stored = await connection.fetch(
        """
        SELECT p.timing_partner_id, p.company_name AS name,
            (SELECT count(*) FROM races r WHERE r.timing_partner_id = p.timing_partner_id AND r.missing_at IS NULL)
                AS races,
            (SELECT count(*) FROM events e WHERE e.timing_partner_id = p.timing_partner_id AND e.missing_at IS NULL)
                AS events,
            (SELECT count(*) FROM participants x WHERE x.timing_partner_id = p.timing_partner_id
                AND x.removed_at IS NULL) AS participants
        FROM public.timing_partners p ORDER BY 1
        """
    )
    runs = await connection.fetchrow(
        """
        SELECT count(*) FILTER (WHERE state = 'completed') AS completed,
            count(*) FILTER (WHERE state = 'failed') AS failed, count(*) FILTER (WHERE state = 'expired') AS expired,
            coalesce(sum(calls), 0) AS calls, coalesce(sum(added), 0) AS added, coalesce(sum(updated), 0) AS updated,
            coalesce(sum(removed), 0) AS removed, coalesce(sum(quarantined), 0) AS quarantined,
            coalesce(sum(extract(epoch FROM finished_at - started_at)), 0)::float AS seconds,
            coalesce(array_agg(DISTINCT timing_partner_id) FILTER (WHERE state = 'completed'), '{}') AS synced
        FROM sync_runs WHERE finished_at > $1 AND finished_at <= $2
        """,
        since,
        now,
    )
    assert runs is not None
    # With a key that is out of use since, nothing is to be made good; a replay tells itself what it could not do.
    newest = await connection.fetch(
        """
        SELECT r.* FROM (SELECT DISTINCT ON (subject) timing_partner_id, credential_id, kind, race_id, state,
                coalesce(error, error_code, state) AS error
            FROM sync_runs WHERE finished_at > $1 AND finished_at <= $2 AND state <> 'replaced'
              AND kind <> 'replay'
            ORDER BY subject, finished_at DESC) AS r JOIN credentials c USING (credential_id)
        WHERE r.state IN ('failed', 'expired') AND c.state <> 'disabled'
        ORDER BY timing_partner_id, length(race_id), race_id
        """,
        since,
        now,
    )
    errors: dict[int, list[str]] = defaultdict(list)
    for row in newest:
        what = f"race {row['race_id']}" if row["race_id"] is not None else str(row["kind"])
        if len(errors[row["timing_partner_id"]]) < MOST_ERRORS:
            errors[row["timing_partner_id"]].append(f"{what}: {row['error']}")
    stuck = await connection.fetchrow(
        "SELECT (SELECT count(*) FROM quarantine WHERE resolved_at IS NULL) AS quarantine,"
        " (SELECT count(*) FROM dead_letters WHERE resolved_at IS NULL) AS dead_letters,"
        " (SELECT count(*) FROM held_removals WHERE resolved_at IS NULL) AS held_removals"
    )
    assert stuck is not None
    names = {row["timing_partner_id"]: row["name"] for row in stored}
    return {
        "sync_time": now,
        "duration_seconds": round(runs["seconds"], 1),
        "total_races": sum(row["races"] for row in stored),
        "total_events": sum(row["events"] for row in stored),
        "total_participants": sum(row["participants"] for row in stored),
        "timing_partners_synced": len(runs["synced"]),
        "failed_syncs": [
            {"timing_partner_id": key, "name": names.get(key), "errors": each} for key, each in sorted(errors.items())
        ],
        "detailed_results": [{**dict(row), "errors": errors.get(row["timing_partner_id"], [])} for row in stored],
        "hours": hours,
        "runs": {name: runs[name] for name in ("completed", "failed", "expired")},
        "calls": runs["calls"],
        "rows": {name: runs[name] for name in ("added", "updated", "removed", "quarantined")},
        "open_items": dict(stuck),
    }


def write(path: Path, summary: dict[str, Any]) -> None:
    """Put a summary in the place of the former one, whole: whoever reads it meanwhile sees the one or the other."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(orjson.dumps(summary, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z) + b"\n")
    beside.replace(path)
