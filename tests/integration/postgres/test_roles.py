"""Each service's role, and the one that only reads: what it needs, nothing else, wherever the roles come from.

That each can do its work is seen elsewhere: a service's handlers are tested, and its processes run in the stories and
the storms, as its own role.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from shared.errors import Misconfigured, Stop
from shared.postgres.migrate import migrate
from shared.postgres.roles import MAY, ROLES, grant, verifier
from tests import services

Connection: TypeAlias = "asyncpg.Connection[Any]"

#: What only the owner of the tables may look at: the operator's own.
OWNERS = {"hub.adopted_history", "hub.stuck"}


@pytest.mark.parametrize(
    "name",
    [
        "hub.participants", "hub.events", "hub.races", "hub.change_feed", "hub.bib_history", "hub.sync_runs",
        "runsignup_races", "runsignup_events", "runsignup_participants", "unified_participants", "unified_events",
        "unified_results", "sync_history",
    ],
)  # fmt: skip
async def test_a_reader_reads(name: str, connection: Connection) -> None:
    await connection.execute("SET ROLE hub_reader")
    assert await connection.fetch(f"SELECT * FROM {name}") == []


#: Nobody of them may do these; but what belongs to a role stands with it.
REFUSED = {
    "hub_scheduler": [
        "SELECT last_name FROM hub.participants",
        "SELECT body FROM hub.raw_batches",
        "SELECT raw FROM hub.quarantine",
        "SELECT fields FROM hub.changes",
        "SELECT sealed_secret FROM hub.credentials",
        "UPDATE hub.participants SET bib = '1'",
        "UPDATE hub.events SET cursor_at = now()",
        "UPDATE partner_provider_credentials SET principal = 'x'",
    ],
    "hub_fetcher": [
        "SELECT registration_id FROM hub.participants",
        "UPDATE hub.participants SET bib = '1'",
        "DELETE FROM hub.participants",
        "SELECT secret FROM partner_provider_credentials",
        "UPDATE hub.credentials SET sealed_secret = ''",
        "UPDATE hub.events SET cursor_at = now()",
        "UPDATE hub.provider_keys SET calls_per_hour = 100000",
        "DELETE FROM hub.calls",
        "SELECT body FROM hub.raw_batches",
    ],
    "hub_writer": [
        "SELECT secret FROM partner_provider_credentials",
        "SELECT principal FROM partner_provider_credentials",
        "SELECT sealed_secret FROM hub.credentials",
        "UPDATE hub.credentials SET sealed_secret = ''",
        "DELETE FROM hub.participants",
        "DELETE FROM hub.raw_batches",
        "UPDATE hub.provider_keys SET calls_per_hour = 100000",
        "DELETE FROM hub.calls",
    ],
    "hub_bib_watcher": [
        "SELECT secret FROM partner_provider_credentials",
        "SELECT principal FROM partner_provider_credentials",
        "SELECT sealed_secret FROM hub.credentials",
        "SELECT last_name FROM hub.participants",
        "UPDATE hub.participants SET bib = '1'",
        "DELETE FROM hub.bib_history",
        "INSERT INTO hub.changes SELECT * FROM hub.changes",
        "SELECT body FROM hub.raw_batches",
    ],
    "hub_reader": [
        "SELECT * FROM hub.credentials",
        "SELECT * FROM partner_provider_credentials",
        "SELECT * FROM hub.raw_batches",
        "SELECT * FROM hub.dead_letters",
        "SELECT * FROM hub.outbox",
        "DELETE FROM hub.participants",
        "UPDATE hub.participants SET bib = '1'",
        "INSERT INTO timing_partners (company_name) VALUES ('x')",
    ],
}
NOBODY = ("SELECT access_password FROM timing_partners", "TRUNCATE hub.sync_runs", "CREATE TABLE hub.mine (id integer)")


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_is_refused_what_it_does_not_need(role: str, connection: Connection) -> None:
    await connection.execute(f"SET ROLE {role}")
    for statement in (*REFUSED[role], *NOBODY):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)


async def test_every_table_and_view_is_thought_of(connection: Connection) -> None:
    rows = await connection.fetch(
        "SELECT relnamespace::regnamespace || '.' || relname AS name FROM pg_class"
        " WHERE relkind IN ('r', 'v', 'p') AND relnamespace IN ('hub'::regnamespace, 'public'::regnamespace)"
    )
    assert {row["name"] for row in rows} == {table for table, *_ in MAY} | OWNERS


async def test_whoever_got_too_much_has_it_taken_by_the_next_migration(
    connection: Connection, database_url: str
) -> None:
    await connection.execute("GRANT SELECT (secret) ON partner_provider_credentials TO hub_writer")
    await connection.execute("GRANT DELETE ON hub.participants TO hub_writer")
    assert await grant(database_url, {}) == list(ROLES)
    await connection.execute("SET ROLE hub_writer")
    for statement in REFUSED["hub_writer"]:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)


async def test_databases_of_one_server_share_the_roles_and_are_migrated_at_once(
    database_url: str, empty_database_url: str
) -> None:
    await migrate(empty_database_url)
    both = await asyncio.gather(*(grant(url, {}) for url in (database_url, empty_database_url) for _ in range(3)))
    assert both == [list(ROLES)] * 6


@pytest.fixture
async def ordinary(postgres: services.Database, empty_database_url: str) -> AsyncIterator[str]:
    """A migrated database of a user who may make no roles; its address as that user."""
    name = urlsplit(empty_database_url).path.strip("/")
    await services.execute(postgres.url, f"CREATE ROLE {name} LOGIN PASSWORD 'ordinary'")
    await services.execute(postgres.url, f"ALTER DATABASE {name} OWNER TO {name}")
    url = as_user(empty_database_url, name, "ordinary")
    await migrate(url)
    yield url
    await services.execute(empty_database_url, f"DROP OWNED BY {name} CASCADE")
    await services.execute(postgres.url, f"ALTER DATABASE {name} OWNER TO current_user")
    await services.execute(postgres.url, f"DROP ROLE {name}")


def as_user(url: str, user: str, password: str) -> str:
    """An address as somebody else."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{parts.netloc.rpartition('@')[2]}"))


