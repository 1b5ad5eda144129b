"""One seed: the real pipeline, the misfortunes, the quiet, the verdict."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from shared.postgres import Database
from shared.postgres.migrate import migrate
from tests import services
from tests.acceptance.house import Hub, distributed_hub, until
from tests.chaos.gremlin import Gremlin
from tests.chaos.judging import Verdict, judge
from tests.chaos.plan import STORM_SECONDS, Storm, Strike
from tests.chaos.proxy import Proxy, socket_proxy, tcp_proxy

WORLD = (
    "--partners", "3", "--events", "40", "--future-events", "30", "--people", "2600", "--future-people", "2000",
    "--largest-event", "700",
)  # fmt: skip

#: Minutes outside, seconds here; small pages, so that something is always in the middle of one.
COMPRESSED = {
    "HUB_PAGE_SIZE": "100",
    "HUB_INTERVAL_RACEDAY_SECONDS": "3",
    "HUB_DISCOVERY_SECONDS": "6",
    "HUB_TICK_SECONDS": "0.3",
    "HUB_CALL_SECONDS": "3",
    "HUB_LEASE_SECONDS": "3",
    "HUB_DEADLINE_RACEDAY_SECONDS": "8",
    "HUB_DEADLINE_NEAR_SECONDS": "8",
    "HUB_DEADLINE_FAR_SECONDS": "8",
    "HUB_DEADLINE_FULL_SECONDS": "12",
    "HUB_REQUEST_SECONDS": "8",
    "HUB_PARK_SECONDS": "2",
}
MORNING = {
    "registered": 3, "edited": 4, "bib_given": 8, "bib_changed": 3, "bib_swapped": 2, "bib_cleared": 1,
    "bib_given_twice": 1, "refunded": 2, "transferred": 2, "deferred": 1, "cleared": 1, "restored": 1,
    "start_moved": 1,
}  # fmt: skip
QUIET_SECONDS = 45.0


@dataclass(slots=True)
class Ground:
    """What the storm rages over: a broker and a database of this run's own, for all its seeds."""

    broker: services.BreakableBroker
    postgres: services.WheelDatabase


@dataclass(slots=True)
class Weather:
    """One seed on its way."""

    storm: Storm
    hub: Hub
    ground: Ground
    to_broker: Proxy
    to_database: Proxy
    database_name: str
    struck: list[str] = field(default_factory=list)
    faults: dict[int, Strike] = field(default_factory=dict)

    async def strike(self, strike: Strike) -> None:
        """Let one misfortune happen and end."""
        acts: dict[str, Callable[[Strike], Coroutine[Any, Any, None]]] = {
            "killed": self._killed,
            "fault": self._fault,
            "broker_killed": self._broker_killed,
            "broker_memory_alarm": self._broker_alarm,
            "broker_cut": lambda each: self._cut(self.to_broker, each),
            "database_cut": lambda each: self._cut(self.to_database, each),
            "database_restarted": self._database_restarted,
            "database_read_only": self._database_read_only,
            "database_full": self._database_full,
        }
        await acts[strike.kind](strike)
        self.struck.append(str(strike))

    async def _killed(self, strike: Strike) -> None:
        await self.hub.kill(strike.target)
        await asyncio.sleep(0.3)
        await self.hub.start(strike.target)

    async def _fault(self, strike: Strike) -> None:
        made = await self.hub.provider.post("/faults", kind=strike.target, **dict(strike.details))
        self.faults[made["id"]] = strike

    async def _broker_killed(self, strike: Strike) -> None:
        await self.ground.broker.kill()
        await asyncio.sleep(strike.seconds)
        await self.ground.broker.start()

    async def _broker_alarm(self, strike: Strike) -> None:
        await self.ground.broker.pause()
        await asyncio.sleep(strike.seconds)
        await self.ground.broker.resume()

    async def _cut(self, proxy: Proxy, strike: Strike) -> None:
        proxy.cut()
        await asyncio.sleep(strike.seconds)
        proxy.mend()

    async def _database_restarted(self, _strike: Strike) -> None:
        await asyncio.to_thread(self.ground.postgres.restart)

    async def _database_read_only(self, strike: Strike) -> None:
        await self._execute(f'ALTER DATABASE "{self.database_name}" SET default_transaction_read_only = on')
        self.to_database.cut()  # as after a fail-over: the connections end, and the new ones find a standby
        self.to_database.mend()
        await asyncio.sleep(strike.seconds)
        await self._execute(f'ALTER DATABASE "{self.database_name}" RESET default_transaction_read_only')
        self.to_database.cut()
        self.to_database.mend()

    async def _database_full(self, strike: Strike) -> None:
        await self._execute(f'ALTER DATABASE "{self.database_name}" CONNECTION LIMIT 1')
        self.to_database.cut()
        self.to_database.mend()
        await asyncio.sleep(strike.seconds)
        await self._execute(f'ALTER DATABASE "{self.database_name}" CONNECTION LIMIT -1')

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.ground.postgres.url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def missed(self) -> list[str]:
        """Planned misfortunes that never struck: a storm without them proves nothing."""
        told = {each["id"]: each for each in await self.hub.provider.get("/faults")}
        never = [str(strike) for number, strike in self.faults.items() if not told[number]["struck"]]
        return never + [str(each) for each in self.storm.strikes if str(each) not in self.struck]


