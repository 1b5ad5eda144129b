"""`hub explain`: one runner's story, or a race's: asked, fetched, written, changed, published, with every id."""

from collections.abc import Sequence
from typing import Annotated

import typer

from shared.ops import show
from shared.ops.desk import Desk, at_desk
from shared.ops.explain_rows import Step, Subject, race_story, registrations, runner_story, subject_of_race
from shared.ops.failing import WrongUsage
from shared.ops.selecting import choose_partners, choose_races, number

#: Runners told at once: a bib may be worn by more than one, and two partners may have the race.
MOST_RUNNERS = 5


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain")(explain)


def explain(
    registration: Annotated[
        str | None, typer.Option(metavar="ID", help="The story of this registration.", show_default=False)
    ] = None,
    bib: Annotated[
        str | None,
        typer.Option(metavar="B", help="Of whoever wears or wore this bib (with --race).", show_default=False),
    ] = None,
    race: Annotated[
        str | None, typer.Option(metavar="ID", help="Of a race, or of the bib's race.", show_default=False)
    ] = None,
    partner: Annotated[
        str | None, typer.Option(metavar="NAME|ID", help="Only this partner's.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many runs and changes.")] = 10,
    json: show.Json = False,
) -> None:
    """Tell one runner's story, or a race's: what was asked, fetched, written, changed and published, oldest first.

    Each step with the ids of its run and message, to look for in logs and queues. Names nobody.

    Example: hub explain --race 12345 --bib 101
    """

    async def work(desk: Desk) -> None:
        stories = await _stories(desk, registration, bib, race, partner, limit)
        if json:
            show.document({
                "stories": [{**subject.describe(), "steps": [each.describe() for each in steps]}
                            for subject, steps in stories]
            })  # fmt: skip
            return
        for place, (subject, steps) in enumerate(stories):
            if place:
                show.say("")
            _tell(subject, steps)

    if (registration is None) == (race is None) or (bib is not None and race is None):
        raise WrongUsage("say --registration ID, or --race ID, or --race ID --bib B; see: hub explain --help")
    at_desk(work)


async def _stories(
    desk: Desk, registration: str | None, bib: str | None, race: str | None, partner: str | None, limit: int
) -> list[tuple[Subject, Sequence[Step]]]:
    partners = await choose_partners(desk.database, partner)
    ids = [each.partner_id for each in partners]
    if race is not None:
        races = await choose_races(desk.database, partners, desk.clock.now(), race_id=race)
        if bib is None:
            return [
                (await subject_of_race(desk.database, each), await race_story(desk.database, each, limit))
                for each in races
            ]
    found = await registrations(desk.database, ids, registration, race, bib)
    if not found:
        what = f"bib {number(bib)} of race {race}" if bib is not None else f"registration {number(registration or '')}"
        raise WrongUsage(f"{what} is not known; ask the provider with: hub sync, or hub bib --race R --number B")
    return [(each, await runner_story(desk.database, each, limit)) for each in found[:MOST_RUNNERS]]


def _tell(subject: Subject, steps: Sequence[Step]) -> None:
    show.say(f"{subject.title}.")
    for each in subject.facts:
        show.say(f"  {each}.", 2)
    for step in steps:
        show.say(f"{show.stamp(step.at)}  {step.verb:<10} {step.what}", 33)
        for each in step.details:
            show.say(f"{'':<11}{each}", 11)  # a type and an id fit 80 columns
    if not steps:
        show.say("  Nothing has happened yet.")
