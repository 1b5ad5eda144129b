"""The hub under measurement: processes of its own, so that measuring costs them nothing."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from shared.domain.run import Mode
from shared.ops.demo.provider import PretendProvider
from shared.postgres import Database
from shared.postgres.asks import ask
from shared.secrets import new_key
from tests.acceptance.house import SERVICES, Hub, wish
from tests.bench import processes
from tests.bench.processes import Processes, used

#: `hub up`, without the operator's command around it.
EMBEDDED = ("-c", "import sys; from shared.ops.up import up; sys.exit(up())")

#: Nobody asks by the clock while something is measured: every round is asked for.
QUIET = {
    "HUB_INTERVAL_FAR_SECONDS": "86400",
    "HUB_INTERVAL_NEAR_SECONDS": "86400",
    "HUB_INTERVAL_RACEDAY_SECONDS": "86400",
    "HUB_DISCOVERY_SECONDS": "86400",
    "HUB_LOG_LEVEL": "WARNING",
    "HUB_LOG_FORMAT": "json",
}


#: All processes together rest when they use less than this share of a processor.
LOOK_SECONDS, IDLE_SHARE = 0.5, 0.15


def environment_of(provider: PretendProvider, database_url: str, amqp_url: str | None = None) -> dict[str, str]:
    """What a service finds its broker, its database and the provider by, and nothing of a developer's own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HUB_", "DB_"))}
    return (
        environment
        | QUIET
        | {
            "HUB_DATABASE_URL": database_url,
            "HUB_RUNSIGNUP_BASE_URL": provider.url,
            "HUB_SECRET_KEY": new_key(),
        }
        | ({} if amqp_url is None else {"HUB_AMQP_URL": amqp_url})
    )


async def first_load(hub: Hub) -> float:
    """Enter every key, and wait until every race is loaded: the seconds it took."""
    await hub.provider.post("/config", forget_quota=True)
    began = time.perf_counter()
    await hub.onboard()
    async with asyncio.timeout(600):
        while not await hub.loaded():  # noqa: ASYNC110 — what is waited for happens in other processes
            await asyncio.sleep(0.05)
    return time.perf_counter() - began


async def asked_round(hub: Hub, mode: Mode) -> float:
    """Ask for every race, as an operator would, and wait until all of it is written: the seconds it took."""
    await hub.provider.post("/config", forget_quota=True)
    now, runs = datetime.now(UTC), 0
    began = time.perf_counter()
    async with hub.database.transaction("asking") as connection:
        for row in await connection.fetch("SELECT * FROM race_sync WHERE state = 'active'"):
            runs += await ask(connection, wish(row, mode), now) is not None
    done = "SELECT count(*) FROM sync_runs WHERE requested_at >= $1 AND reason = 'operator' AND state = 'completed'"
    async with asyncio.timeout(300):
        while await hub.count(done, now) < runs:  # noqa: ASYNC110 — as above
            await asyncio.sleep(0.05)
    return time.perf_counter() - began


@asynccontextmanager
async def running(
    provider: PretendProvider,
    database_url: str,
    folder: Path,
    amqp_url: str | None = None,
    *,
    fetchers: int = 1,
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[tuple[Hub, Processes]]:
    """All four services in one process, or, given a broker, one process each."""
    environment = environment_of(provider, database_url, amqp_url) | dict(settings or {})
    commands: dict[str, tuple[str, ...]] = {"hub": EMBEDDED}
    if amqp_url is not None:
        commands = {each: ("-m", each) for each in SERVICES}
        commands |= {f"fetcher {number}": ("-m", "fetcher") for number in range(2, fetchers + 1)}
    database = await Database.connect(database_url, size=2, name="bench")
    started: dict[str, asyncio.subprocess.Process] = {}
    try:
        taking_part = Processes()
        for name, words in commands.items():
            with (folder / f"{name}.log").open("ab") as log:
                started[name] = await asyncio.create_subprocess_exec(
                    sys.executable, *words, env=environment, cwd=folder, stdout=log, stderr=log
                )
            taking_part.watch(name, started[name].pid)
        taking_part.watch("postgres", await processes.postgres(database))
        if amqp_url is not None:
            taking_part.watch("rabbitmq", processes.broker())
        taking_part.watch("simulator", processes.simulator())
        await _all_alive(database, started)
        yield Hub(database, provider), taking_part
    finally:
        for process in started.values():
            with suppress(ProcessLookupError):
                process.terminate()
        for process in started.values():
            try:
                async with asyncio.timeout(30):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        await database.close()


async def _all_alive(database: Database, started: dict[str, asyncio.subprocess.Process]) -> None:
    """Return when every service has said in the database that it lives."""
    async with asyncio.timeout(60):
        while await database.fetchval("SELECT count(DISTINCT service) FROM service_beats") < len(SERVICES):
            for name, process in started.items():
                if process.returncode is not None:
                    raise RuntimeError(f"{name} ended with {process.returncode} before it was measured")
            await asyncio.sleep(0.1)
    await asyncio.sleep(0.5)


async def until_quiet(database: Database, taking_part: Processes) -> None:
    """Return when no run is open, nothing waits in the outbox, and nobody is catching up with the feed any more."""
    async with asyncio.timeout(300):
        while await database.fetchval(  # noqa: ASYNC110 — what is waited for happens in other processes
            "SELECT EXISTS (SELECT 1 FROM sync_runs WHERE state IN ('queued', 'requested', 'running', 'fetched'))"
            " OR EXISTS (SELECT 1 FROM outbox)"
        ):
            await asyncio.sleep(0.05)
        busy = True
        while busy:
            before = taking_part.seconds()
            await asyncio.sleep(LOOK_SECONDS)
            busy = sum(used(before, taking_part.seconds()).values()) > IDLE_SHARE * LOOK_SECONDS
