"""The relay: numbers committed diffs, publishes the outbox, and forgets what the broker confirmed.

Every service runs one; an advisory lock lets one at a time work, and falls to another when its holder dies. Numbering
never waits for the broker.
"""

from dataclasses import replace

import orjson
import structlog

from shared.bus.port import Message
from shared.clock import wait
from shared.errors import Later, Never
from shared.postgres.outbox import RELAY_LOCK, Waiting, number_changes, published, waiting
from shared.runtime.house import House

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
    except Never:
        # One of them can never be sent: find it, so that the others are not held up.
        await _one_by_one(house, rows, messages)
    await published(house.database, [row.outbox_id for row in rows])
    return len(rows)


async def _one_by_one(house: House, rows: list[Waiting], messages: list[Message]) -> None:
    for row, message in zip(rows, messages, strict=True):
        try:
            await house.bus.publish([message])
        except Never as error:
            log.error(
                "A message can never be sent and is dropped.",
                action="outbox_dropped",
                outbox_id=row.outbox_id,
                type=message.type,
                error=str(error),
            )


def _numbered(row: Waiting) -> Message:
    """A message of diffs learns its feed number only now."""
    if row.feed_first is None:
        return row.message
    document = orjson.loads(row.message.body)
    document["data"]["feed_first"] = row.feed_first
    return replace(row.message, body=orjson.dumps(document))
