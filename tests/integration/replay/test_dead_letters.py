"""Messages that died are kept, sent again one first, and closed by what they bring about."""

import pytest

from scheduler.replaying import step
from shared.bus.port import Death, Delivery, Message
from shared.contracts import Body, SyncRequest, encode
from shared.domain.replay import What
from shared.domain.run import Kind, State
from shared.postgres import Database
from shared.postgres.replays import Selection, cancel
from shared.runtime import House
from tests.builders import (
    NOON,
    PROVIDER,
    RACE,
    Tenant,
    a_batch,
    a_participant_record,
    a_partner,
    a_race,
    a_run,
    an_end,
    at,
)
from tests.fakes import ManualClock
from tests.integration.replay.driving import deliver, drive, items, stuck_replay
from writer.dead_letters import on_dead_letter


@pytest.fixture
async def tenant(database: Database) -> Tenant:
    """A partner with one race of one event."""
    tenant = await a_partner(database)
    await a_race(database, tenant)
    return tenant


async def bury(house: House, body: Body | bytes, *, reason: str = "unusable", queue: str = "write.routine") -> None:
    """Let a message die."""
    if isinstance(body, bytes):
        message = Message(str(house.new_id()), "of.nobody.v1", "of.nobody.v1", body)
    else:
        run = getattr(body, "run_id", None)
        message = encode(body, id=house.new_id(), occurred_at=NOON, source="test", correlation_id=run)
    death = Death(reason, queue, 3, NOON, house.clock.now())
    await on_dead_letter(Delivery(message, "dead", 1, NOON, death=death), house=house)


async def resolutions(database: Database) -> list[str | None]:
    rows = await database.fetch("SELECT resolution FROM dead_letters ORDER BY item_id")
    return [row["resolution"] for row in rows]


async def test_a_batch_that_is_applied_by_now_closes_its_letter(
    database: Database, house: House, tenant: Tenant
) -> None:
    run_id = await a_run(database, tenant, state=State.EXPIRED)
    await bury(house, a_batch(tenant, run_id, [a_participant_record(7001)]))
    found = await drive(house, await stuck_replay(house, What.DEAD_LETTERS))
    assert (found["state"], found["done"]) == ("done", 1)
    assert await resolutions(database) == ["replayed"]
    assert await database.fetchval("SELECT count(*) FROM participants") == 1


async def test_of_a_cause_that_is_not_removed_one_letter_is_tried_and_the_rest_is_left(
    database: Database, house: House, tenant: Tenant
) -> None:
    run_id = await a_run(database, tenant, "999", state=State.EXPIRED)
    for sequence in range(1, 6):
        await bury(
            house,
            a_batch(tenant, run_id, [a_participant_record(7001)], race_id="999", sequence=sequence),
            reason="unknown_race",
        )
    replay = await stuck_replay(house, What.DEAD_LETTERS)
    found = await drive(house, replay)
    assert (found["state"], found["failed"], found["skipped"]) == ("stopped", 1, 4)
    assert (await items(database, replay))[0] == ("failed", "it died again: unknown_race")
    # What died again is one letter, not two; the newest stands for it.
    assert await resolutions(database) == ["replayed: died again", None, None, None, None, None]
    causes = await database.fetch("SELECT DISTINCT fingerprint FROM stuck")
    assert len(causes) == 2  # in which queue it died belongs to its cause


async def test_letters_follow_their_canary_at_the_rate(
    database: Database, house: House, clock: ManualClock, tenant: Tenant
) -> None:
    run_id = await a_run(database, tenant, state=State.EXPIRED)
    for sequence in range(1, 8):
        await bury(house, a_batch(tenant, run_id, [a_participant_record(7000 + sequence)], sequence=sequence))
    replay = await stuck_replay(house, What.DEAD_LETTERS, rate=2.0)
    sent = []
    for _ in range(6):
        clock.pass_(1)
        await step(house)
        sent.append(len(await deliver(house)))
    assert sent == [1, 2, 2, 2, 0, 0]
    assert (await drive(house, replay))["done"] == 7


