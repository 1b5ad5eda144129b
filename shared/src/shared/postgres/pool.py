"""Connections to PostgreSQL, and wake-ups from it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, TypeAlias

import asyncpg

from shared.clock import SystemClock
from shared.postgres.errors import translate, translated

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[Any]"

#: One channel for every wake-up; the payload is a word: outbox, asked, slot, credential, run.
CHANNEL = "hub"


class Database:
    """A pool of connections to one database, the schema `hub` first in their search path.

    Every error of the driver leaves translated: Later, Never or Stop.
    """

    def __init__(self, url: str, pool: "asyncpg.Pool[Any]") -> None:
        self.url = url
        self._pool = pool
        self._listener: asyncpg.Connection[Any] | None = None

    @classmethod
    async def connect(cls, url: str, *, size: int = 8, name: str = "hub") -> "Database":
        """Open a pool; raises Later when the server cannot be reached, Stop when it refuses us."""
        with translated("connecting to the database"):
            pool = await asyncpg.create_pool(
                url,
                min_size=1,
                max_size=size,
                timeout=10,
                command_timeout=120,
                reset=_nothing_to_reset,
                server_settings={"search_path": "hub, public", "application_name": name, "timezone": "UTC"},
            )
        return cls(url, pool)

    @asynccontextmanager
    async def connection(self, doing: str = "reading") -> AsyncIterator[Connection]:
        """A connection without a transaction."""
        with translated(doing):
            async with self._pool.acquire(timeout=30) as connection:
                yield connection

    @asynccontextmanager
    async def transaction(self, doing: str = "writing") -> AsyncIterator[Connection]:
        """A connection in a transaction: committed on leaving, rolled back on any error."""
        with translated(doing):
            async with self._pool.acquire(timeout=30) as connection, connection.transaction():
                yield connection

    async def fetch(self, sql: str, *arguments: Any) -> list["asyncpg.Record"]:
        """Rows of one statement."""
        async with self.connection() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(sql, *arguments)
            return rows

    async def fetchrow(self, sql: str, *arguments: Any) -> "asyncpg.Record | None":
        """The first row of one statement."""
        async with self.connection() as connection:
            return await connection.fetchrow(sql, *arguments)

    async def fetchval(self, sql: str, *arguments: Any) -> Any:
        """The first value of one statement."""
        async with self.connection() as connection:
            return await connection.fetchval(sql, *arguments)

    async def execute(self, sql: str, *arguments: Any) -> str:
        """Run one statement; its command tag."""
        async with self.connection("writing") as connection:
            tag: str = await connection.execute(sql, *arguments)
            return tag

    async def set_clock(self, clock: SystemClock) -> None:
        """Set a clock by the database's: the one place that asks it for the time."""
        asked = time.monotonic()
        said: datetime = await self.fetchval("SELECT clock_timestamp()")
        clock.set_by(said, asked, time.monotonic())

    async def listen(self, on_word: Callable[[str], None]) -> None:
        """Call back with each word notified on the channel, on a connection of its own; once a database.

        The word ``connected`` comes first, and again after each reconnection, since words may have been missed.
        """

        def heard(_connection: Any, _pid: int, _channel: str, word: object) -> None:
            on_word(str(word))

        while True:
            try:
                connection = await asyncpg.connect(
                    self.url, timeout=10, server_settings={"application_name": "hub:ear"}
                )
                try:
                    gone = asyncio.Event()
                    connection.add_termination_listener(lambda _connection, gone=gone: gone.set())
                    await connection.add_listener(CHANNEL, heard)
                    on_word("connected")
                    await gone.wait()
                finally:
                    with suppress(Exception):
                        await connection.close(timeout=2)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
                translate(error, "listening")  # a broken ear is deaf for a second; every loop also looks by itself
            await asyncio.sleep(1)

    async def close(self) -> None:
        """Close the pool, waiting a little for what is under way; safe to repeat."""
        try:
            async with asyncio.timeout(5):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()


async def _nothing_to_reset(_connection: Any) -> None:
    """Nobody here changes a session's settings or leaves a cursor open: asyncpg's own reset would cost a round trip
    for every connection that is given back. Who takes a session's lock lets go of it (`outbox.relay_lock`)."""


class Joined(Database):
    """A transaction that is open already, as a database: what works on it commits with it, or not at all."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def connection(self, doing: str = "reading") -> AsyncIterator[Connection]:
        """The transaction's connection."""
        with translated(doing):
            yield self._connection

    @asynccontextmanager
    async def transaction(self, doing: str = "writing") -> AsyncIterator[Connection]:
        """A savepoint of the transaction: an error undoes what was done since."""
        with translated(doing):
            async with self._connection.transaction():
                yield self._connection


async def notify(connection: Connection, word: str) -> None:
    """Wake whoever listens, when the transaction commits."""
    await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, word)
