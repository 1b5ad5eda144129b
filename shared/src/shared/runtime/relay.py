"""The relay: numbers committed diffs, publishes the outbox, and forgets what the broker confirmed.

Every service runs one; an advisory lock lets one at a time work, and falls to another when its holder dies. Numbering
never waits for the broker.
"""

import asyncio
from dataclasses import replace

import orjson
import structlog

from shared.bus.port import Message
from shared.clock import wait
from shared.errors import Later, Never, SyncError
from shared.postgres.outbox import RELAY_LOCK, Waiting, number_changes, published, waiting
from shared.runtime.house import House
from shared.telemetry import metrics

log = structlog.get_logger()

#: Rows published with one round of confirms.
PORTION = 200
#: How long a relay that does not hold the lock waits before it tries again.
STANDBY_SECONDS = 2.0
#: How often the outbox is looked at without a notification.
IDLE_SECONDS = 5.0


async def relay(house: House) -> None:
    """Run until cancelled; a broken database or broker is waited out."""
    bell = house.bells.bell("outbox")
    while True:
        try:
            async with house.database.connection("relaying") as connection:
                if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", RELAY_LOCK):
                    house.beat("relay")
                    await house.clock.sleep(STANDBY_SECONDS)
                    continue
                try:
                    while True:
                        house.beat("relay")
                        if await number_changes(connection):
                            await connection.execute("SELECT pg_notify('hub', 'feed')")
                        if await relay_once(house) < PORTION:
                            await wait(house.clock, bell, IDLE_SECONDS)
                finally:
                    await connection.execute("SELECT pg_advisory_unlock($1)", RELAY_LOCK)
        except Later as error:
            log.warning("The relay waits.", action="relay_waits", error=str(error))
            await house.clock.sleep(1.0)


async def relay_once(house: House) -> int:
    """Publish the oldest portion of the outbox; how many rows it was. Raises Later when the broker does not take it."""
    rows = await waiting(house.database, PORTION)
    if not rows:
        return 0
    messages = [_numbered(row) for row in rows]
    try:
        await house.bus.publish(messages)
    except SyncError:
        # Some queue does not answer, or one message can never be sent: the others must not wait for it.
        await _each_alone(house, rows, messages)
    else:
        await published(house.database, [row.outbox_id for row in rows])
    for message in messages:
        metrics.outbox_published.labels(message.type).inc()
    return len(rows)


async def _each_alone(house: House, rows: list[Waiting], messages: list[Message]) -> None:
    """Publish messages side by side; those confirmed or hopeless are forgotten. Raises Later when one has to wait."""
    answers = await asyncio.gather(*(house.bus.publish([message]) for message in messages), return_exceptions=True)
    later: BaseException | None = None
    done = []
    for row, answer in zip(rows, answers, strict=True):
        if isinstance(answer, Never):
            log.error(
                "A message can never be sent and is dropped.",
                action="outbox_dropped",
                outbox_id=row.outbox_id,
                type=row.message.type,
                error=str(answer),
            )
        if answer is None or isinstance(answer, Never):
            done.append(row.outbox_id)
        else:
            later = answer
    await published(house.database, done)
    if later is not None:
        raise later


def _numbered(row: Waiting) -> Message:
    """A message of diffs learns its feed number only now."""
    if row.feed_first is None:
        return row.message
    document = orjson.loads(row.message.body)
    document["data"]["feed_first"] = row.feed_first
    return replace(row.message, body=orjson.dumps(document))
