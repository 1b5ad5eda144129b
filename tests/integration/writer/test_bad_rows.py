"""Each kind of bad row that was ever seen, and what is done about it: one bad row costs at most one row.

A row that can be used without its bad field is stored with the field empty and a note; one that cannot goes to
quarantine, raw. In either case its neighbour is stored, the run completes, and the cursor moves.
"""

from typing import Any

import orjson
import pytest

from shared.domain.run import State
from shared.postgres import Database
from shared.runtime import House
from tests import fakes
from tests.builders import Tenant, a_batch, a_participant_record, a_partner, a_race, a_run, an_end


@pytest.fixture
async def tenant(database: Database) -> Tenant:
    """A partner with one race of one event."""
    tenant = await a_partner(database)
    await a_race(database, tenant)
    return tenant


async def written(database: Database, house: House, tenant: Tenant, bad: Any) -> None:
    """A complete full pass of a bad row and a good one, which are both dealt with."""
    run_id = await a_run(database, tenant)
    batch = a_batch(tenant, run_id, [bad, a_participant_record(7999)])
    await fakes.write(house, batch, an_end(tenant, run_id))
    assert await database.fetchval("SELECT state FROM sync_runs") == State.COMPLETED
    assert await database.fetchval("SELECT count(*) FROM participants WHERE registration_id = '7999'") == 1
    assert await database.fetchval("SELECT cursor_at FROM events") is not None


async def kept(database: Database, house: House, tenant: Tenant, bad: Any) -> dict[str, Any]:
    """The row of a record that is usable all the same."""
    await written(database, house, tenant, bad)
    assert await database.fetchval("SELECT count(*) FROM quarantine") == 0
    row = await database.fetchrow("SELECT * FROM participants WHERE registration_id = '7001'")
    assert row is not None
    return dict(row)


async def put_aside(database: Database, house: House, tenant: Tenant, bad: Any) -> tuple[str | None, str]:
    """Registration and reason of a record that is not, kept raw."""
    await written(database, house, tenant, bad)
    row = await database.fetchrow("SELECT registration_id, reason, raw FROM quarantine")
    assert row is not None
    assert orjson.loads(row["raw"]) == bad
    assert await database.fetchval("SELECT count(*) FROM participants") == 1
    assert await database.fetchval("SELECT quarantined FROM sync_runs") == 1
    return row["registration_id"], row["reason"]


def a_record_of(**user: Any) -> dict[str, Any]:
    record = a_participant_record(7001, bib="5")
    return {**record, "user": {**record["user"], **user}}


async def test_a_date_that_does_not_exist_is_left_empty_and_noted(
    database: Database, house: House, tenant: Tenant
) -> None:
    row = await kept(database, house, tenant, a_record_of(dob="1986-02-30"))
    assert (row["dob"], row["notes"], row["bib"]) == (None, "dob: not a date", "5")


async def test_u0000_is_taken_out_and_noted(database: Database, house: House, tenant: Tenant) -> None:
    row = await kept(database, house, tenant, a_record_of(first_name="A\0da"))
    assert (row["first_name"], row["notes"]) == ("Ada", "first_name: U+0000 removed")


async def test_an_unknown_gender_is_left_empty_and_noted(database: Database, house: House, tenant: Tenant) -> None:
    row = await kept(database, house, tenant, a_record_of(gender="yes"))
    assert (row["gender"], row["notes"]) == (None, "gender: unknown word")


async def test_a_number_where_the_person_belongs_leaves_the_person_empty_and_is_noted(
    database: Database, house: House, tenant: Tenant
) -> None:
    row = await kept(database, house, tenant, {**a_participant_record(7001, bib="5"), "user": 5})
    assert (row["first_name"], row["bib"], row["notes"]) == (None, "5", "user: not an object")


async def test_text_of_a_million_characters_is_simply_stored(database: Database, house: House, tenant: Tenant) -> None:
    row = await kept(database, house, tenant, a_record_of(phone="5" * 1_000_000))
    assert (len(row["phone"]), row["notes"]) == (1_000_000, None)


async def test_an_id_that_is_not_a_number_goes_aside(database: Database, house: House, tenant: Tenant) -> None:
    found = await put_aside(database, house, tenant, a_participant_record("seven"))
    assert found == (None, "id_not_a_number")


async def test_a_number_where_a_record_belongs_goes_aside(database: Database, house: House, tenant: Tenant) -> None:
    assert await put_aside(database, house, tenant, 7001) == (None, "not_an_object")


async def test_an_event_of_another_race_goes_aside(database: Database, house: House, tenant: Tenant) -> None:
    await a_race(database, tenant, "502", events=("90021",))
    await database.execute("UPDATE events SET cursor_at = first_seen_at WHERE event_id = '90021'")
    found = await put_aside(database, house, tenant, a_participant_record(7001, event_id=90021))
    assert found == ("7001", "foreign_event")


async def test_an_event_id_that_is_not_a_number_goes_aside_by_name(
    database: Database, house: House, tenant: Tenant
) -> None:
    found = await put_aside(database, house, tenant, a_participant_record(7001, event_id="ten"))
    assert found == ("7001", "event_id_not_a_number")
