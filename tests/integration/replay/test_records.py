"""The archive applied again, at no call: what the mapping changed is written anew, and an empty database fills."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest

from shared.domain.participant import Identity, Participant
from shared.domain.run import Kind, Mode, State
from shared.postgres import Database
from shared.postgres.replays import Archived, written
from shared.providers import registry
from shared.runtime import House
from tests import fakes, services
from tests.builders import (
    PROVIDER,
    RACE,
    Tenant,
    a_batch,
    a_participant_record,
    a_partner,
    a_race_record,
    a_races_batch,
    a_removal_record,
    a_removals_batch,
    a_run,
    an_end,
    at,
)
from tests.fakes import a_house
from tests.integration.replay.driving import drive, items, records_replay

#: Of a person, all that follows from what the provider sent and when; the rest is when we wrote it.
PERSON = """
    SELECT to_jsonb(p) - '{id,first_seen_at,changed_at,removed_at}'::text[]
        || jsonb_build_object('gone', removed_at IS NOT NULL)
    FROM participants p ORDER BY registration_id
"""
EVENT_ROWS = """
    SELECT to_jsonb(e) - '{first_seen_at,changed_at,cursor_at,removals_cursor_at,missing_at}'::text[]
    FROM events e ORDER BY 1
"""
RACE_ROWS = """
    SELECT to_jsonb(r) - '{first_seen_at,changed_at,missing_at}'::text[] || jsonb_build_object('state', s.state)
    FROM races r JOIN race_sync s USING (provider_id, timing_partner_id, race_id) WHERE (s.state = 'missing')
        = (r.missing_at IS NOT NULL) ORDER BY 1