async def test_an_owner_who_may_make_no_roles_serves_those_that_exist(ordinary: str, database_url: str) -> None:
    assert await grant(ordinary, {}) == list(ROLES)
    connection = await asyncpg.connect(ordinary)
    try:
        assert await connection.fetchval("SELECT has_table_privilege('hub_writer', 'hub.participants', 'UPDATE')")
    finally:
        await connection.close()


async def test_an_owner_who_may_make_no_roles_is_told_who_can(ordinary: str, database_url: str) -> None:
    with pytest.raises(Stop, match="may not make the role hub_fetcher") as refused:
        await grant(ordinary, {"hub_fetcher": "quorvexil"})
    assert "quorvexil" not in str(refused.value)


async def test_a_role_of_another_name_is_a_wrong_setting(database_url: str) -> None:
    with pytest.raises(Misconfigured, match="names hub_dispatcher"):
        await grant(database_url, {"hub_dispatcher": "quorvexil"})


async def test_a_role_with_a_password_logs_in_and_works(
    connection: Connection, database_url: str, postgres: services.Database
) -> None:
    try:
        await grant(database_url, {"hub_bib_watcher": "quorvexil"})
        themselves = await asyncpg.connect(as_user(database_url, "hub_bib_watcher", "quorvexil"))
        try:
            assert await themselves.fetchval("SELECT current_user") == "hub_bib_watcher"
            assert await themselves.fetch("SELECT bib FROM hub.participants") == []
        finally:
            await themselves.close()
        stored = await connection.fetchval("SELECT rolpassword FROM pg_authid WHERE rolname = 'hub_bib_watcher'")
        assert re.fullmatch(r"SCRAM-SHA-256\$4096:\S+", stored)
    finally:
        await services.execute(postgres.url, "ALTER ROLE hub_bib_watcher NOLOGIN PASSWORD NULL")


async def test_what_is_stored_of_a_password_is_what_the_server_would_store(connection: Connection) -> None:
    import base64

    await connection.execute("SET password_encryption = 'scram-sha-256'")
    async with connection.transaction():
        await connection.execute("CREATE ROLE hub_of_this_test PASSWORD 'quorvexil'")
        theirs: str = await connection.fetchval("SELECT rolpassword FROM pg_authid WHERE rolname = 'hub_of_this_test'")
        await connection.execute("DROP ROLE hub_of_this_test")
    _, rounds, salt = re.split(r"[$:]", theirs.rpartition("$")[0])
    assert verifier("quorvexil", base64.b64decode(salt), int(rounds)) == theirs
