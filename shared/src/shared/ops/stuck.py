"""What is stuck: dead letters, quarantined rows and held removals, under the same verbs and columns."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from shared.ops import show
from shared.ops.desk import Desk, at_desk


@dataclass(frozen=True, slots=True)
class Shelf:
    """One kind of stuck item: its command, what it is, and its rows in columns that all kinds share."""

    command: str
    what: str
    sql: str  # open ones, newest first, in the columns that all kinds share


SHELVES = (
    Shelf(
        "dead-letters",
        "Messages that could not be handled.",
        """
        SELECT item_id, type, NULL::int AS partner_id, NULL::text AS race_id, reason, fingerprint,
            first_seen_at AS first_at, dead_at AS last_at, attempts AS times
        FROM dead_letters WHERE resolved_at IS NULL ORDER BY item_id DESC LIMIT $1
        """,
    ),
    Shelf(
        "quarantine",
        "Records that could not be stored.",
        """
        SELECT item_id, type, timing_partner_id AS partner_id, race_id, reason, fingerprint,
            first_seen_at AS first_at, last_seen_at AS last_at, times
        FROM quarantine WHERE resolved_at IS NULL ORDER BY item_id DESC LIMIT $1
        """,
    ),
    Shelf(
        "removals",
        "Full passes that lacked too many people: nobody was removed.",
        """
        SELECT item_id, 'removal' AS type, timing_partner_id AS partner_id, race_id,
            cardinality(registration_ids) || ' of ' || active || ' missing' AS reason,
            left(run_id::text, 8) AS fingerprint, held_at AS first_at, held_at AS last_at, 1 AS times
        FROM held_removals WHERE resolved_at IS NULL ORDER BY item_id DESC LIMIT $1
        """,
    ),
)


def register(app: typer.Typer) -> None:
    """Add a group of commands for each kind."""
    for shelf in SHELVES:
        group = typer.Typer(help=shelf.what, no_args_is_help=True)
        group.command("list", help=f"{shelf.what} Newest first.\n\nExample: hub {shelf.command} list")(_lister(shelf))
        app.add_typer(group, name=shelf.command)


def _lister(shelf: Shelf) -> Callable[..., None]:
    def list_(
        limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50, json: show.Json = False
    ) -> None:
        async def work(desk: Desk) -> list[Any]:
            return await desk.database.fetch(shelf.sql, limit)

        rows = at_desk(work)
        if json:
            show.document({"items": [dict(row) for row in rows]})
        elif not rows:
            show.say("Nothing is stuck here.")
        else:
            columns = (">item", "*type", ">partner", "race", "*reason", "*cause", "last (UTC)", ">times")
            show.table(None, columns, [_line(row) for row in rows])

    return list_


def _line(row: Any) -> tuple[object, ...]:
    names = ("item_id", "type", "partner_id", "race_id", "reason", "fingerprint")
    return (*(row[name] for name in names), f"{row['last_at']:%m-%d %H:%M}", row["times"])