"""


async def rows(database: Database, statement: str) -> list[Any]:
    return [orjson.loads(row[0]) for row in await database.fetch(statement)]


async def discovered(database: Database, house: House, tenant: Tenant, *races: Any, seconds: float) -> None:
    run_id = await a_run(database, tenant, RACE)
    await database.execute("UPDATE sync_runs SET kind = $2, race_id = NULL WHERE run_id = $1", run_id, Kind.DISCOVER)
    await fakes.write(
        house,
        a_races_batch(tenant, run_id, list(races), fetched_at=at(seconds)),
        an_end(tenant, run_id, first_call_at=at(seconds)),
    )


@pytest.fixture
async def lived(database: Database, house: House) -> Tenant:
    """A partner whose two races have been through everything that can happen to people."""
    tenant = await a_partner(database)
    races = [a_race_record(501), a_race_record(502, event_ids=(90021,)), a_race_record(503, event_ids=(90031,))]
    await discovered(database, house, tenant, *races, seconds=-7200)
    await discovered(database, house, tenant, *races[:2], seconds=-7000)  # the third has left the list
    first = await a_run(database, tenant)
    people = [a_participant_record(7000 + number, bib=str(number), modified=-4000) for number in range(1, 21)]
    await fakes.write(
        house,
        a_batch(tenant, first, people[:10], fetched_at=at(-3600)),
        a_batch(tenant, first, people[10:], sequence=2, fetched_at=at(-3590)),
        an_end(tenant, first, ((1, 1, 2),), first_call_at=at(-3600)),
    )
    other = await a_run(database, tenant, "502", events=("90021",))
    await fakes.write(house, a_batch(tenant, other, [a_participant_record(8001, event_id=90021)], race_id="502"))
    changes = await a_run(database, tenant, mode=Mode.INCREMENTAL)
    await fakes.write(
        house,
        a_batch(
            tenant,
            changes,
            [{**people[0], "bib_num": "99", "last_modified": int(at(-1900).timestamp())}],
            fetched_at=at(-1800),
        ),
        a_removals_batch(
            tenant,
            changes,
            [
                a_removal_record(7002, reason="transferred", new_registration_id=7003, modified=-1900),
                a_removal_record(7004, reason="deferred", modified=-1900),
                a_removal_record(7006, reason="cleared", modified=-1900),
                a_removal_record(7007, modified=-1900),
                a_removal_record(9999, modified=-1900),
            ],
            sequence=2,
            fetched_at=at(-1790),
        ),
        an_end(tenant, changes, ((1, 1, 2),), first_call_at=at(-1800)),
    )
    stay = [each for each in people if each["registration_id"] not in {7002, 7004, 7005, 7006, 7007}]
    stay[0] = {**people[0], "bib_num": "99", "last_modified": int(at(-1900).timestamp())}
    bad = a_participant_record(7030, event_id=None)
    for seconds in (-1000, -900):  # what one pass alone lacks is not gone yet
        full = await a_run(database, tenant)
        await fakes.write(
            house,
            a_batch(tenant, full, [*stay, bad], fetched_at=at(seconds)),
            an_end(tenant, full, first_call_at=at(seconds)),
        )
    back = await a_run(database, tenant, mode=Mode.INCREMENTAL)
    await fakes.write(house, a_batch(tenant, back, [people[3]], fetched_at=at(-60)), an_end(tenant, back))
    return tenant


@pytest.fixture
async def empty(postgres: services.Database, _template: dict[str, str], database_url: str) -> AsyncIterator[Database]:
    """A migrated database beside the live one, with nothing in it."""
    name = database_url.partition("?")[0].rpartition("/")[2] + "_again"
    await services.clone(postgres.url, _template["name"], name)
    async with fakes.a_database(services.database_named(postgres.url, name)) as database:
        yield database
    await services.execute(postgres.url, f"drop database {name} with (force)")


async def test_the_archive_of_everything_fills_an_empty_database_with_the_same(
    database: Database, house: House, lived: Tenant, empty: Database
) -> None:
    for table in (
        "public.timing_partners", "public.partner_provider_credentials", "hub.credentials", "hub.raw_batches",
    ):  # fmt: skip
        schema, _, name = table.partition(".")
        columns = [
            row["column_name"]
            for row in await database.fetch(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = $1 AND table_name = $2",
                schema,
                name,
            )
        ]
        copied = await database.fetch(f"SELECT {', '.join(columns)} FROM {table}")
        async with empty.connection() as connection:
            await connection.copy_records_to_table(
                name, schema_name=schema, columns=columns, records=[tuple(row) for row in copied]
            )
    again = a_house(empty, seed=2)
    found = await drive(again, await records_replay(again), steps=300)
    assert (found["state"], found["failed"]) == ("done", 0)
    assert [each["state"] for each in await rows(empty, RACE_ROWS)].count("missing") == 1
    assert await rows(empty, RACE_ROWS) == await rows(database, RACE_ROWS)
    assert await rows(empty, EVENT_ROWS) == await rows(database, EVENT_ROWS)
    assert len(await rows(empty, PERSON)) == 22
    assert await rows(empty, PERSON) == await rows(database, PERSON)
    bad = "SELECT registration_id, reason FROM quarantine WHERE resolved_at IS NULL"
    assert await empty.fetch(bad) == await database.fetch(bad) != []
    assert await empty.fetchval("SELECT count(*) FROM sync_runs WHERE state <> 'completed'") == 0
    assert await empty.fetchval("SELECT sum(calls) FROM sync_runs") == 0


async def test_the_archive_applied_again_changes_nothing(database: Database, house: House, lived: Tenant) -> None:
    people, changes = await rows(database, PERSON), await database.fetchval("SELECT count(*) FROM changes")
    batches = await database.fetchval("SELECT count(*) FROM raw_batches")
    replay = await records_replay(house)
    found = await drive(house, replay, steps=300)
    assert (found["state"], found["done"]) == ("done", batches)
    assert await rows(database, PERSON) == people
    assert await database.fetchval("SELECT count(*) FROM changes") == changes
    assert await database.fetchval("SELECT count(*) FROM raw_batches") == batches
    assert await written(database, replay) == {}


async def test_a_race_that_came_back_to_the_list_stays_on_it(database: Database, house: House, lived: Tenant) -> None:
    races = [a_race_record(501), a_race_record(502, event_ids=(90021,)), a_race_record(503, event_ids=(90031,))]
    await discovered(database, house, lived, *races, seconds=-6000)
    found = await drive(house, await records_replay(house), steps=300)
    assert found["failed"] == 0
    assert await database.fetchval("SELECT count(*) FROM race_sync WHERE state = 'active'") == 3
    assert await database.fetchval("SELECT count(*) FROM races WHERE missing_at IS NOT NULL") == 0


def a_better_mapping(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, first names are written in capitals."""

    def identify(records: Sequence[Any], race_id: str, sent: object = None) -> list[Identity]:
        known = PROVIDER.identify(records, race_id)
        return [each._replace(content_hash=each.content_hash and b"2" + each.content_hash[1:]) for each in known]

    def better(raw: Any, race_id: str, *more: Any) -> Any:
        mapped = PROVIDER.map_participant(raw, race_id, *more)
        return (
            mapped._replace(first_name=(mapped.first_name or "").upper()) if isinstance(mapped, Participant) else mapped
        )

    newer = replace(PROVIDER, identify=identify, map_participant=better, mapping_version=PROVIDER.mapping_version + 1)
    monkeypatch.setitem(registry.PROVIDERS, PROVIDER.name, newer)


