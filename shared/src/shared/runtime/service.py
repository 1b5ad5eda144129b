"""Start, run and stop a service, in the order that loses nothing.

Start: settings → database → schema → broker → ready. Stop: stop consuming → finish what is in hand within the grace
period → close the broker → close the database.
"""

import asyncio
import gc
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from importlib.metadata import entry_points
from pathlib import Path
from random import Random
from typing import Any

import structlog

from shared.bus.lanes import Handled
from shared.bus.port import Bus
from shared.clock import Clock, SystemClock
from shared.errors import Later, Misconfigured, Stop, SyncError, advised
from shared.postgres import Database
from shared.postgres.beats import record_beat, retire
from shared.postgres.embedded import EmbeddedPostgres
from shared.postgres.migrate import migrate, require_current
from shared.runtime.house import House
from shared.runtime.relay import relay
from shared.runtime.traced import TracedBus
from shared.secrets import Sealer, new_key, no_key
from shared.settings import Settings
from shared.telemetry import metrics
from shared.telemetry.health import Health, serve
from shared.telemetry.logging import configure_logging
from shared.telemetry.tracing import configure_tracing

log = structlog.get_logger()

Service = Callable[[House], Coroutine[Any, Any, None]]

#: How often a process says in the database that it lives, and sets its clock by it.
BEAT_SECONDS = 2.0
CLOCK_SECONDS = 60.0


def services() -> dict[str, Service]:
    """The installed services, by name: whoever is installed can be run, and nobody is imported by name."""
    return {each.name: each.load() for each in entry_points(group="project88hub.services")}


def collect_less_often() -> None:
    """Let the garbage collector look at 20,000 new objects at a time, not at 700.

    A page or a batch is thousands of dicts at once, and none of them is part of a cycle: looked through again and
    again, they took an eighth of the writer's time (4.7 against 4.1 s for 100,000 new people, 1.3 against 1.1 for
    unchanged ones).
    """
    gc.set_threshold(20_000, 20, 20)


async def run(names: list[str], settings: Settings, *, guest: Service | None = None) -> None:
    """Run services in this process until told to stop (SIGTERM, Ctrl-C), or until the ``guest`` returns.

    Raises what ended them: Stop when a person has to act, Later when the database or the broker is not there.
    """
    collect_less_often()
    known = services()
    loop = asyncio.get_running_loop()
    async with open_house(settings, name="+".join(names)) as house, serving_health(settings):
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, house.stopping.set)
        try:
            await keep_running(house, {name: known[name] for name in names}, guest)
        finally:
            for each in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(each)


