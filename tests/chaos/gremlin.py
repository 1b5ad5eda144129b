"""Delivers messages twice, late, out of order, with fields that a newer version might add; and reads every header."""

import asyncio
from collections.abc import Sequence
from random import Random

import aio_pika
import orjson
from aio_pika.abc import AbstractIncomingMessage

from shared.bus.topology import DEAD_EXCHANGE, EXCHANGE, RETRY_DELAYS, retry_exchange

#: Of the messages that pass, so many come again.
SHARE = 0.3
LATEST = 6.0  # seconds
ROUND = 0.1  # seconds between two looks at what is due


class Gremlin:
    """Listens to everything that is published and publishes some of it again, later."""

    def __init__(self, url: str, random: Random, markers: Sequence[str]) -> None:
        self._url = url
        self._random = random
        self._markers = markers
        self._late: list[tuple[float, AbstractIncomingMessage]] = []
        self._stopping = False
        self.listening = asyncio.Event()
        self.sent = 0  # deliveries too many
        self.batches = 0  # those of them that carry records
        self.headers = 0  # messages whose headers were read
        self.leaks = 0  # headers and properties with something that may not stand there

    async def run(self) -> None:
        """Until cancelled; a broker that is away is waited for."""
        while True:
            try:
                connection = await aio_pika.connect(self._url, timeout=5)
                try:
                    await self._haunt(connection)
                finally:
                    await connection.close()
            except (OSError, TimeoutError, RuntimeError, aio_pika.exceptions.AMQPError):
                if self._stopping:
                    return
            else:
                return
            await asyncio.sleep(0.3)

    def stop(self) -> None:
        """Deliver what is left at once, and let `run` return."""
        self._stopping = True

    async def _haunt(self, connection: aio_pika.abc.AbstractConnection) -> None:
        channel = await connection.channel()
        hub = await channel.get_exchange(EXCHANGE)
        queue = await channel.declare_queue("gremlin", durable=True, arguments={"x-queue-type": "quorum"})
        for name in (EXCHANGE, DEAD_EXCHANGE, *map(retry_exchange, RETRY_DELAYS)):
            await queue.bind(name, "#")
        await queue.consume(self._heard, no_ack=True)
        self.listening.set()
        loop = asyncio.get_running_loop()
        while not connection.is_closed:
            stopping = self._stopping
            due = [each for each in self._late if stopping or each[0] <= loop.time()]
            self._random.shuffle(due)
            for entry in due:
                await hub.publish(_changed(entry[1]), entry[1].routing_key or "", mandatory=False, timeout=10)
                self._late.remove(entry)
                self.sent += 1
                self.batches += "fetched" in (entry[1].type or "") and not (entry[1].type or "").startswith("sync")
            if stopping:
                return
            await asyncio.sleep(ROUND)

    async def _heard(self, message: AbstractIncomingMessage) -> None:
        told = f"{message.headers} {message.properties}"
        self.headers += 1
        self.leaks += any(marker in told for marker in self._markers)
        if message.exchange == EXCHANGE and not message.headers.get("gremlin") and self._random.random() < SHARE:
            self._late.append((asyncio.get_running_loop().time() + self._random.uniform(0.0, LATEST), message))


def _changed(message: AbstractIncomingMessage) -> aio_pika.Message:
    document = orjson.loads(message.body)
    document["a_newer_field"] = {"of": "a newer version"}
    document["data"]["a_newer_field"] = [1, 2, 3]
    headers = {**{name: value for name, value in message.headers.items() if name != "x-death"}, "gremlin": 1}
    return aio_pika.Message(
        orjson.dumps(document),
        content_type=message.content_type,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        correlation_id=message.correlation_id,
        type=message.type,
        headers=headers,
    )
