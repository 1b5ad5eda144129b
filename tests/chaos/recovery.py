"""`python -m tests.chaos.recovery [times]`: how long until the work goes on after kill -9 of each part.

The work goes on when something that happened at the provider after the kill stands in the tables (for the bib-watcher:
in the bib history). What was killed is started again at once; a race-day race is asked for each three seconds, a dead
fetcher's lease lasts three. So this measures the pipeline, not the schedule.
"""

import asyncio
import logging
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from tests import services
from tests.acceptance.house import until
from tests.chaos.plan import Storm
from tests.chaos.service import SERVICES
from tests.chaos.storm import place
from tests.chaos.weather import Ground, Weather

PARTS = (*SERVICES, "broker", "database")


async def recovery(weather: Weather, part: str) -> float:
    """Seconds from the kill until a bib given after it is known."""
    hub = weather.hub
    race = await hub.database.fetchval(
        "SELECT race_id FROM race_sync WHERE state = 'active' AND pace = 'raceday' LIMIT 1"
    )
    began = time.monotonic()
    match part:
        case "broker":
            await weather.ground.broker.kill()
            await weather.ground.broker.start()
        case "database":
            await asyncio.to_thread(weather.ground.postgres.restart)
        case _:
            await hub.kill(part)
            await hub.start(part)
    changes: list[dict[str, Any]] = await hub.provider.post("/mutate", kind="bib_given", race_id=race)
    wearer, bib = str(changes[0]["registration_id"]), str(changes[0]["after"])

    async def known() -> bool:
        statement = "SELECT count(*) FROM bib_history WHERE registration_id = $1 AND after = $2"
        return bool(await weather.patiently(statement, wearer, bib))

    await until(known, f"the bib after the {part} died", 120)
    return time.monotonic() - began


async def measure(times: int, ground: Ground) -> dict[str, list[float]]:
    """Each part, one after the other, over one running hub."""
    took: dict[str, list[float]] = {part: [] for part in PARTS}
    with tempfile.TemporaryDirectory(prefix="hub-chaos-") as folder:
        async with place(Storm(seed=0, strikes=()), ground, Path(folder)) as weather:
            for service in SERVICES:
                await weather.hub.start(service)
            platform = asyncio.create_task(weather.hub.supervise())
            await weather.hub.onboard()
            await until(weather.hub.loaded, "the first load", 120)
            try:
                for _ in range(times):
                    for part in PARTS:
                        took[part].append(await recovery(weather, part))
            finally:
                platform.cancel()
                await asyncio.gather(platform, return_exceptions=True)
    return took


def main() -> int:
    """Print the table."""
    logging.disable(logging.CRITICAL)
    reaper = services.Reaper()
    try:
        ground = Ground(services.get_breakable_broker(reaper), services.WheelDatabase(reaper))
        took = asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 5, ground))
    finally:
        reaper.close()
    print("| killed | times | median s | worst s |\n| --- | --: | --: | --: |")
    for part, seconds in took.items():
        print(f"| {part.replace('_', '-')} | {len(seconds)} | {median(seconds):.1f} | {max(seconds):.1f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
