"""`hub bibs`: who wears which number, now or at a moment; what happened to bibs; which are in conflict."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta, tzinfo
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from shared.ops import bib_rows, show
from shared.ops.desk import Desk, at_desk
from shared.ops.failing import WrongUsage
from shared.ops.moments import instant
from shared.ops.selecting import Race, choose_partners, choose_races

#: What happened so shortly before the moment of ``--since`` may not have been there to be printed yet.
OVERLAP = timedelta(seconds=5)
#: So many of what happened are told, unless it is said how many, or since when: who asks that has a list in hand.
NEWEST = 100

RaceOption = Annotated[str, typer.Option("--race", metavar="ID", help="The race.", show_default=False)]
PartnerOption = Annotated[
    str | None, typer.Option("--partner", metavar="NAME|ID", help="Only this partner's.", show_default=False)
]


@dataclass(frozen=True, slots=True)
class Wish:
    """What of a race's bibs is wanted."""

    race_id: str | None
    at: str | None
    since: str | None
    person: str | None
    number: str | None
    history: bool
    conflicts: bool
    limit: int | None
    json: bool


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bibs")(bibs)


def bibs(
    race: Annotated[str | None, typer.Option(metavar="ID", help="The race.", show_default=False)] = None,
    partner: PartnerOption = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="The list as it was then, by the race's clock.", show_default=False),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="What happened since then.", show_default=False)
    ] = None,
    history: Annotated[bool, typer.Option("--history", help="What happened to bibs, newest last.")] = False,
    person: Annotated[
        str | None, typer.Option(metavar="ID", help="What happened to this registration's bib.", show_default=False)
    ] = None,
    number: Annotated[
        str | None, typer.Option(metavar="BIB", help="What happened to this bib.", show_default=False)
    ] = None,
    conflicts: Annotated[
        bool,
        typer.Option("--conflicts", help="Bibs that several people wear, or that are none of their event's ranges."),
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Of what happened, the newest so many.", show_default="100; with --since all"),
    ] = None,
    json: show.Json = False,
) -> None:
    """List a race's bibs as they are stored now, as they were, what happened to them, or what is in conflict.

    Names people. A bib that the provider has blanked is listed with what it was. A TIME is 06:45 (the last one of the
    race's own clock), 2h, or 2027-05-22T06:45.

    Example: hub bibs --race 12345 --at 06:45
    """
    wish = Wish(race, at, since, person, number, history, conflicts, limit, json)
    if race is None and not conflicts:
        raise WrongUsage("say which race with --race; only --conflicts looks at all of them")
    modes = [at is not None, conflicts, history or since is not None or person is not None or number is not None]
    if sum(modes) > 1:
        raise WrongUsage(
            "--at, --conflicts and what happened (--history, --since, --person, --number) exclude each other"
        )

    async def work(desk: Desk) -> None:
        partners = await choose_partners(desk.database, partner)
        races = [] if race is None else await choose_races(desk.database, partners, desk.clock.now(), race_id=race)
        if conflicts:
            await _conflicts(desk, [each.partner_id for each in (races or partners)], wish)
        elif modes[2]:
            await _happened(desk, races, wish)
        else:
            await _list(desk, races, wish)

    at_desk(work)


async def _list(desk: Desk, races: Sequence[Race], wish: Wish) -> None:
    zone = await _zone(desk, races)
    now = desk.clock.now()
    moment = instant(wish.at, now, zone)
    if moment is not None and moment > now:
        raise WrongUsage("--at looks back; that moment is still to come")
    rows = await (
        bib_rows.wearers(desk.database, races) if moment is None else bib_rows.wearers_at(desk.database, races, moment)
    )
    blanks = await bib_rows.blanks(desk.database, races) if moment is None else []
    if wish.json:
        show.document({
            "race_id": wish.race_id,
            "at": moment or now,
            "bibs": [wearer(row) for row in rows],
            "blanks": [_blank(row) for row in blanks],
        })  # fmt: skip
        return
    show_wearers(rows)
    if blanks:
        show.say("")
        lines = [
            (
                row["before"],
                row["event_id"],
                row["registration_id"],
                row["kind"],
                f"{row['detected_at'].astimezone(zone):%m-%d %H:%M:%S}",
                _name(row),
            )
            for row in blanks
        ]
        show.table("No bib any more", ("*it was", "event", "registration", "kind", "since", "*name"), lines)
    local = (moment or now).astimezone(zone)
    show.say(f"{show.many(len(rows), 'bib')} at {local:%Y-%m-%d %H:%M:%S} {local:%Z}.")
    if moment is None:
        show.say(f"What happens from now on: hub bibs --race {wish.race_id} --since {local:%Y-%m-%dT%H:%M:%S}")


