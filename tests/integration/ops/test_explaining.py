"""One runner's story, from the request to what was published, found by registration or by bib; it names nobody."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.contracts import decode
from shared.domain.run import Mode, Reason
from shared.postgres import Database
from shared.postgres.outbox import number_changes
from shared.runtime import House
from tests import fakes
from tests.builders import RACE, Tenant, a_batch, a_participant_record, a_partner, a_race, a_run, an_end
from tests.integration.ops.command import Hub


@pytest.fixture
async def house(database_url: str) -> AsyncIterator[House]:
    async with fakes.a_database(database_url) as database:
        yield fakes.a_house(database)


async def synced(house: House, tenant: Tenant, **person: Any) -> str:
    """A run that brought this state of somebody, whole."""
    run_id = await a_run(house.database, tenant, mode=Mode.INCREMENTAL, reason=Reason.SCHEDULE)
    await fakes.write(house, a_batch(tenant, run_id, [a_participant_record(7001, **person)]), an_end(tenant, run_id))
    return str(run_id)


async def test_a_runners_story_goes_from_the_request_to_what_was_published(
    hub: Hub, database: Database, house: House
) -> None:
    tenant = await a_partner(database)
    await a_race(database, tenant)
    first = await synced(house, tenant)
    second = await synced(house, tenant, bib="101", modified=60)
    async with database.connection() as connection:
        await number_changes(connection)
    messages = {
        str(decode(row["body"])[0].id): row["message_id"]
        for row in await database.fetch("SELECT * FROM outbox WHERE type = 'participants.changed.v1'")
    }

    (story,) = (await hub("explain", "--registration", "7001", "--json")).document["stories"]
    steps = story["steps"]
    way = ["asked", "fetched", "written", "changed", "waits"]
    assert [each["verb"] for each in steps if each["run_id"] == first] == way
    assert "bib" in next(each["what"] for each in steps if each["verb"] == "changed" and each["run_id"] == second)
    assert {each["message_id"] for each in steps if each["verb"] == "waits"} == set(messages)

    await database.execute("DELETE FROM outbox")  # as the relay does once the broker has confirmed
    told = await hub("explain", "--race", RACE, "--bib", "101")
    assert told.code == 0
    assert "published" in told.out
    assert first in told.out
    assert "Lindqvist" not in told.out


async def test_a_races_story_says_how_it_stands_and_what_became_of_its_runs(
    hub: Hub, database: Database, house: House
) -> None:
    tenant = await a_partner(database)
    await a_race(database, tenant)
    run_id = await synced(house, tenant)
    told = await hub("explain", "--race", RACE)
    assert told.out.startswith(f"Race {RACE} of partner")
    assert run_id in told.out
    assert "1 added" in told.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--registration", "9"), "registration 9 is not known"),
        ((), "--registration ID"),
        (("--bib", "1"), "--race ID"),
    ],
)
async def test_what_cannot_be_explained_is_wrong_usage(
    hub: Hub, database: Database, words: tuple[str, ...], said: str
) -> None:
    await a_partner(database)
    result = await hub("explain", *words)
    assert result.code == 2
    assert said in result.sentence