async def test_a_replay_after_a_mapping_change_rewrites_rows_of_equal_version(
    database: Database, house: House, lived: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_better_mapping(monkeypatch)
    replay = await records_replay(house, Archived(race_id=RACE))
    found = await drive(house, replay, steps=300)
    assert found["failed"] == 0
    names = await database.fetch(
        "SELECT DISTINCT first_name FROM participants WHERE race_id = $1 AND content_hash <> ''", RACE
    )
    assert [row["first_name"] for row in names] == ["ADA"]
    assert await database.fetchval("SELECT first_name FROM participants WHERE race_id = '502'") == "Ada"
    assert await written(database, replay) == {"updated": 20}


async def test_a_dry_run_counts_each_person_once_and_changes_nothing(
    database: Database, house: House, lived: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_better_mapping(monkeypatch)
    before = [await rows(database, each) for each in (PERSON, "SELECT to_jsonb(r) FROM sync_runs r ORDER BY 1")]
    replay = await records_replay(house, dry_run=True)
    found = await drive(house, replay)
    assert (found["failed"], found["again"]) == (0, 0)
    assert await written(database, replay) == {"updated": 21}
    after = [await rows(database, each) for each in (PERSON, "SELECT to_jsonb(r) FROM sync_runs r ORDER BY 1")]
    assert after == before


async def test_batches_that_the_archive_has_let_go_of_are_told(database: Database, house: House, lived: Tenant) -> None:
    replay = await records_replay(house, Archived(race_id="502"))
    await database.execute("DELETE FROM raw_batches WHERE race_id = '502'")
    await drive(house, replay)
    assert await items(database, replay) == [("failed", "the archive does not hold this batch any more")]
    assert await database.fetchval("SELECT state FROM sync_runs WHERE kind = 'replay'") == State.FAILED


async def test_only_what_was_chosen_is_replayed(database: Database, house: House, lived: Tenant) -> None:
    run_id = await database.fetchval("SELECT run_id FROM raw_batches WHERE race_id = '502'")

    async def frozen(chosen: Archived) -> int:
        replay = await records_replay(house, chosen, dry_run=True)
        return int(await database.fetchval("SELECT count(*) FROM replay_items WHERE replay_id = $1", replay))

    assert await frozen(Archived()) == await database.fetchval("SELECT count(*) FROM raw_batches") == 12
    assert await frozen(Archived(run_ids=(run_id,))) == 1
    assert await frozen(Archived(race_id=RACE)) == 8
    assert await frozen(Archived(after=at(-100))) == 2
    assert await frozen(Archived(partner_id=lived.timing_partner_id + 1)) == 0


async def test_an_event_of_the_feed_says_how_somebody_left(database: Database, house: House, lived: Tenant) -> None:
    await database.execute("UPDATE change_batches SET feed_first = batch_id * 100")
    found = await database.fetch(
        "SELECT registration_id, event FROM change_feed WHERE event NOT IN ('added', 'updated')"
    )
    assert {tuple(row.values()) for row in found} == {
        ("7002", "transferred"),
        ("7004", "deferred"),
        ("7004", "restored"),
        ("7005", "absent"),
        ("7006", "cleared"),
        ("7007", "removed"),
    }