async def _happened(desk: Desk, races: Sequence[Race], wish: Wish) -> None:
    zone = await _zone(desk, races)
    since = instant(wish.since, desk.clock.now(), zone)
    rows = await bib_rows.events(
        desk.database,
        races,
        limit=wish.limit or (NEWEST if since is None else None),
        since=None if since is None else since - OVERLAP,
        person=wish.person,
        number=wish.number,
    )
    if wish.json:
        show.document({"race_id": wish.race_id, "since": since, "events": [_event(row) for row in rows]})
        return
    clock = f"{desk.clock.now().astimezone(zone):%Z}"  # the race's, as in --at and --since
    columns = (f"seen ({clock})", "kind", "event", "registration", "*before", "*after", "other")
    show.table(None, columns, [_event_line(row, zone) for row in rows])


async def _conflicts(desk: Desk, partner_ids: Sequence[int], wish: Wish) -> None:
    rows = await bib_rows.conflicts(desk.database, partner_ids, desk.clock.now(), wish.race_id)
    if wish.json:
        names = ("race_id", "bib", "event_id", "registration_id", "first_name", "last_name", "is_shared", "bib_ranges")
        show.document({
            "conflicts": [
                {"partner_id": row["timing_partner_id"], **{name: row[name] for name in names}} for row in rows
            ]
        })  # fmt: skip
        return
    if not rows:
        show.say("No bib is worn by two people of one race, and none is outside of its event's.")
        return
    if shared := [row for row in rows if row["is_shared"]]:
        columns = (">partner", ">race", "*bib", "event", "registration", "*name")
        lines = [
            (row["timing_partner_id"], row["race_id"], row["bib"], row["event_id"], row["registration_id"], _name(row))
            for row in shared
        ]
        show.table("Worn by several", columns, lines)
    if shared and len(shared) < len(rows):
        show.say("")
    if events := _outside(rows):
        # A line an event: whoever numbers the bibs by another plan than the provider knows has a thousand of them.
        show.table(
            "None that their event gives out",
            (">partner", ">race", "event", "*gives out", ">bibs", "*they are"),
            events,
        )
    bibs_ = {(row["timing_partner_id"], row["race_id"], row["bib"]) for row in rows}
    show.say(f"{show.many(len(bibs_), 'bib')} in conflict; each goes from here when the data resolves it.")


def _outside(rows: Sequence[Any]) -> list[tuple[object, ...]]:
    """The events whose people wear others than their bibs."""
    events: dict[tuple[int, str, str], list[Any]] = {}
    for row in rows:
        if row["bib_ranges"]:
            events.setdefault((row["timing_partner_id"], row["race_id"], row["event_id"]), []).append(row)
    return [
        (
            *event,
            ", ".join(f"{first}-{last}" for first, last in theirs[0]["bib_ranges"]),
            len(theirs),
            ", ".join(row["bib"] for row in theirs),
        )
        for event, theirs in events.items()
    ]


async def _zone(desk: Desk, races: Sequence[Race]) -> tzinfo:
    name = await bib_rows.timezone_of(desk.database, races)
    try:
        return ZoneInfo(name) if name else UTC
    except (KeyError, ValueError, OSError):
        return UTC


def _name(row: Any) -> str:
    return " ".join(part for part in (row["first_name"], row["last_name"]) if part)


def wearer(row: Any) -> dict[str, object]:
    """Somebody who wears a bib, as JSON."""
    names = ("bib", "event_id", "registration_id", "first_name", "last_name", "changed_at")
    return {"partner_id": row["timing_partner_id"], **{name: row[name] for name in names}}


def show_wearers(rows: list[Any]) -> None:
    """A line each; whose it is, too, when two partners have the race."""
    shared = len({row["timing_partner_id"] for row in rows}) > 1
    columns = ("*bib", "event", "registration", *([">partner"] if shared else []), "*name")
    lines = []
    for row in rows:
        whose = [row["timing_partner_id"]] if shared else []
        lines.append((row["bib"], row["event_id"], row["registration_id"], *whose, _name(row)))
    show.table(None, columns, lines)


def _blank(row: Any) -> dict[str, object]:
    names = ("registration_id", "event_id", "kind", "before", "detected_at", "first_name", "last_name")
    return {"partner_id": row["timing_partner_id"], **{name: row[name] for name in names}}


def _event(row: Any) -> dict[str, object]:
    names = ("kind", "event_id", "registration_id", "before", "after", "other_registration_id", "feed_id", "run_id")
    tail = {"reason": row["reason"], "detected_at": row["detected_at"]}
    return {"partner_id": row["timing_partner_id"], **{name: row[name] for name in names}, **tail}


def _event_line(row: Any, zone: tzinfo) -> tuple[object, ...]:
    return (
        f"{row['detected_at'].astimezone(zone):%m-%d %H:%M:%S}",
        row["kind"],
        row["event_id"],
        row["registration_id"],
        row["before"],
        row["after"],
        row["other_registration_id"],
    )
