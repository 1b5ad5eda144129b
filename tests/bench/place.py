"""Where benchmarks run: a RabbitMQ and a PostgreSQL of their own, got as the tests get theirs."""

import asyncio
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from shared.postgres.migrate import migrate
from tests import services


@dataclass(slots=True)
class Place:
    """Fresh databases and virtual hosts, and somebody to tell how far it has come."""

    console: Console
    folder: Path
    rounds: int
    is_quick: bool
    _reaper: services.Reaper
    _broker: services.Broker | None = None
    _server: services.Database | None = None
    _template: str = ""
    _began: float = field(default_factory=time.monotonic)

    def say(self, what: str) -> None:
        """Tell how far it has come."""
        self.console.print(f"[dim]{time.monotonic() - self._began:4.0f} s[/dim]  {what}", highlight=False)

    @asynccontextmanager
    async def database_url(self) -> AsyncIterator[str]:
        """A migrated database that nobody has used, on the one server of this run."""
        if self._server is None:
            self._server = await asyncio.to_thread(services.get_database, self._reaper)
            self.say(f"PostgreSQL: {self._server.how}")
            self._template = f"hub_bench_{uuid.uuid4().hex[:12]}"
            await services.execute(self._server.url, f"create database {self._template}")
            await migrate(services.database_named(self._server.url, self._template))
        name = f"hub_bench_{uuid.uuid4().hex[:12]}"
        await services.clone(self._server.url, self._template, name)
        try:
            yield services.database_named(self._server.url, name)
        finally:
            await services.execute(self._server.url, f"drop database {name} with (force)")

    @asynccontextmanager
    async def amqp_url(self) -> AsyncIterator[str]:
        """An empty virtual host of the one broker of this run."""
        if self._broker is None:
            self._broker = await asyncio.to_thread(services.get_broker, self._reaper)
            self.say(f"RabbitMQ: {self._broker.how}")
        url = await asyncio.to_thread(self._broker.fresh)
        try:
            yield url
        finally:
            await asyncio.to_thread(self._broker.drop, url)


@contextmanager
def a_place(console: Console, *, rounds: int, is_quick: bool) -> Iterator[Place]:
    """Get ready, and leave nothing behind."""
    reaper = services.Reaper()
    try:
        with tempfile.TemporaryDirectory(prefix="hub-bench-") as folder:
            yield Place(console, Path(folder), rounds, is_quick, reaper)
    finally:
        reaper.close()
