"""A loss that was not believed waits for a person, and is believed or not with one command."""

import pytest

from shared.domain.replay import What
from shared.postgres import Database
from shared.runtime import House
from tests import fakes
from tests.builders import Tenant, a_batch, a_participant_record, a_partner, a_race, a_run, an_end, at
from tests.integration.replay.driving import drive, items, stuck_replay

CROWD = range(7001, 7041)


@pytest.fixture
async def tenant(database: Database, house: House) -> Tenant:
    """A race of forty people, of whom a full pass at noon showed ten."""
    tenant = await a_partner(database)
    await a_race(database, tenant)
    first = await a_run(database, tenant)
    everybody = [a_participant_record(each, bib=str(each), modified=-3600) for each in CROWD]
    end = an_end(tenant, first, first_call_at=at(-600))
    await fakes.write(house, a_batch(tenant, first, everybody, fetched_at=at(-600)), end)
    second = await a_run(database, tenant)
    await fakes.write(house, a_batch(tenant, second, everybody[:10]), an_end(tenant, second))
    return tenant


async def active(database: Database) -> set[int]:
    rows = await database.fetch("SELECT registration_id FROM participants WHERE removed_at IS NULL")
    return {int(row["registration_id"]) for row in rows}


async def test_an_approved_removal_removes_whom_the_pass_lacked(
    database: Database, house: House, tenant: Tenant
) -> None:
    assert len(await active(database)) == 40
    found = await drive(house, await stuck_replay(house, What.REMOVALS))
    assert found["done"] == 1
    assert await active(database) == set(CROWD[:10])
    rows = await database.fetch(
        "SELECT DISTINCT removed_reason, presence_at FROM participants WHERE removed_at IS NOT NULL"
    )
    assert [tuple(row.values()) for row in rows] == [("absent", at(0))]
    assert await database.fetchval("SELECT resolution FROM held_removals") == "approved: 30 removed"
    assert await database.fetchval("SELECT count(*) FROM changes WHERE kind = 'removed' AND touches_bib") == 30
    assert await database.fetchval("SELECT removed FROM sync_runs WHERE kind = 'replay'") == 30


async def test_whoever_was_seen_since_the_pass_stays(database: Database, house: House, tenant: Tenant) -> None:
    late = await a_run(database, tenant)
    await fakes.write(
        house, a_batch(tenant, late, [a_participant_record(7030, bib="new", modified=30)], fetched_at=at(60))
    )
    await drive(house, await stuck_replay(house, What.REMOVALS))
    assert await active(database) == {*CROWD[:10], 7030}


async def test_what_a_later_pass_settled_is_not_approved(database: Database, house: House, tenant: Tenant) -> None:
    replay = await stuck_replay(house, What.REMOVALS)
    everybody = [a_participant_record(each, bib=str(each), modified=-3600) for each in CROWD]
    again = await a_run(database, tenant)
    await fakes.write(
        house,
        a_batch(tenant, again, everybody, fetched_at=at(60)),
        an_end(tenant, again, first_call_at=at(60), first_answer_at=at(60)),
    )
    await drive(house, replay)
    assert len(await active(database)) == 40
    assert await items(database, replay) == [("skipped", "it was settled meanwhile")]
