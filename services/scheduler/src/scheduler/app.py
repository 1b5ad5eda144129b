"""The scheduler, put together."""

import asyncio
from datetime import timedelta
from pathlib import Path

import structlog

from scheduler import store
from scheduler.backfilling import feed
from scheduler.foreseeing import foreseeing
from scheduler.handlers import LEASE_GRACE, forget_messages, tick
from scheduler.looking import Look, look
from scheduler.measuring import measure
from scheduler.replaying import replaying
from scheduler.settings import SchedulerSettings
from shared.bus.port import Delivery
from shared.bus.topology import SCHEDULE_QUEUE
from shared.clock import wait
from shared.errors import Later
from shared.postgres import summary
from shared.postgres.truths import check
from shared.postgres.truths.every import TRUTHS
from shared.runtime import House
from shared.runtime.consuming import consume_until_stopping
from shared.settings import load
from shared.telemetry import metrics

log = structlog.get_logger()

MEASURE_EVERY = timedelta(seconds=15)
CHECK_EVERY = timedelta(minutes=5)
CLEAN_UP_EVERY = timedelta(minutes=5)
SUMMARISE_EVERY = timedelta(hours=1)


async def run(house: House, settings: SchedulerSettings | None = None) -> None:
    """Do what is due when it is, and look each second or as soon as something is told, until the house is stopping."""
    settings = settings or load(SchedulerSettings)
    house.sealer()  # without it a key that comes by SQL would stay in clear: said at the start
    bell = house.bells.bell("asked", "credential", "due")

    async def on_sync_completed(_delivery: Delivery) -> None:
        """A run is over: what waited for it may go on."""
        bell.set()

    consumer = await house.bus.consume([SCHEDULE_QUEUE], on_sync_completed, concurrency=1, prefetch=20)
    if not house.bus.is_durable:
        await forget_messages(house)
    await consume_until_stopping(
        house, [consumer], _looking(house, settings, bell), replaying(house), foreseeing(house, settings)
    )


async def _looking(house: House, settings: SchedulerSettings, bell: asyncio.Event) -> None:
    cleaned = house.clock.now()
    measured, summarised = cleaned - MEASURE_EVERY * 2, cleaned - SUMMARISE_EVERY * 2
    checked = cleaned  # the first look comes after a while: what was away is being caught up just now
    while not house.stopping.is_set():
        house.beat("scheduler")
        try:
            more = False
            seen = await _look(house, settings)
            if not seen.is_idle:
                with metrics.tick_seconds.time():
                    more = await tick(house, settings, seen)
                    await feed(house, settings, house.clock.now())
                seen = await _look(house, settings)
            if house.clock.now() - measured > MEASURE_EVERY:
                now, before = house.clock.now(), measured
                measured = now
                async with house.database.connection("measuring") as connection:
                    await measure(connection, now, min(now - before, MEASURE_EVERY * 4))
            if house.clock.now() - checked > CHECK_EVERY:
                checked = house.clock.now()
                await self_check(house)
            if settings.summary_file is not None and house.clock.now() - summarised > SUMMARISE_EVERY:
                summarised = house.clock.now()
                await summarise(house, settings.summary_file)
            if house.clock.now() - cleaned > CLEAN_UP_EVERY:
                cleaned = house.clock.now()
                async with house.database.transaction("cleaning up") as connection:
                    await store.clean_up(connection, cleaned, settings.archive_days)
            if not more:
                await wait(house.clock, bell, seen.wait_seconds(house.clock.now(), settings.tick_seconds))
        except Later as error:
            log.warning("The scheduler waits.", action="scheduler_waits", error=str(error))
            await house.clock.sleep(1.0)


async def _look(house: House, settings: SchedulerSettings) -> Look:
    unheard = timedelta(seconds=settings.request_seconds)
    async with house.database.connection("looking for what is due") as connection:
        return await look(connection, house.clock.now(), unheard=unheard, grace=LEASE_GRACE)


async def self_check(house: House) -> None:
    """Look at what must always be true; failures are a metric, and lines in `hub status`."""
    async with house.database.transaction("checking") as connection:
        for each in await check(connection, TRUTHS, house.clock.now()):
            metrics.checks_broken.labels(each.name).set(each.broken)
            if each.broken:
                log.warning(
                    each.means, action="check_broken", check=each.name, broken=each.broken, such_as=each.examples
                )


async def summarise(house: House, path: Path) -> None:
    """Write the day's summary; a folder that cannot be written to stops nothing."""
    async with house.database.connection("summarising") as connection:
        found = await summary.summarise(connection, house.clock.now())
    try:
        await asyncio.to_thread(summary.write, path, found)
    except OSError as error:
        log.warning("The summary cannot be written.", action="summary_unwritten", error=type(error).__name__)
