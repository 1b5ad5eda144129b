"""The relay: nobody waits for a queue that does not answer, numbering for none, and a lost lock ends all of it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from shared.bus.port import Message
from shared.contracts import Diff
from shared.domain.run import Kind, Mode, Reason, State
from shared.errors import Later, Never, Stop
from shared.postgres import Database
from shared.postgres.outbox import RELAY_LOCK, tell
from shared.runtime import House
from shared.runtime.relay import PORTION, REST_SECONDS, Publisher, relay
from tests import fakes
from tests.builders import EVENT, NOON, PROVIDER, RACE
from writer.store import Place, RunRow
from writer.telling import tell_changes

DEAD, ALIVE = "sync.request.v1.runsignup.near", "sync.request.v1.runsignup.raceday"


class PartlyDeadBus(fakes.RecordingBus):
    """Some routing keys are not answered: publishing raises, or never returns."""

    def __init__(self, house: House) -> None:
        assert isinstance(house.clock, fakes.ManualClock)
        super().__init__(house.clock)
        self.failing: dict[str, Exception] = {}  # routing key or message id
        self.hanging: set[str] = set()
        self.tried: list[str] = []
        self.cut_short = asyncio.Event()

    async def publish(self, messages: Sequence[Message]) -> None:
        for each in messages:
            self.tried.append(each.id)
            if each.routing_key in self.hanging:
                try:
                    await asyncio.Event().wait()
                finally:
                    self.cut_short.set()
            error = self.failing.get(each.routing_key) or self.failing.get(each.id)
            if error is not None:
                raise error
        await super().publish(messages)

    def ids(self, key: str) -> list[str]:
        return [each.id for each in self.messages if each.routing_key == key]


@pytest.fixture
def bus(house: House) -> PartlyDeadBus:
    bus = PartlyDeadBus(house)
    house.bus = bus
    return bus


async def in_outbox(database: Database, key: str, number: int) -> list[str]:
    """Messages of one routing key; their ids."""
    ids = [str(uuid4()) for _ in range(number)]
    async with database.transaction() as connection:
        for each in ids:
            await tell(connection, Message(each, "sync.request.v1", key, b"{}"), now=NOON)
    return ids


async def a_diff(house: House) -> None:
    run = RunRow(uuid4(), Kind.RACE, Mode.FULL, Reason.SCHEDULE, State.RUNNING, (EVENT,), None)
    diffs: list[Diff] = [{"registration_id": "1", "event_id": EVENT, "kind": "added", "fields": {}}]
    async with house.database.transaction() as connection:
        await tell_changes(connection, run, Place(PROVIDER.provider_id, 1, RACE), diffs, house=house, now=NOON)


@asynccontextmanager
async def relaying(house: House) -> AsyncIterator[None]:
    task = asyncio.create_task(relay(house))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(true: Callable[[], bool | Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while True:
            found = true()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.005)


async def forgotten(database: Database, *, but: int = 0) -> bool:
    """Whether the outbox holds no more rows than that."""
    left: int = await database.fetchval("SELECT count(*) FROM outbox")
    return left == but


async def test_numbering_does_not_wait_for_a_broker_that_does_not_answer(
    database: Database, house: House, bus: PartlyDeadBus
) -> None:
    bus.hanging = {DEAD, "participants.changed.v1"}
    await in_outbox(database, DEAD, 1)

    async def is_numbered() -> bool:
        return not await database.fetchval("SELECT count(*) FROM change_batches WHERE feed_first IS NULL")

    async with relaying(house):
        await until(lambda: bool(bus.tried))
        for _ in range(2):
            await a_diff(house)
            await until(is_numbered)
    assert bus.messages == []


@pytest.mark.parametrize("manner", ["hanging", "failing"])
async def test_a_backlog_for_one_dead_queue_holds_up_nobody_else(
    database: Database, house: House, bus: PartlyDeadBus, manner: str
) -> None:
    if manner == "hanging":
        bus.hanging.add(DEAD)
    else:
        bus.failing[DEAD] = Later("not confirmed")
    await in_outbox(database, DEAD, PORTION * 2 + 1)
    alive = await in_outbox(database, ALIVE, PORTION + 1)
    async with relaying(house):
        await until(lambda: len(bus.ids(ALIVE)) == len(alive))
        behind = await in_outbox(database, ALIVE, 1)
        await until(lambda: forgotten(database, but=PORTION * 2 + 1))
    assert bus.ids(ALIVE) == alive + behind


async def test_a_queue_that_did_not_answer_rests_is_tried_with_one_message_and_gets_all_in_order(
    database: Database, house: House, bus: PartlyDeadBus, clock: fakes.ManualClock
) -> None:
    bus.failing[DEAD] = Later("not confirmed")
    ids = await in_outbox(database, DEAD, 5)
    publisher = Publisher(house, asyncio.Event())

    async def round_() -> list[str]:
        bus.tried.clear()
        await publisher.start()
        await publisher.finish()
        return bus.tried

    await round_()
    assert await round_() == []  # it rests
    clock.pass_(REST_SECONDS)
    assert await round_() == ids[:1]
    clock.pass_(REST_SECONDS)
    bus.failing.clear()
    await round_()
    assert bus.ids(DEAD) == ids
    assert await database.fetchval("SELECT count(*) FROM outbox") == 0


async def test_what_stands_behind_a_message_that_has_to_wait_waits_too(
    database: Database, house: House, bus: PartlyDeadBus, clock: fakes.ManualClock
) -> None:
    ids = await in_outbox(database, ALIVE, 4)
    bus.failing[ids[2]] = Later("not confirmed")
    publisher = Publisher(house, asyncio.Event())
    await publisher.start()
    await publisher.finish()
    assert bus.ids(ALIVE) == ids[:2]
    bus.failing.clear()
    clock.pass_(REST_SECONDS)
    await publisher.start()
    await publisher.finish()
    assert bus.ids(ALIVE) == ids


async def test_a_message_that_can_never_be_sent_is_dropped_alone(
    database: Database, house: House, bus: PartlyDeadBus
) -> None:
    ids = await in_outbox(database, ALIVE, 3)
    bus.failing[ids[1]] = Never("too large")
    async with relaying(house):
        await until(lambda: forgotten(database))
    assert bus.ids(ALIVE) == [ids[0], ids[2]]


async def test_what_a_person_has_to_mend_ends_the_relay(database: Database, house: House, bus: PartlyDeadBus) -> None:
    bus.failing[ALIVE] = Stop("the broker refused us")
    await in_outbox(database, ALIVE, 1)
    with pytest.raises(Stop):
        async with asyncio.timeout(10):
            await relay(house)


class StandingClock(fakes.ManualClock):
    """Whoever sleeps on it sleeps on."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()


