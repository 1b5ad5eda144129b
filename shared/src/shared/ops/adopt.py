"""`hub adopt`: an existing database of the former system, taken over, and given back if need be."""

import asyncio
import time
from typing import Annotated

import typer

from shared.errors import Never, Stop
from shared.ops import show
from shared.ops.desk import address_of, reaching
from shared.ops.failing import WrongUsage
from shared.postgres.adopting import adoption
from shared.postgres.adopting.looking import OLD, Found
from shared.runtime.service import sealer_of
from shared.secrets import Sealer
from shared.settings import Settings, load

#: Seconds between two lines about one table.
LINE_SECONDS = 3.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("adopt")(adopt)


def adopt(
    check: Annotated[bool, typer.Option("--check", help="Only look, and say what would be done.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Give the old tables their names back.")] = False,
    zone: Annotated[
        str | None,
        typer.Option(
            help="The zone of the clock that wrote fetched_date and created_at; left out: the database's own.",
            show_default=False,
        ),
    ] = None,
    runsignup: Annotated[
        int | None,
        typer.Option(help="The old number of RunSignUp, where the tables do not tell it.", show_default=False),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="With --undo: also when partners or keys were added since.")
    ] = False,
    json: show.Json = False,
) -> None:
    """Take over the tables of the former system: keys sealed, duplicates merged, times made absolute.

    End the old programs first, and have a backup. Readers go on meanwhile: each old name is exchanged at once, when its
    table is taken over whole. The old tables stay aside, in the schema hub_old, until you drop it; until then --undo
    gives everything back as it was. Interrupted, it goes on where it was when called again.

    Example: hub adopt --check
    """
    if check and undo:
        raise WrongUsage("say --check or --undo, not both")
    code = asyncio.run(_run(check=check, undo=undo, zone=zone, runsignup=runsignup, yes=yes, json=json))
    raise typer.Exit(code)


async def _run(*, check: bool, undo: bool, zone: str | None, runsignup: int | None, yes: bool, json: bool) -> int:
    settings = load(Settings)
    async with address_of(settings) as (address, embedded):
        with reaching(address):
            state = await adoption.state(address)
        if undo:
            return await _undo(address, sealer_of(settings, embedded), yes, json)
        if state in {"nothing", "ours", "adopted"}:
            return _say_nothing_to_do(state, json)
        if check:
            if state == "half":
                raise Stop(
                    "an adoption is not finished; go on with `hub adopt`, or take it back with `hub adopt --undo`"
                )
            found = await adoption.check(address, zone=zone, runsignup=runsignup)
            _report(found, json)
            return 1 if found.blockers else 0
        sealer = sealer_of(settings, embedded)
        taken = await adoption.adopt(address, sealer=sealer, zone=zone, runsignup=runsignup, tell=Teller(json).tell)
    _conclude(taken, json)
    return 0


def _say_nothing_to_do(state: str, json: bool) -> int:
    said = {
        "nothing": "There are no tables of the former system; make the hub's with: hub migrate",
        "ours": "There are no tables of the former system beside the hub's own; nothing is to be done.",
        "adopted": f"This database was adopted. The old tables are in the schema {OLD}: hub adopt --undo gives them "
        f"back, DROP SCHEMA {OLD} CASCADE lets them go.",
    }
    if json:
        show.document({"state": state})
    else:
        show.say(said[state])
    return 0


def _report(found: Found, json: bool) -> None:
    if json:
        show.document({
            "state": "old",
            "dialect": found.dialect,
            "zone": found.zone,
            "tables": [
                {"name": each.name, "rows": each.rows, "bytes": each.size, "unknown_columns": each.unknown}
                for each in found.tables.values()
            ],
            "findings": [
                {"what": each.what, "where": each.where, "count": each.count, "consequence": each.consequence}
                for each in found.findings
            ],
            "blockers": found.blockers,
        })  # fmt: skip
        return
    rows = [(each.name, each.rows, show.size(each.size)) for each in found.tables.values()]
    show.table(f"Old tables (spelling: {found.dialect})", ("table", ">rows", ">size"), rows)
    for each in found.findings:
        show.say(f"{each.what}, {each.where}: {each.count:,}")
        show.say(f"  → {each.consequence}", 4)
    for blocker in found.blockers:
        show.say(f"In the way: {blocker}.", 2)
    if found.blockers:
        show.say("Nothing was changed. Clear the way, then look again: hub adopt --check")
    else:
        size = show.size(sum(each.size for each in found.tables.values()))
        show.say(
            f"Nothing was changed. To take them over: hub adopt (the old tables stay in {OLD}; allow {size} of disk)"
        )


class Teller:
    """Says how far each table is, a line at a time; on standard error when a document is wanted."""

    def __init__(self, json: bool) -> None:
        self._console = show.err() if json else show.out()
        self._began = self._last = time.monotonic()

    def tell(self, name: str, done: int, rows: int) -> None:
        """A table, and how many of its rows are through."""
        now = time.monotonic()
        if 0 < done < rows and now - self._last < LINE_SECONDS:
            return
        self._last = now
        if done or not rows:
            show.tell(self._console, f"{now - self._began:4.0f} s  {name}: {done:,} of {rows:,} rows")


def _conclude(taken: list[adoption.Taken], json: bool) -> None:
    if json:
        show.document({
            "state": "adopted",
            "tables": [{"name": each.name, "rows": each.rows, "taken_over": each.taken} for each in taken],
            "kept_aside": OLD,
        })  # fmt: skip
        return
    show.table("Taken over", ("table", ">rows", ">taken over"), [(each.name, each.rows, each.taken) for each in taken])
    show.say(
        f"Done. The old tables are in the schema {OLD}; hub adopt --undo gives them back until it is dropped. "
        "Next: start the services (hub up); the first pass of each race brings it up to date."
    )


async def _undo(address: str, sealer: Sealer, yes: bool, json: bool) -> int:
    if await adoption.state(address) not in {"adopted", "half"}:
        raise Never(f"there is nothing to take back: no adoption is noted (or the schema {OLD} was dropped)")
    lost = await adoption.loss(address)
    if (lost.partners or lost.keys) and not yes:
        raise Never(
            f"{show.many(lost.partners, 'partner')} and {show.many(lost.keys, 'key')} added since the adoption would "
            "be lost; write them down, then: hub adopt --undo --yes"
        )
    tables = await adoption.undo(address, sealer=sealer)
    if json:
        show.document({"state": "old", "given_back": tables})
    else:
        show.say(f"Given back: {', '.join(tables)}. The hub's own schema is gone; the old programs can go on.")
    return 0
