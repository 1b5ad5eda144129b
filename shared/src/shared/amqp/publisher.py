"""Publishes with confirmation, many in flight, never without a time-out."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractExchange

from shared.amqp.connection import Link
from shared.amqp.errors import translated
from shared.errors import Later, SyncError

PUBLISH_TIMEOUT = 10.0  # seconds, waiting for a connection included
IN_FLIGHT = 200  # a quorum queue confirms five times as many with this many as one by one


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message on its way to an exchange."""

    exchange: str
    routing_key: str
    message: aio_pika.Message
    name: str  # what to call it in an error: type and id
    mandatory: bool = True


class Publisher:
    """One confirming channel for everything that a process publishes."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._places = asyncio.Semaphore(IN_FLIGHT)
        self._channel: AbstractChannel | None = None
        self._exchanges: dict[str, AbstractExchange] = {}
        self._opening = asyncio.Lock()

    async def send_all(self, batch: Sequence[Outgoing]) -> None:
        """Send in order, and return when every one is confirmed.

        After a first failure no more are started. Raises Later if any was not confirmed (the earlier ones, and even
        it, may have landed); otherwise Never if any cannot be routed.
        """
        tasks: list[asyncio.Task[None]] = []
        errors: list[SyncError] = []
        try:
            for each in batch:
                await self._places.acquire()
                if errors:
                    self._places.release()
                    break
                tasks.append(asyncio.create_task(self._send_and_free(each, errors)))
            if tasks:
                await asyncio.wait(tasks)
        finally:
            for task in tasks:
                task.cancel()
        if errors:
            raise next((error for error in errors if isinstance(error, Later)), errors[0])

    async def send(self, each: Outgoing) -> None:
        """Send one and return when it is confirmed; raises like `send_all`."""
        with translated(f"publishing {each.name}"):
            async with asyncio.timeout(PUBLISH_TIMEOUT):
                exchange = await self._exchange(each.exchange)
                if each.mandatory:
                    await exchange.publish(each.message, each.routing_key)
                else:
                    await exchange.publish(each.message, each.routing_key, mandatory=False)

    async def close(self) -> None:
        if self._channel and not self._channel.is_closed:
            with translated("closing a channel"):
                await asyncio.wait_for(self._channel.close(), PUBLISH_TIMEOUT)

    async def _send_and_free(self, each: Outgoing, errors: list[SyncError]) -> None:
        try:
            await self.send(each)
        except SyncError as error:
            errors.append(error)
        finally:
            self._places.release()

    async def _exchange(self, name: str) -> AbstractExchange:
        if self._channel is None or self._channel.is_closed:
            async with self._opening:
                if self._channel is None or self._channel.is_closed:
                    again = self._channel is not None
                    self._channel = await self._link.channel(confirms=True, again=again)
                    self._exchanges = {}
        if name not in self._exchanges:
            self._exchanges[name] = await self._channel.get_exchange(name, ensure=False)
        return self._exchanges[name]
