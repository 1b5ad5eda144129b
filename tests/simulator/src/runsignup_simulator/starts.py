"""When editions and their events start and end: weekends, zones, virtual and multi-day events (product: sizing)."""

from __future__ import annotations

import random
from datetime import date, datetime, timedelta

from .plan import WorldPlan
from .spelling import zone

# The nine zones of the races, the common ones more often.
ZONES = (
    ("America/New_York", 40), ("America/Chicago", 22), ("America/Los_Angeles", 12), ("America/Denver", 8),
    ("America/Phoenix", 5), ("America/Detroit", 5), ("America/Boise", 3), ("America/Anchorage", 3),
    ("Pacific/Honolulu", 2),
)  # fmt: skip
START_TIMES = ((7, 0), (7, 30), (8, 0), (8, 0), (8, 0), (8, 30), (9, 0), (9, 0), (10, 0), (17, 30))
DAY = 86_400


def pick_zone(rng: random.Random) -> str:
    return rng.choices([name for name, _ in ZONES], [weight for _, weight in ZONES])[0]


def race_day(rng: random.Random, plan: WorldPlan, around: date) -> date:
    """A day near the one given: a Saturday or Sunday for 85 of 100, the same week."""
    if rng.random() >= plan.weekend_share:
        return around - timedelta(days=around.weekday()) + timedelta(days=rng.randrange(5))
    weekday = 5 if rng.random() < 0.7 else 6
    return around - timedelta(days=around.weekday()) + timedelta(days=weekday)


def first_start(rng: random.Random, day: date, timezone: str) -> int:
    """The first gun of the day, in the race's own zone, as an instant."""
    hour, minute = rng.choice(START_TIMES)
    return int(datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone(timezone)).timestamp())


def virtual_window(start: int, timezone: str, rng: random.Random) -> tuple[int, int]:
    """A virtual event runs from midnight of a day to the last minute of one some weeks later."""
    day = datetime.fromtimestamp(start, zone(timezone)).date()
    last = day + timedelta(days=rng.choice((14, 21, 30, 45)))
    tz = zone(timezone)
    opens = datetime(day.year, day.month, day.day, tzinfo=tz)
    closes = datetime(last.year, last.month, last.day, 23, 59, tzinfo=tz)
    return int(opens.timestamp()), int(closes.timestamp())


def event_times(
    rng: random.Random, plan: WorldPlan, gun: int, place: int, timezone: str, *, virtual: bool
) -> tuple[int, int | None]:
    """Start and end of the event at this place of the day's programme. Most events have no end (reference 6)."""
    if virtual:
        return virtual_window(gun, timezone, rng)
    start = gun + place * rng.choice((900, 1_800, 2_700))
    if rng.random() < plan.multi_day_share:
        return start, start + rng.choice((30, 48, 72)) * 3_600
    return start, start + rng.choice((2, 3, 6)) * 3_600 if rng.random() < 0.3 else None
