"""A race that leaves its key's list is kept, marked and not asked for; what cannot be believed changes nothing."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from shared.domain.run import Kind, State
from shared.postgres import Database
from shared.runtime import House
from tests import fakes
from tests.builders import (
    Tenant,
    a_batch,
    a_participant_record,
    a_partner,
    a_race,
    a_race_record,
    a_races_batch,
    a_run,
    an_end,
    at,
)

RACES = tuple(str(number) for number in range(501, 509))


@pytest.fixture
async def tenant(database: Database) -> Tenant:
    """A partner with eight races."""
    tenant = await a_partner(database)
    for race_id in RACES:
        await a_race(database, tenant, race_id, events=(f"9{race_id}",))
    return tenant


async def listed(
    database: Database, house: House, tenant: Tenant, races: Sequence[Any], *, seconds: float = 60
) -> UUID:
    """A complete discovery that showed these races."""
    run_id = await a_run(database, tenant)
    await database.execute("UPDATE sync_runs SET kind = $2, race_id = NULL WHERE run_id = $1", run_id, Kind.DISCOVER)
    records = [
        a_race_record(int(each), event_ids=(int(f"9{each}"),)) if isinstance(each, str) else each for each in races
    ]
    await fakes.write(
        house,
        a_races_batch(tenant, run_id, records, fetched_at=at(seconds)),
        an_end(tenant, run_id, first_call_at=at(seconds), first_answer_at=at(seconds)),
    )
    assert await database.fetchval("SELECT state FROM sync_runs WHERE run_id = $1", run_id) == State.COMPLETED
    return run_id


async def missing(database: Database) -> set[str]:
    rows = await database.fetch("SELECT race_id FROM race_sync WHERE state = 'missing'")
    marked = await database.fetch("SELECT race_id FROM races WHERE missing_at IS NOT NULL")
    assert rows == marked
    return {row["race_id"] for row in rows}


async def test_a_race_that_left_the_list_is_kept_with_its_people_and_marked(
    database: Database, house: House, tenant: Tenant
) -> None:
    run_id = await a_run(database, tenant, "501", events=("9501",), state=State.COMPLETED)
    await fakes.write(house, a_batch(tenant, run_id, [a_participant_record(7001, event_id=9501)], race_id="501"))
    await listed(database, house, tenant, RACES[1:])
    assert await missing(database) == {"501"}
    assert await database.fetchval("SELECT count(*) FROM participants WHERE removed_at IS NULL") == 1


async def test_a_race_that_is_on_the_list_again_is_looked_at_at_once(
    database: Database, house: House, tenant: Tenant
) -> None:
    await listed(database, house, tenant, RACES[1:])
    await database.execute("UPDATE race_sync SET next_due_at = $1", at(7200))
    await listed(database, house, tenant, RACES, seconds=120)
    assert await missing(database) == set()
    due = await database.fetchrow("SELECT state, next_due_at FROM race_sync WHERE race_id = '501'")
    assert due is not None
    assert tuple(due.values()) == ("active", at(0))


@pytest.mark.parametrize(
    ("races", "why"),
    [((), "an empty list"), (RACES[:3], "most of the list"), ((*RACES[1:], "a word"), "a record nobody can name")],
    ids=("empty", "most", "unreadable"),
)
async def test_no_race_is_given_up_by_a_list_that_cannot_be_believed(
    database: Database, house: House, tenant: Tenant, races: tuple[Any, ...], why: str
) -> None:
    run = await listed(database, house, tenant, [7 if each == "a word" else each for each in races])
    assert await missing(database) == set(), why
    assert await database.fetchval("SELECT state FROM sync_runs WHERE run_id = $1", run) == State.COMPLETED