async def ride_out(storm: Storm, ground: Ground, *, environment: dict[str, str] | None = None) -> Verdict:
    """Let a seed's storm rage over a fresh database and a fresh virtual host; the verdict."""
    began = time.monotonic()
    verdict = Verdict(storm.seed)
    name = f"chaos_{storm.seed}_{time.time_ns()}"
    await _create(ground.postgres.url, name)
    direct = services.database_named(ground.postgres.url, name)
    await migrate(direct)
    amqp = urlsplit(ground.broker.fresh())
    assert amqp.port is not None
    with tempfile.TemporaryDirectory(prefix="hub-chaos-") as folder:
        logs = Path(folder) / "logs"
        logs.mkdir()
        (Path(folder) / "pg").mkdir()
        async with (
            tcp_proxy(amqp.port) as to_broker,
            socket_proxy(Path(folder) / "pg", ground.postgres.folder) as to_database,
        ):
            through_broker = urlunsplit(amqp._replace(netloc=amqp.netloc.replace(str(amqp.port), str(to_broker.port))))
            through_socket = direct.replace(str(ground.postgres.folder), str(Path(folder) / "pg"))
            async with distributed_hub(
                through_socket, through_broker, logs, *WORLD, start=(), environment=COMPRESSED | (environment or {})
            ) as hub:
                hub.database = await Database.connect(direct, size=4)
                try:
                    weather = Weather(storm, hub, ground, to_broker, to_database, name)
                    await _rage(weather, urlunsplit(amqp))
                    await _quiet(weather, verdict)
                    await judge(hub, verdict, logs)
                    verdict.notes += [f"never struck: {each}" for each in await weather.missed()]
                finally:
                    await hub.database.close()
    verdict.seconds = round(time.monotonic() - began, 1)
    return verdict


async def _create(url: str, name: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()


async def _rage(weather: Weather, amqp_url: str) -> None:
    hub, storm = weather.hub, weather.storm
    await hub.provider.post("/clock", offset_seconds=storm.clock_offset)
    for service, copies in storm.replicas.items():
        await hub.start(service, copies)
    gremlin = asyncio.create_task(Gremlin(amqp_url, Random(storm.seed)).run())
    platform = asyncio.create_task(hub.supervise())
    await hub.onboard()
    await hub.provider.post("/pace", per_second=4, kinds=MORNING)
    began = time.monotonic()
    strikes = []
    for strike in storm.strikes:
        await asyncio.sleep(max(0.0, strike.at - (time.monotonic() - began)))
        strikes.append(asyncio.create_task(weather.strike(strike)))
    await asyncio.sleep(max(0.0, STORM_SECONDS - (time.monotonic() - began)))
    await asyncio.gather(*strikes)
    await hub.provider.post("/pace", per_second=0)
    for task in (gremlin, platform):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def stuck(hub: Hub) -> list[str]:
    """What still waits, for whoever looks at a bad seed."""
    rows = await hub.database.fetch(
        "SELECT kind, state, race_id, attempt, error_code, extract(epoch FROM now() - requested_at)::int AS age"
        " FROM sync_runs WHERE state IN ('queued', 'requested', 'running', 'fetched') ORDER BY requested_at LIMIT 10"
    )
    keys = await hub.database.fetch("SELECT state, state_reason, last_discovered_at FROM credentials")
    races = await hub.database.fetch(
        "SELECT state, state_reason, last_full_at IS NULL AS unloaded, count(*) FROM race_sync GROUP BY 1, 2, 3"
    )
    return [f"waits: {dict(row)}" for row in (*rows, *keys, *races)]


async def _quiet(weather: Weather, verdict: Verdict) -> None:
    """Everything is healed; the hub has so long to be in step again, asked as an operator asks."""
    hub = weather.hub
    platform = asyncio.create_task(hub.supervise())
    try:
        await _settle(hub, verdict)
    finally:
        platform.cancel()
        await asyncio.gather(platform, return_exceptions=True)


async def _settle(hub: Hub, verdict: Verdict) -> None:
    try:
        await until(hub.loaded, "every race to be loaded after the storm", QUIET_SECONDS)
    except AssertionError:
        verdict.notes += await stuck(hub)  # and go on: what is missing will be counted
    deadline = time.monotonic() + QUIET_SECONDS
    while True:
        await hub.ask_for_everything()
        found = await hub.compare()
        settled = not await hub.count("SELECT count(*) FROM change_batches WHERE feed_first IS NULL")
        watched = not await hub.count("SELECT count(*) FROM change_batches WHERE watched_at IS NULL")
        if (found.is_clean and settled and watched) or time.monotonic() > deadline:
            break
    verdict.duplicates_swallowed = await hub.count(
        "SELECT coalesce(sum(attempt - 1), 0) FROM sync_runs WHERE attempt > 1"
    )
