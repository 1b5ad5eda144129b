"""One seed: the real pipeline, the misfortunes, the quiet, the verdict."""

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from random import Random
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from shared.domain.run import Mode
from shared.postgres import Database
from shared.postgres.migrate import migrate
from shared.postgres.roles import grant
from tests import services
from tests.acceptance.house import distributed_hub, until
from tests.chaos.feed import Snapshot, take_snapshot
from tests.chaos.gremlin import Gremlin
from tests.chaos.judging import MARKERS, Verdict, judge
from tests.chaos.plan import Storm
from tests.chaos.proxy import socket_proxy, tcp_proxy
from tests.chaos.service import SERVICES, SWALLOWED
from tests.chaos.weather import Doors, Ground, Weather

WORLD = (
    "--partners", "3", "--events", "40", "--future-events", "30", "--people", "2600", "--future-people", "2000",
    "--largest-event", "700",
)  # fmt: skip

#: Minutes outside, seconds here; small pages, so that something is always in the middle of one.
COMPRESSED = {
    "HUB_PAGE_SIZE": "100",
    "HUB_INTERVAL_RACEDAY_SECONDS": "3",
    "HUB_INTERVAL_NEAR_SECONDS": "6",
    "HUB_INTERVAL_FAR_SECONDS": "10",
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
    "HUB_DATABASE_CONNECTIONS": "6",
}
FULL_PASSES = {"HUB_FULL_PASS_HOURS": "0.001"}  # every 3.6 seconds
MORNING = {
    "registered": 6, "edited": 8, "bib_given": 16, "bib_changed": 6, "bib_swapped": 4, "bib_cleared": 2,
    "bib_given_twice": 2, "checked_in": 2, "refunded": 4, "transferred": 4, "deferred": 2, "cleared": 2, "restored": 2,
    "removed_edited": 2, "start_moved": 2, "event_added": 1,
}  # fmt: skip
PER_SECOND = 8
START_SECONDS = 45.0
ROLE = "storm"  # no superuser: they are exempt from the limit of connections


async def ride_out(storm: Storm, ground: Ground) -> Verdict:
    """Let a seed's storm rage over a fresh database and a fresh virtual host; the verdict."""
    began = time.monotonic()
    verdict = Verdict(storm.seed)
    with tempfile.TemporaryDirectory(prefix="hub-chaos-") as folder:
        async with place(storm, ground, Path(folder)) as weather:
            await _rage(weather, verdict)
            verdict.notes += [f"never struck: {each}" for each in weather.missed()]
    verdict.seconds = round(time.monotonic() - began, 1)
    return verdict


@asynccontextmanager
async def place(storm: Storm, ground: Ground, folder: Path) -> AsyncIterator[Weather]:
    """A hub over a fresh database and virtual host, each service behind doors of its own."""
    name = f"chaos_{storm.seed}_{time.time_ns()}"
    url = await _create(ground.postgres.url, name)
    await migrate(url)
    await grant(url, {})
    amqp = urlsplit(ground.broker.fresh())
    assert amqp.port is not None
    for each in ("logs", "orders", *SERVICES):
        (folder / each).mkdir()
    async with AsyncExitStack() as stack:
        doors = {
            service: Doors(
                await stack.enter_async_context(tcp_proxy(amqp.port)),
                await stack.enter_async_context(socket_proxy(folder / service, ground.postgres.folder)),
            )
            for service in SERVICES
        }
        skew = count()

        def command(service: str, environment: dict[str, str]) -> tuple[tuple[str, ...], dict[str, str]]:
            netloc = amqp.netloc.replace(str(amqp.port), str(doors[service].broker.port))
            return (sys.executable, "-m", "tests.chaos.service", service), {
                **environment,
                "HUB_AMQP_URL": urlunsplit(amqp._replace(netloc=netloc)),
                "HUB_DATABASE_URL": services.under(
                    url.replace(str(ground.postgres.folder), str(folder / service)), f"hub_{service}"
                ),
                "HUB_METRICS_PORT": str(services.free_port()),
                "CHAOS_ORDERS": str(folder / "orders"),
                "CHAOS_SKEW": str(storm.skews[next(skew) % len(storm.skews)]),
                "CHAOS_WITHOUT": storm.without,
            }

        environment = COMPRESSED | (FULL_PASSES if storm.full_passes else {}) | dict(storm.settings)
        hub = await stack.enter_async_context(
            distributed_hub(
                url,
                urlunsplit(amqp),
                folder / "logs",
                *(storm.world or WORLD),
                start=(),
                environment=environment,
                command=command,
            )
        )
        yield Weather(storm, hub, ground, doors, folder / "orders", name, url)


