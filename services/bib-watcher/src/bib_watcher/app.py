"""The bib-watcher, put together."""

import structlog

from bib_watcher.handlers import sweep
from bib_watcher.settings import BibWatcherSettings
from shared.bus.port import Delivery
from shared.bus.topology import WATCH_QUEUE
from shared.clock import wait
from shared.errors import Later
from shared.runtime import House
from shared.runtime.consuming import consume_until_stopping
from shared.settings import load

log = structlog.get_logger()


async def run(house: House, settings: BibWatcherSettings | None = None) -> None:
    """Read the feed whenever a message or a notification says so, and every few seconds anyway."""
    settings = settings or load(BibWatcherSettings)
    bell = house.bells.bell("feed", "run")  # a run's diffs are acted on when it is over

    async def on_participants_changed(_delivery: Delivery) -> None:
        """There is something new in the feed."""
        bell.set()

    async def loop() -> None:
        while not house.stopping.is_set():
            house.beat("bib-watcher")
            try:
                if not await sweep(house, settings):
                    await wait(house.clock, bell, settings.sweep_seconds)
            except Later as error:
                log.warning("The bib-watcher waits.", action="bib_watcher_waits", error=str(error))
                await house.clock.sleep(1.0)

    consumer = await house.bus.consume([WATCH_QUEUE], on_participants_changed, concurrency=1, prefetch=50)
    await consume_until_stopping(house, [consumer], loop())
