"""`hub migrate`."""

import asyncio
from typing import Annotated

import typer
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from shared.errors import Misconfigured
from shared.ops import show
from shared.ops.desk import address_of, reaching
from shared.postgres.migrate import Migration, migrate, require_current
from shared.postgres.roles import grant
from shared.settings import SOURCES, Settings, load


class RoleSettings(BaseSettings):
    """What `hub migrate` needs beside the address."""

    model_config = SOURCES

    role_passwords: SecretStr = SecretStr("")  # hub_fetcher=…,hub_writer=…: roles to be made, that may log in

    def by_role(self) -> dict[str, str]:
        """Passwords by role; raises Misconfigured for what is not one, without repeating it."""
        pairs = [each.strip().partition("=") for each in self.role_passwords.get_secret_value().split(",") if each]
        if any(not role or not password.isascii() or not password for role, _, password in pairs):
            raise Misconfigured("HUB_ROLE_PASSWORDS must look like hub_fetcher=password,hub_writer=password, in ASCII")
        return {role: password for role, _, password in pairs}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("migrate")(migrate_)


def migrate_(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing: exit code 1 unless the schema is the newest.")
    ] = False,
    json: show.Json = False,
) -> None:
    """Bring the database to the newest schema, and give the roles of the services and of readers what they need.

    Safe to repeat, and to run twice at once. A database that is newer than this program is left alone (exit 1). Roles
    that do not exist are nobody's concern, unless HUB_ROLE_PASSWORDS names them: then they are made.

    Example: hub migrate
    """
    applied, served = asyncio.run(_check() if check else _migrate())
    if json:
        migrations = [{"version": each.version, "name": each.name} for each in applied]
        show.document({"applied": migrations, "roles": served})
        return
    for each in applied:
        show.say(f"applied {each.version:04} {each.name.replace('_', ' ')}")
    if served:
        show.say(f"granted what they need to {', '.join(served)}")
    show.say("The schema is the newest." if not applied else "Done: the schema is the newest.")


async def _check() -> tuple[list[Migration], list[str]]:
    async with address_of(load(Settings)) as (address, _):
        with reaching(address):
            await require_current(address)
    return [], []


async def _migrate() -> tuple[list[Migration], list[str]]:
    passwords = load(RoleSettings).by_role()
    async with address_of(load(Settings)) as (address, _):
        with reaching(address):
            return await migrate(address), await grant(address, passwords)
