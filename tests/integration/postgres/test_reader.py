"""The role for downstream systems reads what it is for, writes nothing, and sees no key."""

from collections.abc import AsyncIterator
from importlib.resources import files

import asyncpg
import pytest

READER = files("shared.postgres").joinpath("roles", "reader.sql").read_text("utf-8")


@pytest.fixture
async def reading(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(database_url)
    await connection.execute(READER)
    await connection.execute(READER)  # as often as one likes
    await connection.execute("SET ROLE hub_reader")
    yield connection
    await connection.close()


@pytest.mark.parametrize(
    "name",
    [
        "hub.participants", "hub.events", "hub.races", "hub.change_feed", "hub.bib_history", "hub.sync_runs",
        "runsignup_races", "runsignup_events", "runsignup_participants", "unified_participants", "unified_events",
        "unified_results", "sync_history",
    ],
)  # fmt: skip
async def test_a_reader_reads(name: str, reading: "asyncpg.Connection[asyncpg.Record]") -> None:
    assert await reading.fetch(f"SELECT * FROM {name}") == []


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM hub.credentials",
        "SELECT * FROM partner_provider_credentials",
        "SELECT access_password FROM timing_partners",
        "SELECT * FROM hub.raw_batches",
        "SELECT * FROM hub.dead_letters",
        "SELECT * FROM hub.outbox",
        "DELETE FROM hub.participants",
        "UPDATE hub.participants SET bib = '1'",
        "INSERT INTO timing_partners (company_name) VALUES ('x')",
        "CREATE TABLE hub.mine (id integer)",
    ],
)
async def test_a_reader_sees_no_key_and_changes_nothing(
    statement: str, reading: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await reading.execute(statement)


async def test_two_databases_of_one_cluster_share_the_role(
    reading: "asyncpg.Connection[asyncpg.Record]", empty_database_url: str
) -> None:
    from shared.postgres.migrate import migrate

    await migrate(empty_database_url)
    other = await asyncpg.connect(empty_database_url)
    try:
        await other.execute(READER)
    finally:
        await other.close()
