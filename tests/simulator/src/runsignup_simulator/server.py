"""The stand-in behind HTTP on loopback: asyncio streams and h11, so that a connection can also go wrong."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import h11

from .control import NDJSON, control
from .control import PREFIX as CONTROL_PREFIX
from .damage import Delivery
from .policy import Policy
from .requests import PREFIX, Request, parse_request
from .responses import Response
from .simulator import Clock, Simulator
from .world import World

Sleep = Callable[[float], Awaitable[None]]

TICK_SECONDS = 0.1
"""How often the pace is looked at while no call arrives."""
WORTH_PACKING = 1_000
READ_BYTES = 65_536
EXCUSES = (ConnectionError, h11.RemoteProtocolError, h11.LocalProtocolError, TimeoutError)


class Server:
    """A running stand-in: `url` for the client, `control_url` and `simulator` for the test."""

    def __init__(self, simulator: Simulator, port: int, *, packed: bool, sleep: Sleep) -> None:
        self.simulator = simulator
        self.url = f"http://127.0.0.1:{port}{PREFIX}"
        self.control_url = f"http://127.0.0.1:{port}{CONTROL_PREFIX}"
        self._packed, self._sleep = packed, sleep

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves the requests of one connection until either side ends it."""
        http = h11.Connection(h11.SERVER)
        try:
            while await self._one_request(http, reader, writer):
                http.start_next_cycle()
        except EXCUSES:
            pass  # A client that goes away, or talks nonsense, ends its own connection only.
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _one_request(
        self, http: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """True when the connection can carry another request."""
        head, body = await _receive(http, reader)
        if head is None:
            return False
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers]
        request = parse_request(head.method.decode(), head.target.decode("latin-1"), headers)
        if request.path.startswith(CONTROL_PREFIX):
            await _send_control(http, writer, control(self.simulator, request, body))
        else:
            began = time.perf_counter()
            delivery = self.simulator.begin(request)
            try:
                await self._deliver(http, reader, writer, request, delivery)
            finally:
                self.simulator.finish(request)
                self.simulator.audit.busy_seconds += time.perf_counter() - began
        return http.our_state is h11.DONE and http.their_state is h11.DONE

    async def _deliver(
        self,
        http: h11.Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        request: Request,
        delivery: Delivery,
    ) -> None:
        if delivery.delay_seconds:
            await self._wait(delivery.delay_seconds, reader)
        if delivery.reset:
            _reset(writer)
            raise ConnectionResetError("reset on request")
        response = self.simulator.dated(delivery)
        if self._packed and "gzip" in request.headers.get("accept-encoding", ""):
            response = pack(response)
        await _send(http, writer, response, cut=delivery.cut)

    async def _wait(self, seconds: float, reader: asyncio.StreamReader) -> None:
        """Waits in small steps: a client that gave up is not in flight any longer."""
        while seconds > 0:
            step = min(seconds, 0.05)
            await self._sleep(step)
            seconds -= step
            if reader.at_eof():
                raise ConnectionResetError("the client went away")

    async def keep_pace(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.simulator.advance()


@contextlib.asynccontextmanager
async def serve(
    world: World | Simulator,
    *,
    now: Clock = time.time,
    port: int = 0,
    policy: Policy | None = None,
    packed: bool = False,
    sleep: Sleep = asyncio.sleep,
) -> AsyncIterator[Server]:
    """Serves the world in this event loop for as long as the block lasts. `sleep` times slow answers."""
    simulator = world if isinstance(world, Simulator) else Simulator(world, now, policy)
    connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
    server: Server

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections[task] = writer
        try:
            await server.connection(reader, writer)
        finally:
            del connections[task]

    listening = await asyncio.start_server(connected, "127.0.0.1", port, backlog=256)
    server = Server(simulator, listening.sockets[0].getsockname()[1], packed=packed, sleep=sleep)
    pace = asyncio.create_task(server.keep_pace(), name="simulator-pace")
    try:
        yield server
    finally:
        pace.cancel()
        listening.close()
        # Aborted rather than cancelled: a connection's task ends by itself when its stream does.
        ending = list(connections)
        for writer in connections.values():
            writer.transport.abort()
        await asyncio.gather(pace, *ending, return_exceptions=True)


def pack(response: Response) -> Response:
    """gzip where it is worth it; larger bodies say that they vary (reference 3)."""
    if len(response.body) < WORTH_PACKING or any(name == "Content-Encoding" for name, _ in response.headers):
        return response
    packed = response._replace(body=gzip.compress(response.body, compresslevel=1))
    return packed.with_header("Content-Encoding", "gzip").with_header("Vary", "Accept-Encoding")


async def _receive(http: h11.Connection, reader: asyncio.StreamReader) -> tuple[h11.Request | None, bytes]:
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(READ_BYTES))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return head, bytes(body)
        else:
            return None, b""


async def _send(http: h11.Connection, writer: asyncio.StreamWriter, response: Response, *, cut: bool = False) -> None:
    headers = [*response.headers, ("Content-Length", str(len(response.body)))]
    writer.write(http.send(h11.Response(status_code=response.status, headers=headers)) or b"")
    if cut:
        # The length promises more than comes.
        writer.write(response.body[: len(response.body) // 2])
        await writer.drain()
        raise ConnectionAbortedError("cut on request")
    if response.body:
        # With passthrough h11 only checks the length: a page of megabytes is not copied once more.
        for part in http.send_with_data_passthrough(h11.Data(data=response.body)) or ():
            writer.write(part)
    writer.write(http.send(h11.EndOfMessage()) or b"")
    await writer.drain()


async def _send_control(http: h11.Connection, writer: asyncio.StreamWriter, result: Response | Iterator[bytes]) -> None:
    if isinstance(result, Response):
        await _send(http, writer, result)
        return
    headers = [("Content-Type", NDJSON), ("Transfer-Encoding", "chunked")]
    writer.write(http.send(h11.Response(status_code=200, headers=headers)) or b"")
    for lines in result:
        writer.write(http.send(h11.Data(data=lines)) or b"")
        await writer.drain()
        await asyncio.sleep(0)  # Lets other connections in between.
    writer.write(http.send(h11.EndOfMessage()) or b"")
    await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Closes without lingering, which sends RST in place of an orderly end."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
