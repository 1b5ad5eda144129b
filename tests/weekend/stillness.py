"""When nothing moves any more without the clock: no code is ready to run, no statement is under way, and every wake-up
that the database was asked for has been heard.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from shared.postgres import Database
from shared.postgres.pool import CHANNEL, _nothing_to_reset
from shared.runtime.house import Bells

#: Nobody in the house listens to this word; it is heard after all that were said before it.
BARRIER = "still"


class Statements:
    """How many statements (and errands in other threads) are under way, and how many there ever were."""

    def __init__(self) -> None:
        self.under_way = 0
        self.begun = 0

    def __enter__(self) -> None:
        self.begun += 1
        self.under_way += 1

    def __exit__(self, *_: object) -> None:
        self.under_way -= 1


def counted(statements: Statements) -> type["asyncpg.Connection[Any]"]:
    """A kind of connection that says when it waits for the server."""

    class Counted(asyncpg.Connection):
        async def execute(self, *arguments: Any, **options: Any) -> Any:
            with statements:
                return await super().execute(*arguments, **options)

        async def executemany(self, *arguments: Any, **options: Any) -> Any:
            with statements:
                return await super().executemany(*arguments, **options)

        async def fetch(self, *arguments: Any, **options: Any) -> Any:
            with statements:
                return await super().fetch(*arguments, **options)

        async def fetchrow(self, *arguments: Any, **options: Any) -> Any:
            with statements:
                return await super().fetchrow(*arguments, **options)

        async def fetchval(self, *arguments: Any, **options: Any) -> Any:
            with statements:
                return await super().fetchval(*arguments, **options)

        async def copy_records_to_table(self, *arguments: Any, **options: Any) -> Any:
            with statements:
                return await super().copy_records_to_table(*arguments, **options)

    return Counted


class CountedDatabase(Database):
    """The house's database, on connections that are all open from the start and count their statements."""

    def __init__(self, url: str, pool: Any, statements: Statements) -> None:
        super().__init__(url, pool)
        self.statements = statements

    @classmethod
    async def open(cls, url: str, *, size: int) -> "CountedDatabase":
        """Open it; nothing of it is closed and opened again behind the clock's back."""
        statements = Statements()
        pool = await asyncpg.create_pool(
            url,
            min_size=size,
            max_size=size,
            max_queries=10**9,
            max_inactive_connection_lifetime=0,
            command_timeout=120,
            connection_class=counted(statements),
            reset=_nothing_to_reset,
            server_settings={"search_path": "hub, public", "application_name": "weekend", "timezone": "UTC"},
        )
        return cls(url, pool, statements)


class Stillness:
    """Waits for it. ``ears`` are the bells of everyone who listens to the database."""

    def __init__(self, statements: Statements, bell: "asyncpg.Connection[Any]") -> None:
        self._statements = statements
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Future[None] | None = None
        selector = self._loop._selector  # type: ignore[attr-defined]  # every loop of asyncio's own has one
        selector.select = self._watch(selector.select)
        self._loop.run_in_executor = self._errand  # type: ignore[assignment]  # this loop is ours alone
        self._bell = bell
        self._heard: dict[Bells, asyncio.Event] = {}
        self._said_at = -1  # how many statements there had been when the barrier was last said

    def _errand(self, *arguments: Any) -> Any:
        """What is given to another thread is under way, too."""
        errand = type(self._loop).run_in_executor(self._loop, *arguments)
        self._statements.__enter__()
        errand.add_done_callback(self._statements.__exit__)
        return errand

    def attend(self, ears: Bells) -> Awaitable[bool]:
        """From now on, wait for what they hear, too; await the result for their being connected."""
        heard = self._heard[ears] = ears.bell(BARRIER)
        return heard.wait()

    def ignore(self, ears: Bells) -> None:
        """They hear nothing any more."""
        heard = self._heard.pop(ears, None)
        if heard is not None:
            heard.set()

    async def __call__(self) -> None:
        """Return when nothing moves."""
        while True:
            await self._at_rest()
            if self._statements.begun == self._said_at:
                return
            self._said_at = self._statements.begun
            await self._barrier(list(self._heard.values()))

    async def _at_rest(self) -> None:
        """Return when the loop would wait for the outside, and nothing is on its way from there."""
        self._waiting = self._loop.create_future()
        await self._waiting

    def _watch(self, select: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
        """The loop's own question to the system, which it asks with time to wait only when no code is ready to run."""

        def watched(timeout: float | None = None) -> list[Any]:
            waiting = self._waiting
            if waiting is None or self._statements.under_way or (timeout is not None and timeout <= 0):
                return select(timeout)
            events = select(0)
            if not events:
                self._waiting = None
                if not waiting.done():
                    waiting.set_result(None)
            return events

        return watched

    async def _barrier(self, ears: list[asyncio.Event]) -> None:
        for each in ears:
            each.clear()
        await self._bell.execute("SELECT pg_notify($1, $2)", CHANNEL, BARRIER)
        for each in ears:
            await each.wait()
