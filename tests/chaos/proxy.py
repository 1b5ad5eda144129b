"""A door between a service and what it depends on, that can be slammed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

Open = Callable[[], Coroutine[Any, Any, tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Proxy:
    """Passes bytes on; `cut` ends every connection and lets none through until `mend`."""

    def __init__(self, connect: Open) -> None:
        self._connect = connect
        self._writers: set[asyncio.StreamWriter] = set()
        self._is_cut = False
        self.port = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, until either side ends."""
        if self._is_cut:
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
            await asyncio.wait(
                [asyncio.create_task(_pump(reader, back)), asyncio.create_task(_pump(there, writer))],
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            self._writers -= ours
            for each in ours:
                each.close()

    def cut(self) -> None:
        """Slam the door: both sides see their connections end."""
        self._is_cut = True
        for each in list(self._writers):
            each.transport.abort()

    def mend(self) -> None:
        """Let connections through again."""
        self._is_cut = False


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while data := await reader.read(65536):
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