async def keep_running(house: House, members: dict[str, Service], guest: Service | None = None) -> None:
    """Run services in a house until it is stopping; one that dies takes the others with it.

    A ``guest`` uses the running house (the demo, a test); when it returns, the house stops.
    """
    side = [
        asyncio.create_task(house.database.listen(house.bells.ring), name="ear"),
        asyncio.create_task(relay(house), name="relay"),
        asyncio.create_task(beats(house, list(members)), name="beats"),
    ]
    work = [asyncio.create_task(service(house), name=name) for name, service in members.items()]
    visit = [asyncio.create_task(guest(house), name="guest")] if guest is not None else []
    halt = asyncio.create_task(house.stopping.wait(), name="stopping")
    Health.ready = True
    log.info("Running.", action="running", services=", ".join(members))
    try:
        done, _ = await asyncio.wait([*side, *work, *visit, halt], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {halt}:
            task.result()  # raises what ended it
    finally:
        log.info("Stopping: what is in hand is finished first.", action="stopping")
        Health.ready = False
        house.stopping.set()
        for task in visit:
            task.cancel()
        await asyncio.wait(work, timeout=house.settings.grace_seconds)
        for task in (*work, *side, halt):
            task.cancel()
        await asyncio.gather(*work, *side, *visit, halt, return_exceptions=True)
        log.info("Stopped.", action="stopped")


async def beats(house: House, names: list[str]) -> None:
    """Say in the database that these services live, and set the clock by the database's."""
    instance, started = house.new_id(), house.clock.now()
    try:
        while True:
            try:
                for name in names:
                    await record_beat(house.database, name, instance, started, house.clock.now())
                if isinstance(house.clock, SystemClock) and house.clock.age > CLOCK_SECONDS:
                    await house.database.set_clock(house.clock)
            except Later as error:
                log.warning("The database does not answer.", action="beat_missed", error=str(error))
            await house.clock.sleep(BEAT_SECONDS)
    finally:
        await asyncio.shield(retire(house.database, instance))


@asynccontextmanager
async def serving_health(settings: Settings) -> AsyncIterator[None]:
    """Liveness, readiness and metrics, where a port is set."""
    stop = serve(settings.metrics_host, settings.metrics_port) if settings.metrics_port else None
    try:
        yield
    finally:
        if stop is not None:
            stop()


@asynccontextmanager
async def open_house(
    settings: Settings, *, name: str, clock: Clock | None = None, random: Random | None = None
) -> AsyncIterator[House]:
    """Open everything a service needs and close it in reverse.

    Without an address, the database is the embedded one (migrated here, with a secret key of its own) and the bus is
    the in-process one. Raises Later, Stop.
    """
    random = random or Random()  # noqa: S311 — jitter and identifiers, not secrets
    address, embedded = settings.database(), None
    if address is None:
        embedded = EmbeddedPostgres(settings.home)
        address = await asyncio.to_thread(embedded.__enter__)
        await migrate(address)
    try:
        with advised("start the database, or correct HUB_DATABASE_URL"):
            await require_current(address)
            database = await Database.connect(address, size=settings.database_connections, name=f"hub:{name}")
        try:
            if clock is None:
                clock = SystemClock()
                await database.set_clock(clock)
            is_given = embedded is not None or settings.secret_key is not None
            key = sealer_of(settings, embedded is not None) if is_given else None
            with advised("start RabbitMQ, or correct HUB_AMQP_URL"):
                bus = await open_bus(settings, clock, random)
            end_tracing = configure_tracing(name, settings.otlp_endpoint) if settings.otlp_endpoint else None
            try:
                traced = TracedBus(bus) if end_tracing else bus
                yield House(settings, clock, random, database, traced, key, beat=Health.beat)
            finally:
                await bus.close()
                if end_tracing:
                    await asyncio.to_thread(end_tracing)
        finally:
            await database.close()
    finally:
        if embedded is not None:
            await asyncio.to_thread(embedded.__exit__, None, None, None)


async def open_bus(settings: Settings, clock: Clock, random: Random) -> Bus:
    """RabbitMQ when there is an address, else this process."""
    from shared.providers.registry import PROVIDERS

    if settings.amqp_url is None:
        from shared.bus.inprocess import InProcessBus

        return InProcessBus(clock=clock, random=random, providers=tuple(PROVIDERS), observe=count_message)
    from shared.amqp.bus import AmqpBus

    return await AmqpBus.connect(
        settings.amqp_url.get_secret_value(),
        clock=clock,
        random=random,
        providers=tuple(PROVIDERS),
        observe=count_message,
    )


def count_message(handled: Handled) -> None:
    """Every message that was handled, by queue and what became of it."""
    metrics.messages_handled.labels(handled.queue, handled.outcome).inc()


def sealer_of(settings: Settings, embedded: bool) -> Sealer:
    """What seals and opens keys. Raises Misconfigured."""
    return Sealer.from_text(secret_key(settings, embedded), settings.former_secret_keys.get_secret_value())


def secret_key(settings: Settings, embedded: bool) -> str:
    """The key that seals credentials; the embedded mode makes one for itself, once. Raises Misconfigured."""
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value()
    if not embedded:
        raise no_key()
    path: Path = settings.home / "secret.key"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(new_key())
    return path.read_text().strip()


def main(name: str) -> int:
    """The whole of a service's ``__main__``: settings, run, exit code (0 stopped, 1 failed, 2 wrong settings)."""
    from shared.settings import load

    try:
        settings = load(Settings)
        configure_logging(settings.log_format, settings.log_level)
        if settings.amqp_url is None:
            raise Misconfigured(
                f"HUB_AMQP_URL is not set; `python -m {name.replace('-', '_')}` runs one service of several, "
                "which meet at a broker (for all four in one process: hub up)"
            )
        asyncio.run(run([name], settings))
    except Misconfigured as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except (Stop, SyncError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    return 0
