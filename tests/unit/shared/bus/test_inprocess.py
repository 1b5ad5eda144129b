"""What only the in-process bus has: bounded queues, and an answer to "does anything still move?"."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from random import Random

import pytest
import structlog

from shared.bus.inprocess import MOST_DEAD, InProcessBus
from shared.bus.port import Delivery
from shared.bus.topology import DEAD_QUEUE
from shared.errors import Later, Never
from tests.conformance.buses import BACKFILL, NEAR, PROVIDERS, QUICK, JumpingClock, Seen, a_request


async def turns(count: int = 50) -> None:
    """Let everything that can move without the clock move."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> JumpingClock:
    return JumpingClock()


@pytest.fixture
async def bus(clock: JumpingClock) -> AsyncIterator[InProcessBus]:
    bus = InProcessBus(clock, Random(1), QUICK, PROVIDERS, limit_messages=4, limit_bytes=1000)
    yield bus
    await bus.close()


async def test_a_publisher_waits_for_room_and_goes_on_when_there_is_some(bus: InProcessBus) -> None:
    publishing = asyncio.create_task(bus.publish([a_request() for _ in range(10)]))  # noqa: RUF006 - awaited
    await turns()
    assert not publishing.done()
    assert await bus.depth(NEAR) == 4
    seen = Seen()
    await bus.consume([NEAR], seen, concurrency=1)
    await publishing
    await turns()
    assert len(seen) == 10


async def test_a_queue_that_nobody_empties_is_later(bus: InProcessBus, clock: JumpingClock) -> None:
    publishing = asyncio.create_task(bus.publish([a_request() for _ in range(5)]))  # noqa: RUF006 - awaited
    await turns()
    clock.jump()
    with pytest.raises(Later, match="full"):
        await publishing


async def test_bytes_are_bounded_too_but_a_large_message_always_fits_an_empty_queue(bus: InProcessBus) -> None:
    await bus.publish([a_request(body=b"x" * 5000)])
    publishing = asyncio.create_task(bus.publish([a_request()]))
    await turns()
    assert not publishing.done()
    await bus.consume([NEAR], Seen(), concurrency=1)
    await publishing


async def test_handlers_that_wait_for_each_others_queues_are_freed_by_the_clock(
    bus: InProcessBus, clock: JumpingClock
) -> None:
    """A ring that our chain does not have; even then nothing hangs for good."""

    async def flood_backfill(_: Delivery) -> None:
        await bus.publish([a_request(BACKFILL) for _ in range(20)])

    async def flood_near(_: Delivery) -> None:
        await bus.publish([a_request(NEAR) for _ in range(20)])

    await bus.consume([NEAR], Seen(flood_backfill), concurrency=1)
    await bus.consume([BACKFILL], Seen(flood_near), concurrency=1)
    await bus.publish([a_request(NEAR)])
    for _ in range(5):
        await turns(200)
        assert bus.idle()  # everybody waits for room: only the clock can help
        clock.jump()


async def test_a_handler_at_work_is_not_idle(bus: InProcessBus) -> None:
    go = asyncio.Event()

    async def wait(_: Delivery) -> None:
        await go.wait()

    assert bus.idle()
    await bus.consume([NEAR], Seen(wait), concurrency=1)
    assert bus.idle()
    await bus.publish([a_request()])
    assert not bus.idle()
    await turns()
    assert not bus.idle()
    go.set()
    await turns()
    assert bus.idle()


async def test_a_message_that_waits_for_its_delay_is_idle(bus: InProcessBus, clock: JumpingClock) -> None:
    seen = Seen(Later("not now"))
    await bus.consume([NEAR], seen, concurrency=1)
    await bus.publish([a_request()])
    await turns()
    assert bus.idle()
    assert len(seen) == 1
    clock.jump()
    await turns()
    assert len(seen) == 2


async def test_a_message_that_nobody_reads_is_idle(bus: InProcessBus) -> None:
    await bus.publish([a_request()])
    assert bus.idle()


async def test_dead_letters_that_nobody_reads_are_bounded(bus: InProcessBus, clock: JumpingClock) -> None:
    patient = InProcessBus(clock, Random(1), replace(QUICK, pause_after=10**9), PROVIDERS)
    await patient.consume([NEAR], Seen(Never("bad")), concurrency=4)
    for _ in range(MOST_DEAD // 100 + 1):
        await patient.publish([a_request() for _ in range(100)])
        await turns(500)
    assert await patient.depth(DEAD_QUEUE) == MOST_DEAD
    await patient.close()


async def test_what_is_logged_while_handling_says_of_which_run_and_message_it_is(bus: InProcessBus) -> None:
    told: dict[str, object] = {}

    async def handle(_delivery: Delivery) -> None:
        told.update(structlog.contextvars.get_contextvars())

    request = a_request()
    await bus.consume([NEAR], handle, concurrency=1)
    await bus.publish([request])
    await turns()
    assert told == {"run_id": request.correlation_id, "message_id": request.id}
    assert structlog.contextvars.get_contextvars() == {}
