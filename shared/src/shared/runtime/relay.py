"""The relay: numbers committed diffs, publishes the outbox, and forgets what the broker confirmed.

Every service runs one; an advisory lock lets one at a time work, and falls to another when its holder dies. Numbering
never waits for the broker, and no routing key for another: a queue that does not answer holds up its own messages.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from typing import Any

import orjson
import structlog

from shared.bus.port import Message
from shared.clock import wait
from shared.errors import Later, Never, SyncError
from shared.postgres import Connection
from shared.postgres.outbox import Waiting, number_changes, published, relay_lock, waiting
from shared.runtime.house import House
from shared.telemetry import metrics

log = structlog.get_logger()

#: Rows looked at in one round. Half of what the publisher has in flight: one queue must not take every place.
PORTION = 100
#: How long a relay that does not hold the lock waits before it tries again.
STANDBY_SECONDS = 2.0
#: How often the outbox is looked at without a notification.
IDLE_SECONDS = 5.0
#: How long a routing key is left out after its messages were not taken.
REST_SECONDS = 3.0


#: A message of diffs before it has its feed number.
UNNUMBERED = b'"feed_first":0,'


async def relay(house: House) -> None:
    """Run until cancelled; a broken database or broker is waited out."""
    committed, outbox = house.bells.bell("changes"), house.bells.bell("outbox")
    publisher = Publisher(house, outbox)
    while True:
        _beat(house)  # before the database is asked for anything: one that is away is no reason to be restarted
        try:
            async with relay_lock(house.database, committed.set) as connection:
                if connection is not None:
                    await _both(numbering(house, connection, committed, outbox), publisher.run())
        except Later as error:
            log.warning("The relay waits.", action="relay_waits", error=str(error))
            await house.clock.sleep(1.0)
        else:
            await house.clock.sleep(STANDBY_SECONDS)


def _beat(house: House) -> None:
    for loop in ("relay", "publisher"):  # one that stands by is not stuck
        house.beat(loop)


async def _both(*loops: Coroutine[Any, Any, None]) -> None:
    """Run loops until the first one ends, with what ended it; none is left."""
    turning = [asyncio.create_task(each) for each in loops]
    try:
        done, _ = await asyncio.wait(turning, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in turning:
            task.cancel()
        await asyncio.gather(*turning, return_exceptions=True)


async def numbering(house: House, connection: Connection, committed: asyncio.Event, outbox: asyncio.Event) -> None:
    """Number whatever was committed, on the connection that holds the lock: without it, nobody here numbers."""
    while True:
        house.beat("relay")
        if await number_changes(connection):
            outbox.set()  # their messages may leave now
        await wait(house.clock, committed, IDLE_SECONDS)


class Publisher:
    """Publishes the outbox, each routing key in its order and by a task of its own."""

    def __init__(self, house: House, bell: asyncio.Event) -> None:
        self._house = house
        self._bell = bell
        self._busy: dict[str, bool] = {}  # routing key: whether there may be more of it than its task knows
        self._rests: dict[str, datetime] = {}  # routing key: until when it is left out, because it was not taken
        self._suspects: set[str] = set()  # routing keys that were not taken the last time: tried with one message
        self._tasks: set[asyncio.Task[None]] = set()
        self._broken: BaseException | None = None

    async def run(self) -> None:
        """Publish until cancelled; a broker or a database that is away is waited out."""
        try:
            while True:
                self._house.beat("publisher")
                try:
                    full = await self.start() >= PORTION
                except Later as error:
                    log.warning("The relay waits.", action="relay_waits", error=str(error))
                    full = False
                if not full:
                    await wait(self._house.clock, self._bell, REST_SECONDS if self._rests else IDLE_SECONDS)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def start(self) -> int:
        """Begin to publish the oldest rows of every routing key that is free; how many. Raises what broke a task."""
        if self._broken is not None:
            raise self._broken
        now = self._house.clock.now()
        self._rests = {key: until for key, until in self._rests.items() if until > now}
        for key in self._busy:
            self._busy[key] = True
        rows = await waiting(self._house.database, PORTION, [*self._busy, *self._rests])
        for key, group in groupby(sorted(rows, key=_key), key=_key):  # sorting keeps the order within a key
            self._busy[key] = len(rows) >= PORTION
            task = asyncio.create_task(self._publish(key, list(group)), name=f"publishing {key}")
            self._tasks.add(task)
            task.add_done_callback(partial(self._ended, key))
        return len(rows)

    async def finish(self) -> None:
        """Wait for what was begun."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _publish(self, key: str, rows: list[Waiting]) -> None:
        """Publish rows of one routing key; when one of them has to wait, those behind it wait too."""
        try:
            if key in self._suspects or not await self._together(rows):
                for row in rows:
                    await self._alone(row)
            self._suspects.discard(key)
        except Later as error:
            log.warning("Messages wait in the outbox.", action="relay_waits", routing_key=key, error=str(error))
            self._suspects.add(key)
            self._rests[key] = self._house.clock.now() + timedelta(seconds=REST_SECONDS)

    def _ended(self, key: str, task: asyncio.Task[None]) -> None:
        """Let the key go. (A callback: a task that is cancelled before its first step runs no line of its own.)"""
        self._tasks.discard(task)
        if not task.cancelled():
            self._broken = self._broken or task.exception()
        if self._busy.pop(key) or self._broken:
            self._bell.set()

    async def _together(self, rows: list[Waiting]) -> bool:
        """Publish with one round of confirms, and say whether all were taken."""
        messages = [_numbered(row) for row in rows]
        try:
            await self._house.bus.publish(messages)
        except SyncError:
            return False  # some of them may have landed, and one may never be sent: each has to be asked for alone
        await self._forget(rows)
        return True

    async def _alone(self, row: Waiting) -> None:
        """Publish one; a hopeless one is dropped. Raises Later when it has to wait."""
        try:
            await self._house.bus.publish([_numbered(row)])
        except Never as error:
            log.error(
                "A message can never be sent and is dropped.",
                action="outbox_dropped",
                outbox_id=row.outbox_id,
                type=row.message.type,
                error=str(error),
            )
            await published(self._house.database, [row.outbox_id])
        else:
            await self._forget([row])

    async def _forget(self, rows: list[Waiting]) -> None:
        await published(self._house.database, [row.outbox_id for row in rows])
        for row in rows:
            metrics.outbox_published.labels(row.message.type).inc()


def _key(row: Waiting) -> str:
    return row.message.routing_key


def _numbered(row: Waiting) -> Message:
    """A message of diffs learns its feed number only now.

    (Decoding 500 people for it takes 0.2 to 0.7 ms; the writer takes a hundred times as long for them.)
    """
    if row.feed_first is None:
        return row.message
    # In its place, without reading half a megabyte of diffs for it: the number is the first field of the body, and
    # nothing that somebody else chose comes before it.
    before, unnumbered, after = row.message.body.partition(UNNUMBERED)
    if unnumbered and before.endswith(b'"data":{'):
        return replace(row.message, body=b'%b"feed_first":%d,%b' % (before, row.feed_first, after))
    document = orjson.loads(row.message.body)
    document["data"]["feed_first"] = row.feed_first
    return replace(row.message, body=orjson.dumps(document))
