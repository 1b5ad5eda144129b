"""`hub changes`: the change feed, from a place on, as it goes on."""

import asyncio
from typing import Annotated, Any

import orjson
import typer

from shared.ops import show
from shared.ops.desk import Desk, at_desk
from shared.postgres import Database

#: Rows read at once.
PORTION = 1000
#: How often the feed is looked at while it is followed.
LOOK_SECONDS = 0.5


#: Fields that say nothing beside a change's word, unless their values are asked for.
UNTOLD = frozenset({"provider_modified_at", "removed_reason"})


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("changes")(changes)


def changes(
    since: Annotated[
        int | None, typer.Option(metavar="ID", min=0, help="Only what came after this one.", show_default="the newest")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as changes come, until Ctrl-C.")] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="So many at the most.", show_default="100; no limit with --follow")
    ] = None,
    values: Annotated[
        bool, typer.Option("--values", help="What the fields were and are, not only their names.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON document; with --follow one JSON object a line.")
    ] = False,
) -> None:
    """Show what changed in people: the change feed, whose numbers have no gaps.

    A reader that remembers the last number it saw misses nothing: everything since 4711 is --since 4711.

    Example: hub changes --since 4711 --follow
    """

    async def work(desk: Desk) -> None:
        if follow:
            await _follow(desk, since, limit, values=values, json=json)
        else:
            await _show(desk, since, limit or 100, values=values, json=json)

    try:
        at_desk(work)
    except KeyboardInterrupt:
        if not follow:  # Ctrl-C is how following ends
            raise


async def _show(desk: Desk, since: int | None, limit: int, *, values: bool, json: bool) -> None:
    newest = await newest_id(desk.database)
    after = max(0, newest - limit) if since is None else since
    rows = await read(desk.database, after, limit)
    last = rows[-1]["feed_id"] if rows else after
    more = last < newest
    if json:
        described = [describe(row, values=values) for row in rows]
        show.document({"changes": described, "last_feed_id": last, "more": more})
        return
    for row in rows:
        show.say(text(row, values=values), 9)
    if more:
        show.say(f"More follow: hub changes --since {last}")
    elif not rows:
        show.say(f"No change since {after}." if newest else "No change yet.")


async def _follow(desk: Desk, since: int | None, limit: int | None, *, values: bool, json: bool) -> None:
    after = await newest_id(desk.database) if since is None else since
    shown = 0
    while limit is None or shown < limit:
        rows = await read(desk.database, after, PORTION if limit is None else min(PORTION, limit - shown))
        for row in rows:
            if json:
                show.line(describe(row, values=values))
            else:
                show.say(text(row, values=values), 9)
        if rows:
            after, shown = rows[-1]["feed_id"], shown + len(rows)
        else:
            await asyncio.sleep(LOOK_SECONDS)


async def newest_id(database: Database) -> int:
    """The number of the newest change; 0 when there is none."""
    found = await database.fetchval("SELECT max(feed_first + size) - 1 FROM change_batches")
    return int(found or 0)


async def read(database: Database, after: int, limit: int) -> list[Any]:
    """The next changes behind a number. Whole batches are found by their first number, which is indexed."""
    return await database.fetch(
        """
        SELECT b.feed_first + c.ordinal AS feed_id, c.kind, c.timing_partner_id, b.race_id, c.event_id,
            c.registration_id, c.fields, b.run_id, b.reason, b.written_at,
            CASE WHEN c.kind = 'removed' THEN coalesce(c.fields->'removed_reason'->>1, c.kind) ELSE c.kind END AS event
        FROM change_batches b JOIN changes c USING (batch_id)
        WHERE b.feed_first >= coalesce((SELECT max(feed_first) FROM change_batches WHERE feed_first <= $1), 0)
          AND b.feed_first <= $1::bigint + $2 AND b.feed_first + c.ordinal > $1
        ORDER BY 1 LIMIT $2
        """,
        after,
        limit,
    )


def describe(row: Any, *, values: bool) -> dict[str, object]:
    """A change as JSON; ``fields`` are names, or with values each name's [before, after]."""
    fields = orjson.loads(row["fields"])
    names = ("feed_id", "kind", "event", "race_id", "event_id", "registration_id", "run_id", "reason", "written_at")
    return {
        **{name: row[name] for name in names},
        "partner_id": row["timing_partner_id"],
        "fields": fields if values else sorted(fields),
    }


def text(row: Any, *, values: bool) -> str:
    """A change as a line."""
    fields = orjson.loads(row["fields"])
    told = (
        ", ".join(f"{name}: {_value(before)} → {_value(after)}" for name, (before, after) in sorted(fields.items()))
        if values
        else ", ".join(sorted(set(fields) - UNTOLD))
    )
    where = f"race {row['race_id']} event {row['event_id']} registration {row['registration_id']}"
    return f"{row['feed_id']:>8} {show.clean(row['event']):<11} {where}  {told}".rstrip()


def _value(value: object) -> str:
    return show.clean(value if isinstance(value, str) else orjson.dumps(value).decode())
