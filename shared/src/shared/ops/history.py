"""`hub history`: every run, what was asked for and what became of it."""

from typing import Annotated, Any

import typer

from shared.ops import show
from shared.ops.desk import Desk, at_desk
from shared.ops.selecting import choose_partners

COUNTS = ("fetched", "added", "updated", "unchanged", "stale", "removed", "restored", "quarantined")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("history")(history)


def history(
    partner: Annotated[
        str | None, typer.Option(metavar="NAME|ID", help="Only this partner.", show_default=False)
    ] = None,
    race: Annotated[str | None, typer.Option(metavar="ID", help="Only this race.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 20,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only runs that failed or expired, with the reason.")
    ] = False,
    json: show.Json = False,
) -> None:
    """Show the newest runs: what was asked, fetched, written, how long it took, and why it failed.

    Example: hub history --failed --limit 5
    """

    async def work(desk: Desk) -> None:
        chosen = await choose_partners(desk.database, partner)
        ids = [each.partner_id for each in chosen] if partner is not None else None
        rows = await newest_runs(desk, ids, race, limit, failed=failed)
        if json:
            show.document({"runs": [describe(row) for row in rows]})
        elif not rows:
            show.say("No run yet." if not failed else "No run failed.")
        elif failed:
            show.table(None, ("asked (UTC)", "kind", ">partner", "race", "~reason"), [_failure(row) for row in rows])
        else:
            columns = ("asked (UTC)", "kind", ">partner", "race", "state", ">people", ">+", ">~", ">-", ">s")
            show.table(None, columns, [_line(row) for row in rows])

    at_desk(work)


async def newest_runs(
    desk: Desk, partner_ids: list[int] | None, race_id: str | None, limit: int, *, failed: bool
) -> list[Any]:
    """Rows of the newest runs, newest first."""
    return await desk.database.fetch(
        """
        SELECT * FROM sync_runs
        WHERE ($1::int[] IS NULL OR timing_partner_id = ANY($1)) AND ($2::text IS NULL OR race_id = $2)
          AND (NOT $3 OR state IN ('failed', 'expired'))
        ORDER BY requested_at DESC, run_id LIMIT $4
        """,
        partner_ids,
        race_id,
        failed,
        limit,
    )


def _line(row: Any) -> tuple[object, ...]:
    kind = f"{row['kind']} {'full' if row['mode'] == 'full' else 'incr'}" if row["kind"] == "race" else row["kind"]
    took = (
        f"{(row['finished_at'] - row['started_at']).total_seconds():.0f}"
        if row["finished_at"] and row["started_at"]
        else ""
    )
    return (
        f"{row['requested_at']:%m-%d %H:%M:%S}",
        kind,
        row["timing_partner_id"],
        row["race_id"],
        row["state"],
        row["fetched"],
        row["added"] or "",
        row["updated"] or "",
        row["removed"] or "",
        took,
    )


def _failure(row: Any) -> tuple[object, ...]:
    why = row["error"] or row["error_code"]
    return f"{row['requested_at']:%m-%d %H:%M:%S}", row["kind"], row["timing_partner_id"], row["race_id"], why


def describe(row: Any) -> dict[str, object]:
    """A run as JSON."""
    names = (
        "run_id",
        "kind",
        "race_id",
        "event_ids",
        "mode",
        "removals",
        "reason",
        "state",
        "requested_at",
        "started_at",
    )
    return {
        **{name: row[name] for name in names},
        "class": row["sync_class"],
        "partner_id": row["timing_partner_id"],
        "finished_at": row["finished_at"],
        "replaced_by": row["replaced_by"],
        "attempts": row["attempt"],
        "pages": row["pages"],
        "calls": row["calls"],
        **{name: row[name] for name in COUNTS},
        "cursor_at": row["cursor_at"],
        "error_code": row["error_code"],
        "error": row["error"],
    }
