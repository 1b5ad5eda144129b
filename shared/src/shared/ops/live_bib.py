"""`hub bib`: who wears a number, asked for live."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import typer

from shared.domain.run import Kind, Mode
from shared.errors import Later
from shared.ops import show
from shared.ops.bib_rows import wearers
from shared.ops.bibs import PartnerOption, RaceOption, show_wearers, wearer
from shared.ops.desk import Desk, at_desk, require_services
from shared.ops.failing import WrongUsage
from shared.ops.following import Run, reason, wait_for
from shared.ops.selecting import Race, choose_partners, choose_races
from shared.ops.wanting import of_race
from shared.postgres.asks import ask
from shared.providers.registry import by_id

#: How long a live look-up is waited for.
LIVE_SECONDS = 30.0
#: RunSignUp finds bibs by whole number only.
LONGEST_NUMBER = 18


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bib")(bib)


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
            "wearers": [wearer(row) for row in found.rows],
        })  # fmt: skip
    else:
        _tell(found)
    raise typer.Exit(0 if found.live else 3)


def _tell(found: Found) -> None:
    if found.note is not None:
        show.say(found.note)
    if found.rows:
        show_wearers(found.rows)
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
        return Found(False, note, await wearers(desk.database, races, number), None)
    if not any(race.future_events for race in races):
        raise WrongUsage(f"race {races[0].race_id} has no future event; hub bibs --race {races[0].race_id} shows it")
    await require_services(desk)
    runs: list[Run] = []
    for race in races:
        wish = replace(of_race(desk, race, Kind.BIB, Mode.INCREMENTAL, 60), bib=number)
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
    return Found(True, None, await wearers(desk.database, races, number), sum(run.fetched for run in runs))
