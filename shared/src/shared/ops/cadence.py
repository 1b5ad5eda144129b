"""`hub cadence`: how often a partner's races, or one race, are asked for."""

from typing import Annotated, Any

import orjson
import typer
from pydantic import ValidationError

from shared.cadences import CadenceSettings, CadenceValues
from shared.ops import show
from shared.ops.desk import Desk, at_desk
from shared.ops.failing import WrongUsage
from shared.ops.selecting import choose_partners, choose_races
from shared.postgres.pool import notify
from shared.settings import load


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("cadence")(cadence)


def cadence(
    partner: Annotated[
        str | None, typer.Option(metavar="NAME|ID", help="This partner's races.", show_default=False)
    ] = None,
    race: Annotated[str | None, typer.Option(metavar="ID", help="This race only.", show_default=False)] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Keep a setting of its own.", show_default=False),
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Forget the settings of its own.")] = False,
    json: show.Json = False,
) -> None:
    """Show how often races are asked for, and let a partner or a race have settings of its own.

    A race's settings hold before its partner's, and those before the environment's. They hold from the next look on.
    What they cost: hub budget --what-if NAME=VALUE

    Example: hub cadence --race 12345 --set interval_raceday_seconds=30
    """
    if reset and change:
        raise WrongUsage("--set and --reset exclude each other")
    if (reset or change) and partner is None and race is None:
        raise WrongUsage("say whose with --partner or --race; everybody's settings are the environment's (HUB_...)")

    async def work(desk: Desk) -> None:
        owners = await _owners(desk, partner, race)
        if reset:
            await desk.database.execute(
                "DELETE FROM cadences WHERE timing_partner_id = ANY($1) AND race_id = $2", owners, race or ""
            )
        elif change:
            await _keep(desk, owners, race or "", change)
        if reset or change:
            await _reckon(desk, owners, race or "")
        rows = await desk.database.fetch(
            "SELECT timing_partner_id AS partner_id, nullif(race_id, '') AS race_id, settings FROM cadences"
            " WHERE ($1::int[] IS NULL OR timing_partner_id = ANY($1)) AND ($2::text IS NULL OR race_id IN ('', $2))"
            " ORDER BY 1, race_id NULLS FIRST",
            owners or None,
            race,
        )
        _tell([{**dict(row), "settings": orjson.loads(row["settings"])} for row in rows], json)

    at_desk(work)


async def _owners(desk: Desk, partner: str | None, race: str | None) -> list[int]:
    """The partners meant; none: everybody."""
    if partner is None and race is None:
        return []
    partners = await choose_partners(desk.database, partner)
    if race is None:
        return [each.partner_id for each in partners]
    return [each.partner_id for each in await choose_races(desk.database, partners, desk.clock.now(), race_id=race)]


async def _keep(desk: Desk, owners: list[int], race_id: str, words: list[str]) -> None:
    """Lay settings over those kept before, all of them valid together."""
    told = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or name.strip().lower() not in CadenceValues.model_fields:
            raise WrongUsage(f"--set needs NAME=VALUE, NAME one of {', '.join(CadenceValues.model_fields)}")
        told[name.strip().lower()] = value.strip()
    try:
        valid = CadenceValues.model_validate(told)
    except ValidationError as error:
        raise WrongUsage(f"--set {error.errors()[0]['loc'][0]}= cannot have this value") from None
    kept = valid.model_dump(include=set(told))
    for owner in owners:
        await desk.database.execute(
            "INSERT INTO cadences AS c (timing_partner_id, race_id, settings) VALUES ($1, $2, $3)"
            " ON CONFLICT (timing_partner_id, race_id) DO UPDATE SET settings = c.settings || excluded.settings",
            owner,
            race_id,
            orjson.dumps(kept).decode(),
        )


async def _reckon(desk: Desk, owners: list[int], race_id: str) -> None:
    """Let the scheduler look at the races again, and plan the hours to come anew."""
    async with desk.database.transaction("reckoning with another cadence") as connection:
        await connection.execute(
            "UPDATE race_sync SET next_due_at = least(next_due_at, $3)"
            " WHERE timing_partner_id = ANY($1) AND ($2 = '' OR race_id = $2) AND state = 'active'",
            owners,
            race_id,
            desk.clock.now(),
        )
        await notify(connection, "due")
        await notify(connection, "races")


def _tell(rows: list[dict[str, Any]], json: bool) -> None:
    everybody = load(CadenceSettings).model_dump(include=set(CadenceValues.model_fields))
    if json:
        show.document({"everybody": everybody, "own": rows})
        return
    show.table(None, ("*setting", ">everybody"), everybody.items())
    if rows:
        show.say("")
        lines = [(row["partner_id"], row["race_id"] or "all", name, value)
                 for row in rows for name, value in row["settings"].items()]  # fmt: skip
        show.table(None, (">partner", "race", "*setting", ">value"), lines)
