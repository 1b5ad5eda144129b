"""Delivers messages twice, late and out of order, with fields that a newer version might add."""

import asyncio
from random import Random

import aio_pika
import orjson
from aio_pika.abc import AbstractIncomingMessage

from shared.bus.topology import EXCHANGE

#: Of the messages that pass, so many come again.
SHARE = 0.3
LATEST = 6.0  # seconds


class Gremlin:
    """Listens to everything that is published and publishes some of it again, later."""

    def __init__(self, url: str, random: Random) -> None:
        self._url = url
        self._random = random
        self.sent = 0

    async def run(self) -> None:
        """Until cancelled; a broker that is away is waited for."""
        while True:
            try:
                connection = await aio_pika.connect(self._url, timeout=5)
                try:
                    await self._haunt(connection)
                finally:
                    await connection.close()
            except (OSError, TimeoutError, aio_pika.exceptions.AMQPError, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError):
                    raise
            await asyncio.sleep(0.5)

    async def _haunt(self, connection: aio_pika.abc.AbstractConnection) -> None:
        channel = await connection.channel()
        exchange = await channel.get_exchange(EXCHANGE)
        queue = await channel.declare_queue("gremlin", durable=True, arguments={"x-queue-type": "quorum"})
        await queue.bind(exchange, "#")
        late: list[tuple[float, AbstractIncomingMessage]] = []
        loop = asyncio.get_running_loop()
        while not connection.is_closed:
            message = await queue.get(fail=False, timeout=5)
            if message is not None:
                await message.ack()
                if not message.headers.get("gremlin") and self._random.random() < SHARE:
                    late.append((loop.time() + self._random.uniform(0.0, LATEST), message))
            due = [each for each in late if each[0] <= loop.time()]
            self._random.shuffle(due)
            for entry in due:
                late.remove(entry)
                await exchange.publish(self._changed(entry[1]), entry[1].routing_key or "", mandatory=False)
                self.sent += 1
            if message is None:
                await asyncio.sleep(0.05)

    def _changed(self, message: AbstractIncomingMessage) -> aio_pika.Message:
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
