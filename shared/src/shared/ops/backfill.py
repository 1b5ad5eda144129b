"""`hub backfill plan/start/status/pause/resume/cancel`: all history, in whatever the fresh leaves of the budget."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Annotated

import typer

from shared.errors import Later
from shared.ops import backfill_switches as switches
from shared.ops import show
from shared.ops.backfill_forecast import Limits
from shared.ops.backfill_rows import Account, World, account, survey
from shared.ops.backfill_telling import tally, tell_plan, tell_status
from shared.ops.desk import Desk, at_desk, nobody_runs, require_services
from shared.ops.failing import WrongUsage
from shared.ops.following import LOOK_SECONDS, Outcome, outcome
from shared.ops.progress import teller
from shared.ops.selecting import Partner, choose_partners
from shared.postgres import Connection
from shared.settings import load

group = typer.Typer(help="All history of a partner: every past event, loaded once.", no_args_is_help=True)

Wanted = Annotated[
    str | None, typer.Option("--partner", metavar="NAME|ID", help="Only this partner.", show_default=False)
]
Switch = Callable[[Connection, int, datetime], Awaitable[bool]]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(group, name="backfill")


@group.command()
def plan(partner: Wanted = None, json: show.Json = False) -> None:
    """Say what loading all history takes: races, events, people expected, calls, hours, and when it would be over.

    Lists what the provider has first: a call for each key's races and one for each race, never asked again. Nothing
    else is spent, nobody is loaded. Needs running services.

    Example: hub backfill plan --partner "Fast Timing"
    """

    async def work(desk: Desk) -> None:
        partners = await _partners(desk, partner)
        await require_services(desk)
        for each in partners:
            async with desk.database.transaction("planning a backfill") as connection:
                await switches.plan(connection, each.partner_id, desk.clock.now())
        world, found = await _follow(desk, partners, json=json, plan=True)
        tell_plan(world, found, json=json)

    at_desk(work)


@group.command()
def start(
    partner: Wanted = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is known of the plan; change and spend nothing.")
    ] = False,
    json: show.Json = False,
) -> None:
    """Load every past event that was never loaded. What failed before is asked for again.

    It leaves half of each key's budget to the fresh (HUB_BACKFILL_SHARE), which goes first anyway. No service needs to
    run: it begins when they do, and whatever dies, it goes on at its page.

    Example: hub backfill start --partner 3
    """

    async def work(desk: Desk) -> None:
        partners = await _partners(desk, partner)
        if dry_run:
            tell_plan(*await _look(desk, partners), json=json)
            if not json:
                show.say("Nothing was changed.")
            return
        states = {}
        for each in partners:
            async with desk.database.transaction("starting a backfill") as connection:
                states[each.partner_id] = await switches.start(connection, each.partner_id, desk.clock.now())
        live = not await desk.silent()
        if json:
            show.document({
                "partners": [{"partner_id": key, "state": state} for key, state in states.items()],
                "services_live": live,
            })  # fmt: skip
            return
        for key, state in states.items():
            words = {"started": "is started", "running": "runs already", "paused": "is paused; hub backfill resume"}
            show.say(f"The backfill of partner {key} {words[state]}.")
        show.say("See: hub backfill status" if live else "It begins once a service runs (hub up).")

    at_desk(work)


@group.command()
def status(
    partner: Wanted = None,
    wait: Annotated[bool, typer.Option("--wait", help="Show progress until every backfill is over.")] = False,
    json: show.Json = False,
) -> None:
    """Show how far backfills are: share, rate, calls left, when they will be over, and what failed.

    With --wait the exit code is 0 if all of it was loaded, 3 if part of it was, 1 if none.

    Example: hub backfill status --wait
    """

    async def work(desk: Desk) -> Outcome:
        partners = await _partners(desk, partner)
        if wait:
            world, found = await _follow(desk, partners, json=json, plan=False)
        else:
            world, found = await _look(desk, partners)
        tell_status(world, found, json=json)
        mine = [each for each in found if each.state is not None]
        done = sum(each.state == "finished" for each in mine)
        return outcome(done + sum(each.loaded > 0 for each in mine), len(mine) - done) if wait else Outcome.ALL

    raise typer.Exit(int(at_desk(work)))


@group.command()
def pause(partner: Wanted = None, json: show.Json = False) -> None:
    """Let backfills rest: what runs stops at its page, nothing is lost.

    Example: hub backfill pause
    """
    _switch(partner, switches.pause, "paused", json=json)


@group.command()
def resume(partner: Wanted = None, json: show.Json = False) -> None:
    """Let paused backfills go on, each race at its page.

    Example: hub backfill resume --partner 3
    """
    _switch(partner, switches.resume, "resumed", json=json)


@group.command()
def cancel(partner: Wanted = None, json: show.Json = False) -> None:
    """End backfills. What was loaded stays; another start asks for the rest.

    Example: hub backfill cancel --partner 3
    """
    _switch(partner, switches.cancel, "cancelled", json=json)


def _switch(wanted: str | None, switch: Switch, word: str, *, json: bool) -> None:
    async def work(desk: Desk) -> list[int]:
        switched = []
        for each in await _partners(desk, wanted):
            async with desk.database.transaction(f"a backfill is {word}") as connection:
                if await switch(connection, each.partner_id, desk.clock.now()):
                    switched.append(each.partner_id)
        if not switched:
            raise WrongUsage(f"there is no backfill that could be {word}; see: hub backfill status")
        return switched

    switched = at_desk(work)
    if json:
        show.document({"state": word, "partners": switched})
    else:
        ids = ", ".join(map(str, switched))
        show.say(f"{word.capitalize()}: {show.many(len(switched), 'backfill')} (partner {ids}).")


async def _partners(desk: Desk, wanted: str | None) -> list[Partner]:
    """The partner that was named, or every one that has a key in use; raises WrongUsage when there is none."""
    partners = await choose_partners(desk.database, wanted)
    if wanted is not None and partners[0].is_disabled:
        raise WrongUsage(f"partner {partners[0].partner_id} is disabled; first: hub partner enable {wanted}")
    partners = [each for each in partners if each.keys and not each.is_disabled]
    if not partners:
        raise WrongUsage("there is no partner with a key in use; add one with `hub partner add`")
    return partners


async def _look(desk: Desk, partners: Sequence[Partner], known: World | None = None) -> tuple[World, list[Account]]:
    world = await survey(desk.database, desk.clock.now(), load(Limits), known)
    return world, [await account(desk.database, each, world) for each in partners]


async def _follow(desk: Desk, partners: Sequence[Partner], *, json: bool, plan: bool) -> tuple[World, list[Account]]:
    """Show progress until all is listed (a plan's), or over; raises Later when a service that it needs has gone."""

    def over(each: Account) -> bool:
        return not each.is_open or (plan and each.is_listed)

    world: World | None = None
    with teller(show.err() if json else show.out()) as progress:
        while True:
            world, found = await _look(desk, partners, world)
            told = [each for each in found if plan or each.state is not None]
            progress.tell([tally(each, plan=plan, over=over(each)) for each in told])
            if all(over(each) for each in found):
                return world, found
            if missing := await desk.silent():
                raise Later(f"{nobody_runs(missing)}; the backfill goes on then")
            await desk.clock.sleep(LOOK_SECONDS)
