"""Which hours to come do not fit a key's budget: found days ahead, announced, and acted by when they come."""

import asyncio
from datetime import datetime, timedelta

import structlog

from scheduler.settings import SchedulerSettings
from shared.clock import wait
from shared.domain.forecast import Hour
from shared.errors import Later
from shared.postgres.forecasting import announce, foresee, load_budgets
from shared.runtime import House

log = structlog.get_logger()


#: A discovery is written in batches, and at a first start there is one of each key.
SETTLE_SECONDS = 10.0


async def foreseeing(house: House, settings: SchedulerSettings) -> None:
    """Plan now, soon after a discovery found something new, and every few minutes, until cancelled.

    Beside the ticks: many races take seconds to walk ahead.
    """
    bell = house.bells.bell("races")
    while True:
        try:
            await plan(house, settings, house.clock.now())
        except Later as error:
            log.warning("The plan waits.", action="plan_waits", error=str(error))
        await house.clock.sleep(min(SETTLE_SECONDS, settings.plan_seconds))
        await wait(house.clock, bell, max(0.0, settings.plan_seconds - SETTLE_SECONDS))


async def plan(house: House, settings: SchedulerSettings, now: datetime) -> None:
    """Walk every key's schedule ahead and keep what was found; one scheduler at a time, safe to repeat.

    In an hour that does not fit, each race-day race of the key is asked for at the same longer interval, and the slower
    paces too if need be: the ask reads it from here, and so does whoever tells an operator what is promised.
    """
    async with house.database.transaction("planning the hours to come") as connection:
        if not await connection.fetchval("SELECT pg_try_advisory_xact_lock(hashtextextended('hub:plan', 0))"):
            return
        keys = await load_budgets(connection, settings, now)
        planned = await asyncio.to_thread(lambda: [(key, foresee(key, settings, now)) for key in keys])
        found: dict[str, list[Hour]] = {}
        for key, hour in await announce(connection, planned, now):
            found.setdefault(key.fingerprint, []).append(hour)
    for fingerprint, hours in found.items():
        worst = max(hours, key=lambda hour: (hour.interval or timedelta(0), hour.slowdown))
        log.warning(
            "Some hours do not fit a key's budget: races will be asked for less often. See: hub budget",
            action="hours_stretched",
            key=fingerprint,
            hours=len(hours),
            first=hours[0].begins_at.isoformat(),
            worst=worst.begins_at.isoformat(),
            races=worst.raceday_races,
            seconds=None if worst.interval is None else int(worst.interval.total_seconds()),
            slowdown=round(worst.slowdown, 1),
            calls_wanted=round(worst.wanted),
            calls_usable=worst.usable,
        )
