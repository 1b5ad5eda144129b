"""`hub bibs` and `hub bib`: who wears which number, stored and live."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from shared.domain.run import Kind, Mode, Reason, SyncClass
from shared.errors import Later
from shared.ops import show
from shared.ops.desk import Desk, at_desk, require_services
from shared.ops.failing import WrongUsage
from shared.ops.following import Run, reason, wait_for
from shared.ops.selecting import Race, choose_partners, choose_races
from shared.postgres.asks import Ask, ask
from shared.providers.registry import by_id

#: How long a live look-up is waited for.
LIVE_SECONDS = 30.0
#: RunSignUp finds bibs by whole number only.
LONGEST_NUMBER = 18

RaceOption = Annotated[str, typer.Option("--race", metavar="ID", help="The race.", show_default=False)]
PartnerOption = Annotated[
    str | None, typer.Option("--partner", metavar="NAME|ID", help="Only this partner's.", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("bibs")(bibs)
    app.command("bib")(bib)


def bibs(
    race: RaceOption,
    partner: PartnerOption = None,
    history: Annotated[bool, typer.Option("--history", help="What happened to bibs, newest last.")] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="With --history, the newest so many.", show_default="100")
    ] = None,
    json: show.Json = False,
) -> None:
    """List a race's bibs as they are stored now, or what happened to them. Names people.

    Example: hub bibs --race 12345
    """

    async def work(desk: Desk) -> None:
        races = await choose_races(
            desk.database, await choose_partners(desk.database, partner), desk.clock.now(), race_id=race
        )
        if history:
            rows = await events(desk, races, limit or 100)
            if json:
                show.document({"race_id": race, "events": [_event(row) for row in rows]})
            else:
                columns = ("seen (UTC)", "kind", "event", "registration", "*before", "*after", "other")
                show.table(None, columns, [_event_line(row) for row in rows])
            return
        rows = await wearers(desk, races)
        if json:
            show.document({"race_id": race, "bibs": [_wearer(row) for row in rows]})
        else:
            _show_wearers(rows)
            show.say(show.many(len(rows), "bib"))

    at_desk(work)


async def wearers(desk: Desk, races: Sequence[Race], number: str | None = None) -> list[Any]:
    """Active people of some races who wear a bib (this one), in the order of bibs."""
    return await desk.database.fetch(
        r"""
        SELECT timing_partner_id, bib, race_id, event_id, registration_id, first_name, last_name, changed_at
        FROM participants
        WHERE timing_partner_id = ANY($1) AND race_id = $2 AND bib IS NOT NULL AND removed_at IS NULL
          AND ($3::text IS NULL OR (left(bib, 100) = left($3, 100) AND bib = $3))
        ORDER BY CASE WHEN bib ~ '^\d{1,18}$' THEN bib::bigint END NULLS LAST, bib, registration_id
        """,
        [race.partner_id for race in races],
        races[0].race_id,
        number,
    )


async def events(desk: Desk, races: Sequence[Race], limit: int) -> list[Any]:
    """The newest bib events of some races, oldest first."""
    return await desk.database.fetch(
        """
        SELECT * FROM (SELECT * FROM bib_history WHERE timing_partner_id = ANY($1) AND race_id = $2
            ORDER BY bib_event_id DESC LIMIT $3) AS newest ORDER BY bib_event_id
        """,
        [race.partner_id for race in races],
        races[0].race_id,
        limit,
    )


def _wearer(row: Any) -> dict[str, object]:
    names = ("bib", "event_id", "registration_id", "first_name", "last_name", "changed_at")
    return {"partner_id": row["timing_partner_id"], **{name: row[name] for name in names}}


def _show_wearers(rows: list[Any]) -> None:
    """A line each; whose it is, too, when two partners have the race."""
    shared = len({row["timing_partner_id"] for row in rows}) > 1
    columns = ("*bib", "event", "registration", *([">partner"] if shared else []), "*name")
    lines = []
    for row in rows:
        name = " ".join(part for part in (row["first_name"], row["last_name"]) if part)
        whose = [row["timing_partner_id"]] if shared else []
        lines.append((row["bib"], row["event_id"], row["registration_id"], *whose, name))
    show.table(None, columns, lines)


def _event(row: Any) -> dict[str, object]:
    names = ("kind", "event_id", "registration_id", "before", "after", "other_registration_id", "feed_id", "run_id")
    tail = {"reason": row["reason"], "detected_at": row["detected_at"]}
    return {"partner_id": row["timing_partner_id"], **{name: row[name] for name in names}, **tail}


def _event_line(row: Any) -> tuple[object, ...]:
    return (
        f"{row['detected_at']:%m-%d %H:%M:%S}",
        row["kind"],
        row["event_id"],
        row["registration_id"],
        row["before"],
        row["after"],
        row["other_registration_id"],
    )


@dataclass(frozen=True, slots=True)
class Found:
    """What a look-up of one bib brought."""

    live: bool
    note: str | None  # why it is not live
    rows: list[Any]
    at_provider: int | None  # records that the provider answered with


def bib(
    race: RaceOption,
    number: Annotated[str, typer.Option("--number", help="The bib.", show_default=False)],
    partner: PartnerOption = None,
    json: show.Json = False,
) -> None:
    """Ask the provider who wears a bib now (one call), and show it. Names the person. Needs running services.

    Exit code 0: looked up live; 3: only what is stored could be shown, the provider cannot search for such a bib.

    Example: hub bib --race 12345 --number 101
    """
    number = number.strip()
    if not number:
        raise WrongUsage("a bib has at least one character")

    async def work(desk: Desk) -> Found:
        chosen = await choose_partners(desk.database, partner)
        races = await choose_races(desk.database, chosen, desk.clock.now(), race_id=race)
        return await _look_up(desk, races, number)

    found = at_desk(work)
    if json:
        show.document({
            "race_id": race,
            "bib": number,
            "live": found.live,
            "note": found.note,
            "at_provider": found.at_provider,
            "wearers": [_wearer(row) for row in found.rows],
        })  # fmt: skip
    else:
        _tell(found)
    raise typer.Exit(0 if found.live else 3)


def _tell(found: Found) -> None:
    if found.note is not None:
        show.say(found.note)
    if found.rows:
        _show_wearers(found.rows)
    if not found.rows:
        show.say("Nobody wears it." if found.live else "Nobody wears it, as far as is stored.")
    elif found.live and found.at_provider == 0:
        show.say("The provider knows nobody with it any more; the next sync of the race brings what is worn instead.")
    if len(found.rows) > 1:
        show.say("Stored more than once: it was given twice, is shared in a bundle, or has just moved.")


async def _look_up(desk: Desk, races: Sequence[Race], number: str) -> Found:
    capable = all(by_id(race.provider_id).capabilities.search_by_bib for race in races)
    if not capable or not (number.isascii() and number.isdigit() and len(number) <= LONGEST_NUMBER):
        title = by_id(races[0].provider_id).title
        note = f"{title} can only search for whole numbers; this is what is stored:"
        return Found(False, note, await wearers(desk, races, number), None)
    if not any(race.future_events for race in races):
        raise WrongUsage(f"race {races[0].race_id} has no future event; hub bibs --race {races[0].race_id} shows it")
    await require_services(desk)
    runs: list[Run] = []
    for race in races:
        wish = Ask(
            run_id=desk.new_id(),
            kind=Kind.BIB,
            provider=by_id(race.provider_id).name,
            provider_id=race.provider_id,
            timing_partner_id=race.partner_id,
            credential_id=race.credential_id,
            source="hub",
            reason=Reason.OPERATOR,
            sync_class=SyncClass.RACEDAY,
            mode=Mode.INCREMENTAL,
            race_id=race.race_id,
            bib=number,
            deadline_seconds=60,
            needs_fresh=True,
        )
        async with desk.database.transaction("asking for a bib") as connection:
            run_id = await ask(connection, wish, desk.clock.now())
        if run_id is None:
            continue
        run = await wait_for(desk, run_id, LIVE_SECONDS)
        if run is None or not run.is_written:
            raise Later(
                f"bib {number} of race {race.race_id} could not be looked up: {reason(run)}; "
                f"hub bibs --race {race.race_id} shows what is stored"
            )
        runs.append(run)
    return Found(True, None, await wearers(desk, races, number), sum(run.fetched for run in runs))
