"""Declares what `shared.bus.topology` says, and nothing else. Safe to repeat, by any number of services at once."""

import asyncio

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import ChannelPreconditionFailed

from shared.amqp.errors import translated
from shared.bus.topology import (
    DEAD_EXCHANGE,
    DEAD_QUEUE,
    DELIVERY_LIMIT,
    EXCHANGE,
    queues,
    retry_exchange,
    retry_queue,
)
from shared.errors import Misconfigured

DECLARE_TIMEOUT = 30.0  # seconds, for all of it; a few milliseconds each when it is there already

#: Dead letters move to their next queue with confirmation, which asks for `reject-publish` (3.10 and later).
SAFELY: dict[str, str | int] = {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}

#: For the queue of dead letters: from 4.0 on, a message redelivered 20 times would be dropped there.
NO_DELIVERY_LIMIT = 1_000_000_000


async def declare(connection: AbstractConnection, providers: tuple[str, ...], delays: tuple[int, ...]) -> None:
    """Declare every exchange, queue and binding.

    Raises Misconfigured when one exists with other properties or may not be declared, Later when the broker is away.
    """
    with translated("declaring exchanges and queues"):
        async with asyncio.timeout(DECLARE_TIMEOUT):
            channel = connection.channel(publisher_confirms=False)
            await channel.initialize()
            try:
                await _declare(channel, providers, delays)
            finally:
                await channel.close()


async def _declare(channel: AbstractChannel, providers: tuple[str, ...], delays: tuple[int, ...]) -> None:
    await _exchange(channel, EXCHANGE, ExchangeType.TOPIC)
    await _exchange(channel, DEAD_EXCHANGE, ExchangeType.FANOUT)
    await _queue(channel, DEAD_QUEUE, {"x-delivery-limit": NO_DELIVERY_LIMIT}, DEAD_EXCHANGE, ("",))
    for delay in delays:
        await _exchange(channel, retry_exchange(delay), ExchangeType.FANOUT)
        # The empty exchange leads to the queue that the routing key names: the one the message came from.
        returning = {"x-message-ttl": delay * 1000, "x-dead-letter-exchange": "", **SAFELY}
        await _queue(channel, retry_queue(delay), returning, retry_exchange(delay), ("",))
    for queue in queues(providers):
        limited = {"x-delivery-limit": DELIVERY_LIMIT, "x-dead-letter-exchange": DEAD_EXCHANGE, **SAFELY}
        await _queue(channel, queue.name, limited, EXCHANGE, queue.bindings)


async def _exchange(channel: AbstractChannel, name: str, kind: ExchangeType) -> None:
    try:
        await channel.declare_exchange(name, kind, durable=True)
    except ChannelPreconditionFailed as error:
        raise Misconfigured(f"exchange {name} exists with other properties: delete it") from error


async def _queue(
    channel: AbstractChannel, name: str, arguments: dict[str, str | int], exchange: str, bindings: tuple[str, ...]
) -> None:
    try:
        queue = await channel.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum", **arguments})
    except ChannelPreconditionFailed as error:
        raise Misconfigured(
            f"queue {name} exists with other properties: delete it once it is empty, or use another virtual host"
        ) from error
    for pattern in bindings:
        await queue.bind(exchange, pattern)
