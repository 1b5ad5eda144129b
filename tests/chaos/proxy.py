"""A door between a service and what it depends on, that can be slammed, or fall silent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

Open = Callable[[], Coroutine[Any, Any, tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Proxy:
    """Passes bytes on, until it is `cut` (every connection ends, none gets through) or `hush`ed; `mend` heals it."""

    def __init__(self, connect: Open) -> None:
        self._connect = connect
        self._writers: set[asyncio.StreamWriter] = set()
        self._is_cut = False
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.port = 0
        self.hurt = 0  # connections that were cut or kept waiting

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, until either side ends."""
        if self._is_cut:
            self.hurt += 1
            writer.close()
            return
        try:
            there, back = await self._connect()
        except OSError:
            writer.close()
            return
        ours = {writer, back}
        self._writers |= ours
        try:
            pumps = [asyncio.create_task(each) for each in (self._pump(reader, back), self._pump(there, writer))]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
        finally:
            self._writers -= ours
            for each in ours:
                each.close()

    def cut(self) -> None:
        """Slam the door: both sides see their connections end."""
        self._is_cut = True
        self.hurt += len(self._writers) // 2
        for each in list(self._writers):
            each.transport.abort()

    def hush(self) -> None:
        """Nothing goes through any more, and nobody is told: a cable that lies in the street."""
        self._flowing.clear()

    def mend(self) -> None:
        """Let connections through again, and what was held back."""
        self._is_cut = False
        self._flowing.set()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while data := await reader.read(65536):
                if not self._flowing.is_set():
                    self.hurt += 1
                    await self._flowing.wait()
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def tcp_proxy(port: int) -> AsyncIterator[Proxy]:
    """A proxy on a free port, before a port of this machine."""
    proxy = Proxy(lambda: asyncio.open_connection("127.0.0.1", port))
    server = await asyncio.start_server(proxy.handle, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()


@asynccontextmanager
async def socket_proxy(folder: Path, target: Path) -> AsyncIterator[Proxy]:
    """A proxy on a PostgreSQL socket in ``folder`` (which exists), before the socket in ``target``."""
    name = ".s.PGSQL.5432"
    proxy = Proxy(lambda: asyncio.open_unix_connection(str(target / name)))
    server = await asyncio.start_unix_server(proxy.handle, str(folder / name))
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
