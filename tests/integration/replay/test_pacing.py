"""Who sends what when: one scheduler paces a replay, a race's items follow one another, and nothing is done twice."""

import asyncio

import pytest

from scheduler.replaying import step
from shared.domain.replay import What
from shared.domain.run import State
from shared.postgres import Database
from shared.runtime import House
from shared.telemetry import metrics
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
    at,
)
from tests.fakes import ManualClock
from tests.integration.replay.driving import deliver, drive, records_replay, stuck_replay


@pytest.fixture
async def tenant(database: Database, house: House) -> Tenant:
    """Two races with three archived batches each, and a list of races between the second and the third."""
    tenant = await a_partner(database)
    for race_id, event in (("501", "90011"), ("502", "90021")):
        await a_race(database, tenant, race_id, events=(event,))
        run_id = await a_run(database, tenant, race_id, state=State.COMPLETED)
        for sequence in (1, 2, 3):
            people = [a_participant_record(int(race_id) * 100 + sequence, event_id=int(event))]
            batch = a_batch(tenant, run_id, people, race_id=race_id, sequence=sequence, fetched_at=at(sequence))
            await fakes.write(house, batch)
    await fakes.write(
        house,
        a_races_batch(
            tenant,
            house.new_id(),
            [a_race_record(501), a_race_record(502, event_ids=(90021,))],
            fetched_at=at(2.5),
        ),
    )
    await database.execute("DELETE FROM outbox")
    return tenant


async def sent(database: Database) -> list[int]:
    rows = await database.fetch("SELECT ordinal FROM replay_items WHERE sent_at IS NOT NULL ORDER BY ordinal")
    return [row["ordinal"] for row in rows]


async def test_a_races_items_follow_one_another_and_a_list_of_races_stands_between(
    database: Database, house: House, clock: ManualClock, tenant: Tenant
) -> None:
    replay = await records_replay(house, rate=100)
    steps = []
    for _ in range(6):
        clock.pass_(1)
        await step(house)
        steps.append(await sent(database))
        await step(house)
        assert await sent(database) == steps[-1]  # what is on its way is waited for
        await deliver(house)
    # The canary; the other race beside its next; the others; the list; then both races again.
    assert steps == [[1], [1, 2, 3], [1, 2, 3, 4], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, 6, 7]]
    assert (await drive(house, replay))["done"] == 7


async def test_two_schedulers_send_an_item_once(
    database: Database, other_database: Database, house: House, clock: ManualClock, tenant: Tenant
) -> None:
    await records_replay(house, rate=100)
    other, requests = fakes.a_house(other_database, clock, seed=2), 0
    for _ in range(5):
        clock.pass_(1)
        await asyncio.gather(step(house), step(other), step(house), step(other))
        requests += len(await deliver(house))
    assert requests == 7


async def test_a_request_that_comes_twice_is_applied_once(
    database: Database, house: House, clock: ManualClock, tenant: Tenant
) -> None:
    await database.execute("UPDATE participants SET first_name = 'Bo', content_hash = 'another'")
    replay = await records_replay(house)
    clock.pass_(1)
    await step(house)
    row = await database.fetchrow("SELECT * FROM outbox")
    assert row is not None
    await deliver(house)
    await database.execute("UPDATE participants SET first_name = 'Bo', content_hash = 'another'")
    again = [row[name] for name in ("message_id", "type", "routing_key", "correlation_id", "body", "created_at")]
    await database.execute(
        "INSERT INTO outbox (message_id, type, routing_key, correlation_id, body, created_at)"
        " VALUES ($1, $2, $3, $4, $5, $6)",
        *again,
    )
    assert await deliver(house) == ["replay.request.v1"]
    assert await database.fetchval("SELECT count(*) FROM participants WHERE first_name = 'Ada'") == 0
    assert (await drive(house, replay))["done"] == 7


async def test_an_item_and_its_effect_are_one_transaction(
    database: Database, house: House, clock: ManualClock, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that dies at the last moment has done nothing; whoever gets the message then does all of it."""
    run_id = await a_run(database, tenant, "501", state=State.COMPLETED)
    await fakes.write(house, a_batch(tenant, run_id, [a_participant_record(7001, event_id=None)], race_id="501"))
    await database.execute(
        "UPDATE quarantine SET raw = convert_to(replace(convert_from(raw, 'UTF8'), 'null,', '90011,'), 'UTF8')"
    )
    replay = await stuck_replay(house, What.QUARANTINE)
    clock.pass_(1)
    await step(house)
    row = await database.fetchrow("SELECT * FROM outbox")
    assert row is not None

    async def dies(*_: object) -> None:
        raise SystemError

    with monkeypatch.context() as patch:
        patch.setattr("writer.replay_items.finish", dies)
        with pytest.raises(SystemError):
            await deliver(house)
    assert await database.fetchval("SELECT count(*) FROM participants WHERE registration_id = '7001'") == 0
    assert await database.fetchval("SELECT count(*) FROM quarantine WHERE resolved_at IS NULL") == 1
    clock.pass_(700)
    assert (await drive(house, replay))["done"] == 1
    assert await database.fetchval("SELECT count(*) FROM participants WHERE registration_id = '7001'") == 1


async def test_what_is_applied_again_is_no_news_for_the_metrics(
    database: Database, house: House, tenant: Tenant
) -> None:
    def counted() -> float:
        found = metrics.rows_written.labels("runsignup", "unchanged")._value.get()
        return float(found)

    before = counted()
    await drive(house, await records_replay(house))
    await drive(house, await records_replay(house, dry_run=True))
    assert counted() == before
