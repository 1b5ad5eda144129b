"""Start the simulator where other containers reach it: it listens to its own machine alone. For the demo only."""

import asyncio
import contextlib
import sys

OUTSIDE, INSIDE = 8080, 8081


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand on until one side has no more to say."""
    with contextlib.suppress(ConnectionError):
        while portion := await reader.read(65536):
            writer.write(portion)
            await writer.drain()
    writer.close()


async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection from outside is one inside."""
    try:
        answers, asking = await asyncio.open_connection("127.0.0.1", INSIDE)
    except OSError:  # not ready yet
        writer.close()
        return
    await asyncio.gather(pump(reader, asking), pump(answers, writer))


async def main() -> int:
    """Run until the simulator ends."""
    command = (sys.executable, "-m", "runsignup_simulator", "--port", str(INSIDE), *sys.argv[1:])
    simulator = await asyncio.create_subprocess_exec(*command)
    async with await asyncio.start_server(connected, "0.0.0.0", OUTSIDE):  # noqa: S104 — for the other containers
        return await simulator.wait()


sys.exit(asyncio.run(main()))