async def _create(url: str, name: str) -> str:
    """A database that belongs to an ordinary role; its address as that role."""
    connection = await asyncpg.connect(url)
    try:
        with contextlib.suppress(asyncpg.DuplicateObjectError):
            await connection.execute(f"CREATE ROLE {ROLE} LOGIN")
        await services.make_roles(url, member=ROLE)
        await connection.execute(f'CREATE DATABASE "{name}" OWNER {ROLE}')
    finally:
        await connection.close()
    parts = urlsplit(services.database_named(url, name))
    return urlunsplit(parts._replace(netloc=f"{ROLE}:@"))


async def _rage(weather: Weather, verdict: Verdict) -> None:
    hub, storm = weather.hub, weather.storm
    await hub.provider.post("/clock", offset_seconds=storm.clock_offset)
    secrets = [each.secret for each in await hub.provider.partners()]
    gremlin = Gremlin(hub.environment["HUB_AMQP_URL"], Random(storm.seed), [*MARKERS, *secrets])
    for service, copies in storm.replicas.items():
        await hub.start(service, copies)
    haunting = asyncio.create_task(gremlin.run())
    platform = asyncio.create_task(hub.supervise())
    try:
        await until(hub.all_there, "every process to be there before the storm", START_SECONDS)
        await gremlin.listening.wait()
        if any(each.kind == "broker_killed" for each in storm.strikes):
            await asyncio.sleep(services.SETTLED_SECONDS)
        snapshot = await _storm(weather)
        gremlin.stop()
        await haunting
        await _settle(weather, verdict)
        verdict.duplicates_delivered = gremlin.batches
        verdict.duplicates_swallowed = _swallowed(weather.orders)
        verdict.struck = sorted({f"{each.kind} {each.target}".strip() for each in weather.struck})
        verdict.leaked += gremlin.leaks
        verdict.over_budget += weather.over_budget
        if not (gremlin.sent and gremlin.headers):
            verdict.notes.append("never struck: messages twice, late and out of order")
        await judge(hub, verdict, snapshot, secrets)
    finally:
        for task in (haunting, platform):
            task.cancel()
        await asyncio.gather(haunting, platform, return_exceptions=True)


async def _storm(weather: Weather) -> Snapshot:
    """Partners are entered, the morning goes on, misfortunes strike; what the tables were in its middle."""
    hub, storm = weather.hub, weather.storm
    await hub.onboard()
    if storm.begins_loaded:
        await until(hub.loaded, "every race to be loaded before the storm", START_SECONDS)
    kinds = {kind: weight for kind, weight in MORNING.items() if kind in (storm.kinds or MORNING)}
    await hub.provider.post("/pace", per_second=PER_SECOND, kinds=kinds)
    began = time.monotonic()

    async def later(seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds - (time.monotonic() - began)))

    async def photograph() -> Snapshot:
        await later(storm.seconds * 0.6)
        return await take_snapshot(weather.database_url)

    picture = asyncio.create_task(photograph())
    strikes = []
    for strike in storm.strikes:
        await later(strike.at)
        strikes.append(asyncio.create_task(weather.strike(strike)))
    await later(storm.seconds)
    await asyncio.gather(*strikes)
    await weather.faults_struck()
    await hub.provider.post("/pace", per_second=0)
    return await picture


def _swallowed(orders: Path) -> int:
    book = orders / SWALLOWED.name
    return len(book.read_text()) if book.exists() else 0


async def _settle(weather: Weather, verdict: Verdict) -> None:
    """Everything is healed; the hub has so long to be in step again, asked as an operator asks."""
    hub, began = weather.hub, time.monotonic()
    try:
        await until(hub.loaded, "every race to be loaded after the storm", weather.storm.quiet)
    except AssertionError:
        verdict.notes += await waiting(hub.database)  # and go on: what is missing will be counted
    mode = Mode.INCREMENTAL
    while True:
        try:
            await hub.ask_for_everything(mode)
        except AssertionError:
            verdict.notes += await waiting(hub.database)
        found = await hub.compare()
        told = not await hub.count("SELECT count(*) FROM change_batches WHERE watched_at IS NULL")
        if (found.is_clean and told and await hub.has_every_event()) or time.monotonic() > began + weather.storm.quiet:
            break
        if not found.is_clean and weather.storm.lies:
            mode = Mode.FULL  # what the night would bring: only a full pass can know that it was lied to
            verdict.full_pass = True
    verdict.settled_seconds = round(time.monotonic() - began, 1)


async def waiting(database: Database) -> list[str]:
    """What still waits, for whoever looks at a bad seed."""
    rows = await database.fetch(
        "SELECT kind, state, race_id, attempt, error_code, extract(epoch FROM now() - requested_at)::int AS age"
        " FROM sync_runs WHERE state IN ('queued', 'requested', 'running', 'fetched') ORDER BY requested_at LIMIT 10"
    )
    keys = await database.fetch("SELECT state, state_reason, last_discovered_at FROM credentials")
    races = await database.fetch(
        "SELECT state, state_reason, last_full_at IS NULL AS unloaded, count(*) FROM race_sync GROUP BY 1, 2, 3"
    )
    return [f"waits: {dict(row)}" for row in (*rows, *keys, *races)]
