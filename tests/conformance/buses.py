"""The two buses behind one harness, and the few verbs that the suite needs."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

from shared.amqp import AmqpBus
from shared.bus.inprocess import InProcessBus
from shared.bus.lanes import Handled
from shared.bus.port import Consumer, Delivery, Message
from shared.bus.retry import Policy
from shared.bus.topology import fetch_queues
from shared.clock import Clock, SystemClock

PROVIDERS = ("runsignup",)
LANES = fetch_queues("runsignup")
RACEDAY, NEAR, ROUTINE, BACKFILL = LANES

#: One wait of one second, so that a test of retries takes as many seconds as it has retries.
QUICK = Policy(attempts=3, age=timedelta(minutes=5), first_delay=0.5, delays=(1,), pause_seconds=1.0)

DEADLINE = 15.0  # seconds: a redelivery after a crash takes a second or two on a loaded machine


class JumpingClock:
    """Stands still until it is told to jump to the next moment that somebody sleeps towards."""

    def __init__(self) -> None:
        self.at = datetime(2026, 7, 4, 8, 0, tzinfo=UTC)
        self._sleepers: list[tuple[datetime, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self.at

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            return
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.at + timedelta(seconds=seconds), future))
        await future

    def jump(self) -> None:
        self._sleepers = [each for each in self._sleepers if not each[1].done()]
        if self._sleepers:
            self.at = max(self.at, min(at for at, _ in self._sleepers))
            for at, future in self._sleepers:
                if at <= self.at:
                    future.set_result(None)


@dataclass(slots=True)
class World:
    """A bus under test."""

    name: str
    bus: InProcessBus | AmqpBus
    clock: Clock
    handled: list[Handled] = field(default_factory=list)

    async def crash(self, consumer: Consumer) -> None:
        """Let a consumer die with whatever it holds."""
        assert hasattr(consumer, "abort")
        await consumer.abort()


@asynccontextmanager
async def in_process(policy: Policy) -> AsyncIterator[World]:
    clock = JumpingClock()
    handled: list[Handled] = []
    bus = InProcessBus(clock, Random(1), policy, PROVIDERS, observe=handled.append)

    async def drive() -> None:
        while True:
            await asyncio.sleep(0.002)
            if bus.idle():
                clock.jump()

    driver = asyncio.create_task(drive())
    try:
        yield World("inprocess", bus, clock, handled)
    finally:
        await close(bus)
        driver.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await driver


@asynccontextmanager
async def rabbitmq(policy: Policy, url: str) -> AsyncIterator[World]:
    clock = SystemClock()
    handled: list[Handled] = []
    bus = await AmqpBus.connect(url, clock, PROVIDERS, Random(1), policy, observe=handled.append)
    try:
        yield World("rabbitmq", bus, clock, handled)
    finally:
        await close(bus)


async def close(bus: InProcessBus | AmqpBus) -> None:
    """Close it, also after a test that failed and left a handler waiting for good."""
    try:
        await asyncio.wait_for(bus.close(), 5)
    except TimeoutError:
        await bus.close()


_numbers = itertools.count(1)


def a_request(lane: str = NEAR, body: bytes = b"{}", id: str | None = None) -> Message:  # noqa: A002
    """A command to the fetcher that ends in one of the lanes."""
    sync_class = lane.rsplit(".", 1)[1]
    return Message(
        id or f"m{next(_numbers)}", "sync.request.v1", f"sync.request.v1.runsignup.{sync_class}", body, "run-1"
    )


class Seen:
    """A handler that remembers what it saw; ``then`` decides what it raises."""

    def __init__(self, then: Callable[[Delivery], Awaitable[None]] | BaseException | None = None) -> None:
        self.deliveries: list[Delivery] = []
        self._then = then

    async def __call__(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        if isinstance(self._then, BaseException):
            raise self._then
        if self._then:
            await self._then(delivery)

    @property
    def ids(self) -> list[str]:
        return [delivery.message.id for delivery in self.deliveries]

    def __len__(self) -> int:
        return len(self.deliveries)


async def eventually(true: Callable[[], object], seconds: float = DEADLINE) -> None:
    """Poll until it holds; the deadline is for loaded machines, what is waited for takes a moment."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - what is waited for happens in a broker
            await asyncio.sleep(0.01)


async def depth_is(bus: InProcessBus | AmqpBus, queue: str, expected: int, seconds: float = DEADLINE) -> None:
    """Poll a queue's depth; a broker's counts lag behind a little."""
    found = -1
    try:
        async with asyncio.timeout(seconds):
            while (found := await bus.depth(queue)) != expected:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{queue} holds {found} messages, not {expected}") from None
