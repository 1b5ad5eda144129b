"""One connection to the broker that is there when it is asked for."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from random import Random
from urllib.parse import urlsplit

import structlog
from aio_pika import Connection
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.connection import make_url
from aiormq.exceptions import InvalidFrameError

from shared.amqp.errors import translated
from shared.clock import Clock
from shared.errors import Later, Misconfigured, SyncError

log = structlog.get_logger()

CONNECT_TIMEOUT = 10.0  # seconds, for the network and the greeting together
HEARTBEAT = 15  # seconds; a peer that says nothing for two of them is gone

#: Seconds to the next try to connect: a random part of a growing wait, so that services do not come back in step.
FIRST_WAIT, LONGEST_WAIT = 0.5, 15.0

Prepare = Callable[[AbstractConnection], Awaitable[None]]


def check(url: str) -> None:
    """Raise Misconfigured for an address that is none, without repeating it: it holds a password."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in {"amqp", "amqps"} and parts.hostname and (parts.port is None or parts.port > 0):
            return
    raise Misconfigured("the broker's address must look like amqp://user:password@host:5672/vhost")


class Link:
    """A connection that opens itself again when it was lost and somebody asks for it.

    ``prepare`` is called with each new connection before anybody else gets it.
    """

    def __init__(self, url: str, name: str, *, clock: Clock, random: Random, prepare: Prepare | None = None) -> None:
        self._url = url
        self._name = name
        self._clock = clock
        self._random = random
        self._prepare = prepare
        self._connection: AbstractConnection | None = None
        self._closed = False
        self._failures = 0
        self._next_try_at: datetime | None = None
        self._lock = asyncio.Lock()
        # The library logs frames and messages, bodies included; what matters is logged by us.
        for library in ("aio_pika", "aiormq"):
            logging.getLogger(library).setLevel(logging.CRITICAL)

    async def channel(self, *, confirms: bool, again: bool = False) -> AbstractChannel:
        """Open a channel; hold on to it, since the connection holds it only weakly.

        ``again`` says that the channel before was closed: what is missing may be the reason, so it is declared.
        """
        connection = await self.connection()
        if again and self._prepare:
            await self._prepare(connection)
        with translated("opening a channel"):
            async with asyncio.timeout(CONNECT_TIMEOUT):
                channel = connection.channel(publisher_confirms=confirms, on_return_raises=confirms)
                await channel.initialize()
                return channel

    async def connection(self) -> AbstractConnection:
        """The live connection. Raises Later when there is none to be had now, Misconfigured when refused."""
        async with self._lock:
            if self._closed:
                raise Later("the bus is closed")
            if self._connection and self._connection.connected.is_set():
                return self._connection
            await self._drop()
            if self._next_try_at:
                await self._clock.sleep(max(0.0, (self._next_try_at - self._clock.now()).total_seconds()))
            try:
                self._connection = await self._connect()
            except SyncError:
                self._failures += 1
                self._next_try_at = self._clock.now() + timedelta(seconds=self.wait())
                raise
            self._failures = 0
            self._next_try_at = None
            return self._connection

    def wait(self) -> float:
        """Seconds to wait before the next try, random and growing with the failures so far."""
        longest = min(FIRST_WAIT * 2 ** min(self._failures, 10), LONGEST_WAIT)
        return self._random.uniform(longest / 2, longest)

    async def close(self) -> None:
        """Close the connection and open it no more; safe to repeat."""
        self._closed = True
        async with self._lock:
            await self._drop()

    async def sever(self) -> None:
        """Lose the connection without a goodbye, as a cut cable would make us (for tests)."""
        if self._connection and self._connection.transport:
            await self._connection.transport.connection.close(ConnectionResetError("severed"))

    async def _connect(self) -> AbstractConnection:
        # Not aio_pika.connect(): a connection that it could not open would be closed whenever it is collected.
        connection = Connection(
            make_url(self._url, heartbeat=HEARTBEAT), client_properties={"connection_name": self._name}
        )
        try:
            with translated("connecting to the broker"):
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    await self._greet(connection)
            if self._prepare:
                await self._prepare(connection)
        except BaseException:
            await connection.close()
            raise
        connection.close_callbacks.add(self._on_close)
        log.info("connected to the broker", action="broker_connected", connection=self._name)
        return connection

    async def _greet(self, connection: Connection) -> None:
        try:
            await connection.connect()
        except InvalidFrameError as error:
            # The library's only sign of a virtual host that is missing, forbidden or still starting.
            if "Connection.OpenOk" in str(error):
                raise Misconfigured(
                    "connecting to the broker: it refuses this virtual host; check the broker's address"
                ) from error
            raise

    def _on_close(self, _sender: object, _error: BaseException | None) -> None:
        if not self._closed:
            log.warning("the connection to the broker is lost", action="broker_lost", connection=self._name)

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            with contextlib.suppress(Exception):  # it may be half dead; to be rid of it is all we want
                await asyncio.wait_for(connection.close(), CONNECT_TIMEOUT)
