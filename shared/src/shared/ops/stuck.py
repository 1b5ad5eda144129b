"""What is stuck: dead letters, quarantined records and held removals, under the same verbs, selection and progress."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import orjson
import typer

from shared.domain.replay import What
from shared.ops import show
from shared.ops.desk import Desk, at_desk
from shared.ops.failing import WrongUsage
from shared.ops.moments import instant
from shared.ops.replaying import begin
from shared.ops.selecting import choose_partners
from shared.postgres.replays import CHOSEN, RATE, Selection, arguments, freeze_stuck

Items = Annotated[list[int] | None, typer.Argument(metavar="ITEM", help="Only these.", show_default=False)]
Type = Annotated[
    str | None, typer.Option("--type", metavar="TYPE", help="Only of this type, or its beginning.", show_default=False)
]

Cause = Annotated[str | None, typer.Option(metavar="CAUSE", help="Only of this cause.", show_default=False)]
Partner = Annotated[str | None, typer.Option(metavar="NAME|ID", help="Only of this partner.", show_default=False)]
Race = Annotated[str | None, typer.Option(metavar="ID", help="Only of this race.", show_default=False)]
Older = Annotated[
    str | None, typer.Option("--older-than", metavar="AGE", help="Last seen before then: 2h, 3d.", show_default=False)
]
Newer = Annotated[
    str | None, typer.Option("--newer-than", metavar="AGE", help="Last seen since then.", show_default=False)
]
All = Annotated[bool, typer.Option("--all", help="Every one, when nothing else says which.")]
Rate = Annotated[float, typer.Option(min=0.1, max=1000, help="Items a second at the most.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Show progress to the end, or return at once.")]


@dataclass(frozen=True, slots=True)
class Shelf:
    """One kind of stuck item: its command, what it is, its verbs, and what its table keeps of one."""

    what: What
    about: str
    again: str  # the verb that acts
    again_help: str
    drop: str  # the verb that closes
    dropped: str
    columns: str  # of the table, for `show`: facts
    raw: str  # what may hold a person, shown on demand
    table: str


SHELVES = (
    Shelf(
        What.DEAD_LETTERS,
        "Messages that could not be handled.",
        "replay",
        "Send messages again, one first: the rest follows when that one went well. A request is asked anew.",
        "drop",
        "dropped",
        "message_id, queue, routing_key, correlation_id, octet_length(body) AS bytes, resolved_at, resolution",
        "body",
        "dead_letters",
    ),
    Shelf(
        What.QUARANTINE,
        "Records that could not be stored.",
        "replay",
        "Apply records again at no call, one first. A new version of the mapping does so by itself.",
        "drop",
        "dropped",
        "registration_id, run_id, mapping_version, fetched_at, octet_length(raw) AS bytes, resolved_at, resolution",
        "raw",
        "quarantine",
    ),
    Shelf(
        What.REMOVALS,
        "Full passes that lacked too many people: nobody was removed.",
        "approve",
        "Believe it: mark those people as gone, but for whoever was seen since.",
        "discard",
        "discarded",
        "run_id, active, first_call_at, registration_ids, resolved_at, resolution",
        "NULL::bytea",
        "held_removals",
    ),
)


def register(app: typer.Typer) -> None:
    """Add a group of commands for each kind."""
    for shelf in SHELVES:
        group = typer.Typer(help=shelf.about, no_args_is_help=True)
        name = f"hub {shelf.what}"
        group.command("list", help=f"{shelf.about} Newest first.\n\nExample: {name} list")(_lister(shelf))
        group.command("show", help=f"Show all that is known of one.\n\nExample: {name} show 17")(_shower(shelf))
        example = f"{name} {shelf.again} {'17' if shelf.what is What.REMOVALS else '--cause 1f3a'}"
        group.command(shelf.again, help=f"{shelf.again_help}\n\nExample: {example}")(_replayer(shelf))
        text = f"Close items without doing anything about them.\n\nExample: {name} {shelf.drop} 17"
        group.command(shelf.drop, help=text)(_dropper(shelf))
        app.add_typer(group, name=str(shelf.what))


async def _selection(
    desk: Desk,
    items: list[int] | None,
    type_: str | None,
    cause: str | None,
    partner: str | None,
    race: str | None,
    older: str | None,
    newer: str | None,
) -> Selection:
    now = desk.clock.now()
    partner_id = (await choose_partners(desk.database, partner))[0].partner_id if partner is not None else None
    return Selection(tuple(items or ()), type_, cause, partner_id, race, instant(older, now), instant(newer, now))


def _require_choice(chosen: Selection, every: bool) -> None:
    if chosen == Selection() and not every:
        raise WrongUsage("say which: item numbers, --cause, --type, --partner, --race, an age, or --all")


def _nothing(shelf: Shelf) -> str:
    return f"no open item fits; see: hub {shelf.what} list"


def _lister(shelf: Shelf) -> Callable[..., None]:
    def list_(
        items: Items = None,
        type_: Type = None,
        cause: Cause = None,
        partner: Partner = None,
        race: Race = None,
        older: Older = None,
        newer: Newer = None,
        limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
        json: show.Json = False,
    ) -> None:
        async def work(desk: Desk) -> list[Any]:
            chosen = await _selection(desk, items, type_, cause, partner, race, older, newer)
            return await desk.database.fetch(
                f"SELECT * FROM stuck WHERE {CHOSEN} ORDER BY item_id DESC LIMIT $9",  # noqa: S608 — a constant
                *arguments(shelf.what, chosen),
                limit,
            )

        rows = at_desk(work)
        if json:
            show.document({"items": [_facts(row) for row in rows]})
        elif not rows:
            show.say("Nothing is stuck here.")
        else:
            columns = (">item", "*type", ">partner", "race", "~reason", "cause", "last (UTC)", ">times")
            show.table(None, columns, [_line(row) for row in rows])

    return list_


def _facts(row: Any) -> dict[str, Any]:
    names = ("item_id", "type", "partner_id", "race_id", "reason", "fingerprint", "first_at", "last_at", "times")
    return {name: row[name] for name in names}


def _line(row: Any) -> tuple[object, ...]:
    names = ("item_id", "type", "partner_id", "race_id", "reason")
    cause = row["fingerprint"][:8]  # its beginning is enough for --cause
    return (*(row[name] for name in names), cause, f"{row['last_at']:%m-%d %H:%M}", row["times"])


def _shower(shelf: Shelf) -> Callable[..., None]:
    def show_(
        item: Annotated[int, typer.Argument(metavar="ITEM")],
        raw: Annotated[
            bool, typer.Option("--raw", help="The record or message itself, too: it may hold a person.")
        ] = False,
        json: show.Json = False,
    ) -> None:
        async def work(desk: Desk) -> dict[str, Any]:
            found = await desk.database.fetchrow(
                f"SELECT {shelf.columns}, {shelf.raw} AS raw FROM {shelf.table} WHERE item_id = $1",  # noqa: S608
                item,
            )
            if found is None:
                raise WrongUsage(f"there is no item {item}; see: hub {shelf.what} list")
            open_ = await desk.database.fetchrow(
                "SELECT * FROM stuck WHERE shelf = $1 AND item_id = $2", shelf.what, item
            )
            facts = {**({"item_id": item} if open_ is None else _facts(open_)), **dict(found)}
            body = facts.pop("raw")
            return {**facts, "raw": _readable(body)} if raw and body is not None else facts

        facts = at_desk(work)
        if json:
            show.document(facts)
            return
        for name, value in facts.items():
            if name == "registration_ids":
                ids = ", ".join(sorted(value, key=lambda each: (len(each), each)))
                show.say(f"{'people':<16} {len(value):,}: {ids}", 17)
            elif isinstance(value, dict | list):
                show.say(f"{name:<16} {orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()}", 17)
            elif value is not None:
                text = show.stamp(value) if isinstance(value, datetime) else show.clean(str(value))
                show.say(f"{name:<16} {text}", 17)

    return show_


def _readable(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace")


def _replayer(shelf: Shelf) -> Callable[..., None]:
    def replay(
        items: Items = None,
        type_: Type = None,
        cause: Cause = None,
        partner: Partner = None,
        race: Race = None,
        older: Older = None,
        newer: Newer = None,
        every: All = False,
        rate: Rate = RATE,
        wait: Wait = True,
        json: show.Json = False,
    ) -> None:
        async def work(desk: Desk) -> int:
            chosen = await _selection(desk, items, type_, cause, partner, race, older, newer)
            _require_choice(chosen, every)
            now = desk.clock.now()
            return await begin(
                desk,
                lambda connection, replay_id: freeze_stuck(
                    connection, shelf.what, chosen, replay_id=replay_id, now=now, rate=rate
                ),
                nothing=_nothing(shelf),
                wait=wait,
                json=json,
            )

        raise typer.Exit(int(at_desk(work)))

    return replay


def _dropper(shelf: Shelf) -> Callable[..., None]:
    def drop(
        items: Items = None,
        type_: Type = None,
        cause: Cause = None,
        partner: Partner = None,
        race: Race = None,
        older: Older = None,
        newer: Newer = None,
        every: All = False,
        json: show.Json = False,
    ) -> None:
        async def work(desk: Desk) -> int:
            chosen = await _selection(desk, items, type_, cause, partner, race, older, newer)
            _require_choice(chosen, every)
            tag = await desk.database.execute(
                f"UPDATE {shelf.table} SET resolved_at = $9, resolution = $10 WHERE resolved_at IS NULL AND item_id IN"  # noqa: S608
                f" (SELECT item_id FROM stuck WHERE {CHOSEN})",
                *arguments(shelf.what, chosen),
                desk.clock.now(),
                shelf.dropped,
            )
            return int(tag.rpartition(" ")[2])

        number = at_desk(work)
        if not number:
            raise WrongUsage(_nothing(shelf))
        if json:
            show.document({shelf.dropped: number})
        else:
            show.say(f"{shelf.dropped.capitalize()}: {show.many(number, 'item')}.")

    return drop