async def test_losing_the_connection_with_the_lock_ends_numbering_and_publishing_at_once(
    database: Database, other_database: Database
) -> None:
    house = fakes.a_house(database, StandingClock())
    bus = PartlyDeadBus(house)
    house.bus = bus
    bus.hanging.add(DEAD)
    await in_outbox(database, DEAD, 1)
    async with relaying(house):
        await until(lambda: bool(bus.tried))
        await database.execute(
            "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
            " WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.objid = $1",
            RELAY_LOCK,
        )
        async with asyncio.timeout(10):
            await bus.cut_short.wait()
        other = fakes.a_house(other_database)
        async with relaying(other):
            assert isinstance(other.bus, fakes.RecordingBus)
            heir = other.bus
            await until(lambda: len(heir.messages) == 1)


async def test_a_relay_whose_database_is_away_is_alive(database_url: str) -> None:
    async with fakes.a_database(database_url) as away:
        house = fakes.a_house(away)
    beats: Counter[str] = Counter()
    house.beat = lambda loop: beats.update([loop])
    async with relaying(house):
        await until(lambda: min(beats["relay"], beats["publisher"]) > 2)


async def test_a_relay_that_stands_by_is_alive(database: Database, other_database: Database) -> None:
    house = fakes.a_house(database)
    beats: Counter[str] = Counter()
    house.beat = lambda loop: beats.update([loop])
    async with other_database.connection() as holder:
        await holder.execute("SELECT pg_advisory_lock($1)", RELAY_LOCK)
        async with relaying(house):
            await until(lambda: min(beats["relay"], beats["publisher"]) > 2)


async def test_a_relay_that_was_stopped_while_it_published_publishes_again_after_a_restart(
    database: Database, house: House, bus: PartlyDeadBus
) -> None:
    ids = await in_outbox(database, DEAD, 2)
    bus.hanging.add(DEAD)
    async with relaying(house):
        await until(lambda: bool(bus.tried))
    bus.hanging.clear()
    async with relaying(house):
        await until(lambda: forgotten(database))
    assert bus.ids(DEAD) == ids
