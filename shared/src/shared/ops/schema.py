"""`hub migrate`."""

import asyncio

import typer

from shared.errors import Later
from shared.ops import show
from shared.ops.desk import address_of, place
from shared.postgres.migrate import Migration, migrate
from shared.settings import Settings, load


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("migrate")(migrate_)


def migrate_(json: show.Json = False) -> None:
    """Bring the database to the newest schema.

    Safe to repeat, and to run twice at once. A database that is newer than this program is left alone (exit 1).

    Example: hub migrate
    """
    applied = asyncio.run(_migrate())
    if json:
        show.document({"applied": [{"version": each.version, "name": each.name} for each in applied]})
        return
    for each in applied:
        show.say(f"applied {each.version:04} {each.name.replace('_', ' ')}")
    show.say("The schema is the newest." if not applied else "Done: the schema is the newest.")


async def _migrate() -> list[Migration]:
    async with address_of(load(Settings)) as (address, _):
        try:
            return await migrate(address)
        except Later as error:
            raise Later(f"{error}; start {place(address)}, or correct HUB_DATABASE_URL") from None
