"""The bus on RabbitMQ: two connections, since a broker in need stops the one that publishes."""

import asyncio
import contextlib
from collections.abc import Sequence
from random import Random
from typing import Self

from aio_pika.abc import AbstractConnection
from aiormq.exceptions import ChannelNotFoundEntity

from shared.amqp import wire
from shared.amqp.connection import Link, check
from shared.amqp.consumer import ANSWER_TIMEOUT, AmqpConsumer
from shared.amqp.declare import declare
from shared.amqp.errors import translated
from shared.amqp.publisher import Outgoing, Publisher
from shared.bus.lanes import Observer, Pool
from shared.bus.port import Consumer, Handler, Message
from shared.bus.retry import Policy
from shared.bus.topology import EXCHANGE, MAX_MESSAGE_BYTES, OPTIONAL_TYPES
from shared.clock import Clock
from shared.errors import Never, SyncError


class AmqpBus:
    """Keeps the port's promises on RabbitMQ 3.10 to 4.3. Made by `connect`."""

    is_durable = True

    def __init__(
        self,
        publish: Link,
        consume: Link,
        *,
        clock: Clock,
        random: Random,
        policy: Policy,
        observe: Observer | None,
    ) -> None:
        self._links = (publish, consume)
        self._publisher = Publisher(publish)
        self._clock = clock
        self._random = random
        self.policy = policy
        self._observe = observe
        self._consumers: list[AmqpConsumer] = []

    @classmethod
    async def connect(
        cls,
        url: str,
        clock: Clock,
        providers: tuple[str, ...],
        random: Random,
        policy: Policy | None = None,
        *,
        name: str = "hub",
        may_declare: bool = True,
        observe: Observer | None = None,
    ) -> Self:
        """Connect and declare the topology (unless the user may not: then somebody else has).

        ``name`` is what the broker shows of this process. Raises Later when the broker is away, Misconfigured when
        the address, the user or what exists there is wrong. No error repeats the address.
        """
        check(url)
        patience = policy or Policy()

        async def prepare(connection: AbstractConnection) -> None:
            if may_declare:
                await declare(connection, providers, patience.delays)

        publish = Link(url, f"{name} publishes", clock=clock, random=random, prepare=prepare)
        consume = Link(url, f"{name} consumes", clock=clock, random=random, prepare=prepare)
        try:
            await publish.connection()
        except BaseException:
            await publish.close()
            raise
        return cls(publish, consume, clock=clock, random=random, policy=patience, observe=observe)

    async def publish(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if len(message.body) > MAX_MESSAGE_BYTES:
                raise Never(
                    f"{message.type} {message.id} has {len(message.body)} bytes, {MAX_MESSAGE_BYTES} are allowed",
                    reason="oversize",
                )
        now = self._clock.now()
        await self._publisher.send_all([
            Outgoing(
                EXCHANGE,
                message.routing_key,
                wire.outgoing(message, now),
                f"{message.type} {message.id} to {message.routing_key}",
                mandatory=message.type not in OPTIONAL_TYPES,
            )
            for message in messages
        ])  # fmt: skip

    async def consume(
        self, lanes: Sequence[str], handler: Handler, *, concurrency: int, prefetch: int | None = None
    ) -> Consumer:
        pool = Pool(lanes, handler, concurrency, self._clock, self._random, self.policy, self._observe)
        consumer = AmqpConsumer(
            self._links[1], self._publisher, pool, clock=self._clock, lanes=lanes, prefetch=prefetch or concurrency
        )
        await consumer.start()
        self._consumers.append(consumer)
        return consumer

    async def depth(self, queue: str) -> int:
        with translated(f"asking for the depth of {queue}"):
            async with asyncio.timeout(ANSWER_TIMEOUT):
                channel = await self._links[0].channel(confirms=False)
                try:
                    declared = await channel.declare_queue(queue, passive=True)
                    return declared.declaration_result.message_count or 0
                except ChannelNotFoundEntity as error:
                    raise Never(f"there is no queue {queue}", reason="unknown_queue") from error
                finally:
                    await channel.close()

    async def ping(self) -> None:
        """Ask the broker for the exchange; raises Later (or Misconfigured when refused)."""
        with translated("asking for the exchange"):
            async with asyncio.timeout(ANSWER_TIMEOUT):
                channel = await self._links[0].channel(confirms=False)
                try:
                    await channel.get_exchange(EXCHANGE)
                finally:
                    await channel.close()

    async def close(self) -> None:
        """Consumers, then channels, then connections."""
        await asyncio.gather(*(consumer.stop() for consumer in self._consumers))
        self._consumers.clear()
        with contextlib.suppress(SyncError):
            await self._publisher.close()
        for link in self._links:
            await link.close()

    async def sever(self) -> None:
        """Lose both connections without a goodbye (for tests)."""
        for link in self._links:
            await link.sever()
