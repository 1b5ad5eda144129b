"""The bus of one process: for the embedded system, for tests, and for a clock that jumps.

It keeps every promise of the port but one: its messages end with the process. That costs time, never data, since
no fact lives in a message alone.

**Why publishing cannot deadlock.** A full queue makes the publisher wait for room, so that a fast fetcher does not
fill the memory. Only messages that wait count, not those being handled, and retries and redeliveries always find
room. The chain fetch → write → watch has no way back but the outbox, whose relay is no handler; so whoever waits,
waits for consumers that do not wait for it. Should a ring come about all the same, or should nobody read the queue,
the wait ends after ``patience`` seconds with Later, as on a broker that does not confirm.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random

from shared.bus.lanes import Observer, Pool
from shared.bus.port import Consumer, Death, Delivery, Handler, Message
from shared.bus.retry import Policy
from shared.bus.topology import DEAD_QUEUE, MAX_MESSAGE_BYTES, OPTIONAL_TYPES, Queue, matches, queues
from shared.clock import Clock, wait
from shared.errors import Later, Never

#: Dead letters that are kept while nobody reads them: enough to see what is wrong, and no leak.
MOST_DEAD = 1000

#: The consumer whose handler this code runs in, so that a handler that waits for room is known to be waiting.
_handling: contextvars.ContextVar["_Consumer | None"] = contextvars.ContextVar("handling", default=None)


@dataclass(slots=True)
class _Entry:
    """A message with what its journey so far has added to it."""

    message: Message
    attempt: int = 1
    first_seen: datetime | None = None
    redelivered: bool = False
    death: Death | None = None


@dataclass(slots=True)
class _Line:
    """A queue: what waits in it, and who reads it."""

    queue: Queue
    entries: deque[_Entry] = field(default_factory=deque)
    bytes: int = 0
    readers: list["_Consumer"] = field(default_factory=list)
    room: asyncio.Event = field(default_factory=asyncio.Event)

    def append(self, entry: _Entry) -> None:
        self.entries.append(entry)
        self.bytes += len(entry.message.body)
        self.pump()

    def give_back(self, entry: _Entry) -> None:
        self.entries.appendleft(replace(entry, redelivered=True))
        self.bytes += len(entry.message.body)
        self.pump()

    def drop_oldest(self) -> None:
        self.bytes -= len(self.entries.popleft().message.body)

    def pump(self) -> None:
        """Hand what waits to readers with a free place, in turn."""
        while self.entries:
            reader = next((each for each in self.readers if each.has_place(self)), None)
            if reader is None:
                break
            self.readers.remove(reader)
            self.readers.append(reader)
            entry = self.entries.popleft()
            self.bytes -= len(entry.message.body)
            reader.take(self, entry)
        self.room.set()


class InProcessBus:
    """A bus within this process. `idle` tells a jumping clock when nothing moves any more without it.

    ``limit_messages`` and ``limit_bytes`` bound what waits in each queue that somebody reads or could read.
    """

    is_durable = False

    def __init__(
        self,
        clock: Clock,
        random: Random,
        policy: Policy | None = None,
        providers: tuple[str, ...] = (),
        *,
        observe: Observer | None = None,
        limit_messages: int = 256,
        limit_bytes: int = 32 * 1024 * 1024,  # a batch of 500 people is up to 1 MiB
        patience: float = 60.0,  # seconds; a queue that nobody empties for so long is like a broker that is away
    ) -> None:
        self._clock = clock
        self._random = random
        self.policy = policy or Policy()
        self._observe = observe
        self._limit = (limit_messages, limit_bytes)
        self._patience = patience
        self._lines = {each.name: _Line(each) for each in (*queues(providers), Queue(DEAD_QUEUE, ()))}
        self._consumers: list[_Consumer] = []
        self._delayed: set[asyncio.Task[None]] = set()
        self._closed = False

    async def publish(self, messages: Sequence[Message]) -> None:
        self._refuse_when_closed()
        for message in messages:
            if len(message.body) > MAX_MESSAGE_BYTES:
                raise Never(
                    f"{message.type} {message.id} has {len(message.body)} bytes, {MAX_MESSAGE_BYTES} are allowed",
                    reason="oversize",
                )
        for message in messages:
            lines = [
                line
                for line in self._lines.values()
                if any(matches(pattern, message.routing_key) for pattern in line.queue.bindings)
            ]
            if not lines and message.type not in OPTIONAL_TYPES:
                raise Never(
                    f"{message.type} {message.id}: no queue is bound to {message.routing_key}", reason="unroutable"
                )
            for line in lines:
                await self._room(line, message)
                line.append(_Entry(message))

    async def consume(
        self, lanes: Sequence[str], handler: Handler, *, concurrency: int, prefetch: int | None = None
    ) -> Consumer:
        self._refuse_when_closed()
        lines = [self._line(name) for name in lanes]
        consumer = _Consumer(self, lines, handler, concurrency, prefetch or concurrency)
        self._consumers.append(consumer)
        for line in lines:
            line.readers.append(consumer)
            line.pump()
        return consumer

    async def depth(self, queue: str) -> int:
        return len(self._line(queue).entries)

    async def ping(self) -> None:
        self._refuse_when_closed()

    async def close(self) -> None:
        self._closed = True
        for line in self._lines.values():
            line.room.set()
        await asyncio.gather(*(consumer.stop() for consumer in self._consumers))
        for task in self._delayed:
            task.cancel()
        if self._delayed:
            await asyncio.wait(self._delayed)

    def idle(self) -> bool:
        """Whether nothing can move before the clock does.

        No handler is at work (except one that waits for room), and no message waits for a worker that could take
        it. Messages that wait for their delay, for a paused consumer or in a queue that nobody reads do not count.
        """
        return all(each.idle() for each in self._consumers)

    def clock(self) -> Clock:
        return self._clock

    def pool(self, handler: Handler, lanes: list[str], concurrency: int) -> Pool:
        return Pool(lanes, handler, concurrency, self._clock, self._random, self.policy, self._observe)

    def after(self, delay: float, line: _Line, entry: _Entry) -> None:
        async def return_later() -> None:
            await self._clock.sleep(delay)
            line.append(entry)

        task = asyncio.create_task(return_later(), name=f"retry of {entry.message.type}")
        self._delayed.add(task)
        task.add_done_callback(self._delayed.discard)

    def bury(self, delivery: Delivery, reason: str) -> None:
        death = Death(reason, delivery.queue, delivery.attempt, delivery.first_seen, self._clock.now())
        dead = self._lines[DEAD_QUEUE]
        if not dead.readers and len(dead.entries) >= MOST_DEAD:
            dead.drop_oldest()
        dead.append(_Entry(delivery.message, death=death))

    def forget(self, consumer: "_Consumer") -> None:
        if consumer in self._consumers:
            self._consumers.remove(consumer)

    def _line(self, name: str) -> _Line:
        if name not in self._lines:
            raise Never(f"there is no queue {name}", reason="unknown_queue")
        return self._lines[name]

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise Later("the bus is closed")

    async def _room(self, line: _Line, message: Message) -> None:
        until = self._clock.now() + timedelta(seconds=self._patience)
        limit_messages, limit_bytes = self._limit
        while line.entries and (len(line.entries) >= limit_messages or line.bytes >= limit_bytes):
            left = (until - self._clock.now()).total_seconds()
            if left <= 0:
                raise Later(f"queue {line.queue.name} is full: {message.type} {message.id} was not taken")
            line.room.clear()
            handling = _handling.get()
            if handling:
                handling.blocked += 1
            try:
                await wait(self._clock, line.room, left)
            finally:
                if handling:
                    handling.blocked -= 1
            self._refuse_when_closed()


@dataclass(slots=True)
class _InProcessTaken:
    """One entry in the hands of a consumer."""

    consumer: "_Consumer"
    line: _Line
    entry: _Entry
    delivery: Delivery
    settled: bool = False

    async def done(self) -> None:
        self.settled = True

    async def retry(self, delay: int, cause: str) -> None:
        self.settled = True
        again = replace(
            self.entry, attempt=self.entry.attempt + 1, first_seen=self.delivery.first_seen, redelivered=False
        )
        self.consumer.bus.after(delay, self.line, again)

    async def bury(self, reason: str) -> None:
        self.settled = True
        self.consumer.bus.bury(self.delivery, reason)

    async def release(self) -> None:
        self.settled = True
        self.line.give_back(self.entry)


class _Consumer:
    """Takes from lines into a pool, never more than ``prefetch`` a lane."""

    def __init__(
        self, bus: InProcessBus, lines: list[_Line], handler: Handler, concurrency: int, prefetch: int
    ) -> None:
        self.bus = bus
        self.blocked = 0  # handlers that wait for room in some queue
        self._lines = lines
        self._prefetch = prefetch
        self._held: list[list[_InProcessTaken]] = [[] for _ in lines]
        self._ended = asyncio.Event()

        async def handle(delivery: Delivery) -> None:
            _handling.set(self)  # a worker's own context: whatever its handler awaits or starts sees it
            await handler(delivery)

        self._pool = bus.pool(handle, [line.queue.name for line in lines], concurrency)
        self._pool.settled = self._settled
        self._pool.start()
        self._supervisor = asyncio.create_task(self._supervise(), name=f"consumer of {lines[0].queue.name}")

    def has_place(self, line: _Line) -> bool:
        return not self._pool.ending.is_set() and len(self._held[self._lines.index(line)]) < self._prefetch

    def take(self, line: _Line, entry: _Entry) -> None:
        lane = self._lines.index(line)
        first_seen = entry.first_seen or self.bus.clock().now()
        delivery = Delivery(entry.message, line.queue.name, entry.attempt, first_seen, entry.redelivered, entry.death)
        taken = _InProcessTaken(self, line, entry, delivery)
        self._held[lane].append(taken)
        self._pool.put(lane, taken)

    def idle(self) -> bool:
        pool = self._pool
        at_work = pool.running - self.blocked
        could_start = pool.waiting and pool.running < pool.concurrency and not pool.paused
        return not at_work and (not could_start or pool.ending.is_set())

    async def stop(self) -> None:
        self._pool.end()
        try:
            await self._ended.wait()
        except asyncio.CancelledError:
            self._pool.abort()  # whoever waits has run out of patience
            raise

    async def abort(self) -> None:
        """End at once, as a crash would: handlers are cut short, and what they held is given again."""
        self._pool.abort()
        await self._ended.wait()

    async def wait(self) -> None:
        await self._ended.wait()
        if self._pool.failure:
            raise self._pool.failure

    def _settled(self, lane: int) -> None:
        self._held[lane] = [taken for taken in self._held[lane] if not taken.settled]
        self._lines[lane].pump()

    async def _supervise(self) -> None:
        await self._pool.ending.wait()
        for line in self._lines:
            line.readers.remove(self)
        for lane, taken in reversed(self._pool.clear()):
            self._held[lane].remove(taken)  # type: ignore[arg-type]  # only ours are in our pool
            await taken.release()
        await self._pool.finished()
        for held in self._held:
            for taken in reversed(held):
                if not taken.settled:
                    await taken.release()
        self.bus.forget(self)
        self._ended.set()
