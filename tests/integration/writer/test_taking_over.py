"""A rotated key that has listed its races takes the place of the old one, and never leaves a race without a key."""

import pytest

from shared.domain.run import Kind, Reason, State
from shared.postgres import Database
from shared.postgres.asks import ask
from shared.runtime import House
from tests import fakes
from tests.builders import NOON, Tenant, a_partner, a_race, a_race_record, a_races_batch, an_ask, an_end


@pytest.fixture
async def tenant(database: Database) -> Tenant:
    """A partner whose key opens two races, and one of last year."""
    tenant = await a_partner(database)
    for race_id in ("501", "502", "503"):
        await a_race(database, tenant, race_id, events=(f"{race_id}0",))
    await database.execute("UPDATE race_sync SET state = 'over' WHERE race_id = '503'")
    return tenant


async def rotated(database: Database, old: Tenant) -> Tenant:
    new = await a_partner(database)
    await database.execute("UPDATE partner_provider_credentials SET timing_partner_id = $1", old.timing_partner_id)
    await database.execute(
        "UPDATE credentials SET replaces = $1 WHERE credential_id = $2", old.credential_id, new.credential_id
    )
    return Tenant(old.timing_partner_id, new.credential_id, new.fingerprint)


async def discover(database: Database, house: House, tenant: Tenant, *races: int) -> None:
    async with database.transaction() as connection:
        run_id = await ask(connection, an_ask(tenant, None, kind=Kind.DISCOVER, reason=Reason.FIRST), NOON)
    assert run_id is not None
    await database.execute("UPDATE sync_runs SET state = $1, attempt = 1", State.RUNNING)
    records = [a_race_record(race, event_ids=(race * 10,)) for race in races]
    await fakes.write(house, a_races_batch(tenant, run_id, records), an_end(tenant, run_id))


async def keys_of_races(database: Database) -> list[int]:
    rows = await database.fetch("SELECT credential_id FROM race_sync ORDER BY race_id")
    return [row["credential_id"] for row in rows]


async def test_a_key_that_opens_every_race_replaces_the_old_one(
    database: Database, house: House, tenant: Tenant
) -> None:
    new = await rotated(database, tenant)
    await discover(database, house, new, 501, 502)
    assert await keys_of_races(database) == [new.credential_id] * 3
    old = "SELECT state, state_reason FROM credentials WHERE credential_id = $1"
    row = await database.fetchrow(old, tenant.credential_id)
    assert tuple(row or ()) == ("disabled", f"replaced by credential {new.credential_id}")


async def test_a_key_that_opens_fewer_races_leaves_the_old_one_the_rest(
    database: Database, house: House, tenant: Tenant
) -> None:
    new = await rotated(database, tenant)
    await discover(database, house, new, 501)
    assert await keys_of_races(database) == [new.credential_id, tenant.credential_id, tenant.credential_id]
    row = await database.fetchrow(
        "SELECT state, state_reason FROM credentials WHERE credential_id = $1", tenant.credential_id
    )
    assert tuple(row or ()) == ("active", f"credential {new.credential_id} lacks 1 of its races")