async def test_a_cancelled_replay_sends_nothing_more_and_leaves_the_rest(
    database: Database, house: House, clock: ManualClock, tenant: Tenant
) -> None:
    run_id = await a_run(database, tenant, state=State.EXPIRED)
    for sequence in range(1, 5):
        await bury(house, a_batch(tenant, run_id, [a_participant_record(7000 + sequence)], sequence=sequence))
    replay = await stuck_replay(house, What.DEAD_LETTERS)
    clock.pass_(1)
    await step(house)
    async with database.transaction() as connection:
        assert await cancel(connection, replay)
    found = await drive(house, replay)
    assert (found["state"], found["done"], found["skipped"]) == ("cancelled", 1, 3)
    assert await resolutions(database) == ["replayed", None, None, None]


async def test_a_request_whose_run_has_ended_is_asked_anew_and_closed_by_that_run(
    database: Database, house: House, clock: ManualClock, tenant: Tenant
) -> None:
    run_id = await a_run(database, tenant, state=State.EXPIRED)
    request = SyncRequest(
        run_id=run_id,
        kind=Kind.RACE,
        provider=PROVIDER.name,
        timing_partner_id=tenant.timing_partner_id,
        credential_id=tenant.credential_id,
        race_id=RACE,
    )
    await bury(house, request, queue="fetch.runsignup.routine")
    replay = await stuck_replay(house, What.DEAD_LETTERS, Selection(type="sync.request"))
    clock.pass_(1)
    await step(house)
    asked = await database.fetchrow("SELECT run_id, reason FROM sync_runs WHERE state = 'requested'")
    assert asked is not None
    assert asked["run_id"] != run_id
    await database.execute("UPDATE sync_runs SET state = 'completed' WHERE run_id = $1", asked["run_id"])
    assert (await drive(house, replay))["done"] == 1
    assert await resolutions(database) == ["replayed"]


async def test_a_request_that_fails_again_keeps_its_letter_open_and_says_why(
    database: Database, house: House, clock: ManualClock, tenant: Tenant
) -> None:
    request = SyncRequest(
        run_id=house.new_id(),
        kind=Kind.RACE,
        provider=PROVIDER.name,
        timing_partner_id=tenant.timing_partner_id,
        credential_id=tenant.credential_id,
        race_id=RACE,
    )
    await bury(house, request)
    replay = await stuck_replay(house, What.DEAD_LETTERS)
    clock.pass_(1)
    await step(house)
    await database.execute("UPDATE sync_runs SET state = 'failed', error = 'the key may not'")
    await drive(house, replay)
    assert await items(database, replay) == [("failed", "the key may not")]
    assert await resolutions(database) == [None]


async def test_an_end_of_a_run_that_came_too_late_is_taken_note_of(
    database: Database, house: House, tenant: Tenant
) -> None:
    run_id = await a_run(database, tenant)
    await bury(house, an_end(tenant, run_id, ((1, 1, 2),)))
    assert (await drive(house, await stuck_replay(house, What.DEAD_LETTERS)))["done"] == 1
    assert await database.fetchval("SELECT state FROM sync_runs WHERE run_id = $1", run_id) == State.FETCHED


async def test_what_is_no_message_of_ours_cannot_be_replayed_and_says_so(
    database: Database, house: House, tenant: Tenant
) -> None:
    await bury(house, b"not JSON", reason="undecodable")
    replay = await stuck_replay(house, What.DEAD_LETTERS)
    await drive(house, replay)
    assert await items(database, replay) == [("failed", "the message is not JSON")]
    assert await resolutions(database) == [None]


async def test_an_item_whose_message_is_lost_is_sent_again(
    database: Database, house: House, clock: ManualClock, tenant: Tenant
) -> None:
    run_id = await a_run(database, tenant, state=State.EXPIRED)
    await bury(house, a_batch(tenant, run_id, [a_participant_record(7001)]))
    replay = await stuck_replay(house, What.DEAD_LETTERS)
    clock.pass_(1)
    await step(house)
    await database.execute("DELETE FROM outbox")  # the broker had it, and lost it
    clock.pass_(60)
    await step(house)
    assert await deliver(house) == []
    clock.at = at(700)
    assert (await drive(house, replay))["done"] == 1


async def test_a_letter_knows_the_race_of_its_run(database: Database, house: House, tenant: Tenant) -> None:
    run_id = await a_run(database, tenant, state=State.EXPIRED)
    await bury(house, a_batch(tenant, run_id, [a_participant_record(7001)]))
    row = await database.fetchrow("SELECT partner_id, race_id, reason, times FROM stuck")
    assert row is not None
    assert tuple(row.values()) == (tenant.timing_partner_id, RACE, "unusable", 3)
