"""The schema comes into being, once, in order, and never by halves."""

import asyncio
import re
from importlib.resources import files
from typing import Any

import asyncpg
import pytest

from shared.errors import Later, Stop
from shared.postgres import migrate as module
from shared.postgres.migrate import Migration, migrate, migrations, require_current
from tests.integration.postgres.core import insert


async def _rows(url: str, sql: str) -> list[Any]:
    connection = await asyncpg.connect(url)
    try:
        return list(await connection.fetch(sql))
    finally:
        await connection.close()


async def _apply_first(url: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a program of that time would have done."""
    known = migrations()[:number]
    with monkeypatch.context() as patch:
        patch.setattr(module, "migrations", lambda: known)
        await migrate(url)


async def test_an_empty_database_gets_every_migration_in_order(empty_database_url: str) -> None:
    applied = await migrate(empty_database_url)

    assert [each.version for each in applied] == [each.version for each in migrations()]
    rows = await _rows(empty_database_url, "SELECT version, checksum FROM hub.schema_migrations ORDER BY version")
    assert [tuple(row) for row in rows] == [(each.version, each.checksum) for each in migrations()]
    await require_current(empty_database_url)


async def test_migrating_again_changes_nothing(empty_database_url: str) -> None:
    await migrate(empty_database_url)

    assert await migrate(empty_database_url) == []


async def test_of_two_that_migrate_at_once_one_does_all_of_it(empty_database_url: str) -> None:
    first, second = await asyncio.gather(migrate(empty_database_url), migrate(empty_database_url))

    assert sorted([len(first), len(second)]) == [0, len(migrations())]
    await require_current(empty_database_url)


async def test_a_filled_database_keeps_its_rows_and_shows_them_under_the_old_names(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _apply_first(empty_database_url, 1, monkeypatch)
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute("INSERT INTO timing_partners (company_name) VALUES ('River Timing')")
    await insert(connection, "races")
    await insert(connection, "events")
    await insert(connection, "participants", first_name="Ada", bib="101")
    await insert(connection, "sync_runs")
    await insert(connection, "sync_runs", state="failed")
    await connection.close()

    applied = await migrate(empty_database_url)

    assert [each.version for each in applied] == [each.version for each in migrations()[1:]]
    assert len(await _rows(empty_database_url, "SELECT * FROM runsignup_races")) == 1
    assert len(await _rows(empty_database_url, "SELECT * FROM runsignup_events")) == 1
    people = await _rows(empty_database_url, "SELECT race_id, first_name, bib_num FROM runsignup_participants")
    assert [tuple(row) for row in people] == [(81001, "Ada", "101")]
    numbers = await _rows(empty_database_url, "SELECT sync_history_id FROM sync_history")
    assert len({row[0] for row in numbers}) == 2


async def test_a_migration_changed_after_it_was_applied_stops_and_is_named(empty_database_url: str) -> None:
    await migrate(empty_database_url)
    await _rows(empty_database_url, "UPDATE hub.schema_migrations SET checksum = 'other' WHERE version = 1")

    with pytest.raises(Stop, match=r"migration 0001 \(create_core\) was changed after it was applied"):
        await migrate(empty_database_url)
    with pytest.raises(Stop, match="0001"):
        await require_current(empty_database_url)


async def test_a_database_of_a_newer_schema_stops_and_is_left_alone(empty_database_url: str) -> None:
    await migrate(empty_database_url)
    await _rows(
        empty_database_url,
        "INSERT INTO hub.schema_migrations (version, name, checksum) VALUES (9999, 'from_the_future', 'x')",
    )

    with pytest.raises(Stop, match="schema version 9999, this program knows"):
        await migrate(empty_database_url)
    with pytest.raises(Stop, match="install the newer program"):
        await require_current(empty_database_url)


async def test_a_database_that_is_behind_stops_with_the_remedy(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Stop, match="run `hub migrate`"):
        await require_current(empty_database_url)
    await _apply_first(empty_database_url, 1, monkeypatch)

    with pytest.raises(Stop, match=rf"{len(migrations()) - 1} migration\(s\) behind; run `hub migrate`"):
        await require_current(empty_database_url)


async def test_a_migration_that_fails_half_way_leaves_nothing_and_can_be_applied_later(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = migrations()
    broken = Migration(2, "break", "CREATE TABLE hub.half_done (id integer); SELECT 1 / 0")
    with monkeypatch.context() as patch:
        patch.setattr(module, "migrations", lambda: [good[0], broken])
        with pytest.raises(Exception, match="migrating the database"):
            await migrate(empty_database_url)

    left = await _rows(
        empty_database_url,
        "SELECT to_regclass('hub.half_done') AS half, max(version) AS version FROM hub.schema_migrations",
    )
    assert tuple(left[0]) == (None, 1)
    assert [each.version for each in await migrate(empty_database_url)] == [each.version for each in good[1:]]


async def test_a_database_that_cannot_be_reached_is_tried_later() -> None:
    with pytest.raises(Later, match="migrating the database: the database cannot be reached"):
        await migrate("postgresql://nobody@127.0.0.1:1/none")


def test_migrations_have_a_number_each_and_are_named_by_what_they_do() -> None:
    names = [
        each.name for each in files("shared.postgres").joinpath("migrations").iterdir() if each.name.endswith(".sql")
    ]

    versions = [each.version for each in migrations()]
    assert versions == sorted(set(versions))
    assert all(re.fullmatch(r"[0-9]{4}_[a-z]+(_[a-z]+)+\.sql", name) for name in names)
