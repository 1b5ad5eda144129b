"""What a backfill brings is written like anything else, and says nothing of a race's present."""

import pytest

from shared.contracts import Failure
from shared.domain.run import Kind, Mode, Reason, State, SyncClass
from shared.postgres import Database
from shared.postgres.asks import ask
from shared.runtime import House
from tests import fakes
from tests.builders import (
    NOON,
    RACE,
    Tenant,
    a_batch,
    a_participant_record,
    a_partner,
    a_race,
    a_race_record,
    a_races_batch,
    a_run,
    an_ask,
    an_end,
    at,
)


@pytest.fixture
async def tenant(database: Database) -> Tenant:
    tenant = await a_partner(database)
    await a_race(database, tenant, starts_at=at(-365 * 86400))
    return tenant


async def schedule(database: Database) -> dict[str, object]:
    row = await database.fetchrow("SELECT state, last_confirmed_at, last_full_at, history_at FROM race_sync")
    assert row is not None
    return dict(row)


async def test_a_past_event_is_loaded_once_and_the_race_is_not_confirmed_by_it(
    database: Database, house: House, tenant: Tenant
) -> None:
    run_id = await a_run(database, tenant, reason=Reason.BACKFILL, sync_class=SyncClass.BACKFILL)
    await fakes.write(house, a_batch(tenant, run_id, [a_participant_record()]), an_end(tenant, run_id))
    assert await database.fetchval("SELECT state FROM sync_runs") == State.COMPLETED
    assert await database.fetchval("SELECT cursor_at IS NOT NULL FROM events")
    assert (await schedule(database))["last_full_at"] is None


async def test_a_past_that_is_refused_does_not_stop_the_present(
    database: Database, house: House, tenant: Tenant
) -> None:
    run_id = await a_run(database, tenant, reason=Reason.BACKFILL, sync_class=SyncClass.BACKFILL)
    failure = Failure(code="error_301", consequence="race", message="Event not found")
    before = await database.fetchval("SELECT discover_due_at FROM credentials")
    await fakes.write(house, an_end(tenant, run_id, (), failure=failure))
    assert await database.fetchval("SELECT state FROM sync_runs") == State.FAILED
    assert (await schedule(database))["state"] == "active"
    assert await database.fetchval("SELECT discover_due_at FROM credentials") == before


async def test_every_event_that_a_race_ever_had_is_listed_and_remembered(
    database: Database, house: House, tenant: Tenant
) -> None:
    wish = an_ask(tenant, kind=Kind.HISTORY, reason=Reason.BACKFILL, sync_class=SyncClass.BACKFILL, mode=Mode.FULL)
    async with database.transaction() as connection:
        run_id = await ask(connection, wish, NOON)
    assert run_id is not None
    await database.execute("UPDATE sync_runs SET state = $1, attempt = 1", State.RUNNING)
    record = a_race_record(int(RACE), event_ids=(1, 2, 3), start="5/22/2019 08:00")
    await fakes.write(house, a_races_batch(tenant, run_id, [record]), an_end(tenant, run_id))
    assert await database.fetchval("SELECT count(*) FROM events WHERE missing_at IS NULL") == 4
    assert (await schedule(database))["history_at"] == NOON
