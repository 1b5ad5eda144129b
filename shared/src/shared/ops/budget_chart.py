"""A key's coming days as text: a line a day, a block an hour, and sentences for the hours that do not fit."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from shared.domain.budget import HOUR
from shared.domain.cadence import Cadence
from shared.domain.forecast import Hour
from shared.ops.show import many

BLOCKS = " ▁▂▃▄▅▆▇█"
#: An hour that does not fit.
OVER = "!"


def block(hour: Hour) -> str:
    """One hour: how much of what is usable it wants."""
    if not hour.fits:
        return OVER
    return BLOCKS[max(1 if hour.wanted else 0, min(8, round(8 * hour.wanted / hour.usable)))]


def days(hours: Sequence[Hour]) -> Iterator[str]:
    """A ruler of hours, and a line a day of UTC with its busiest one."""
    yield f"{'':12}00    06    12    18"
    by_day: dict[object, list[Hour]] = {}
    for hour in hours:
        by_day.setdefault(hour.begins_at.date(), []).append(hour)
    for of_day in by_day.values():
        first = of_day[0].begins_at
        blocks = " " * first.hour + "".join(block(hour) for hour in of_day)
        busiest = max(of_day, key=lambda hour: hour.wanted)
        yield (
            f"{first:%a %m-%d}  |{blocks:<24}|  {busiest.wanted:5,.0f} of {busiest.usable:,} "
            f"at {busiest.begins_at:%H:%M}"
        )


def spells(hours: Sequence[Hour]) -> list[list[Hour]]:
    """Hours that do not fit, those in a row together when they are stretched alike."""
    found: list[list[Hour]] = []
    for hour in hours:
        if hour.fits:
            continue
        last = found[-1][-1] if found else None
        if last is not None and (last.begins_at + HOUR, last.interval) == (hour.begins_at, hour.interval):
            found[-1].append(hour)
        else:
            found.append([hour])
    return found


def sentence(spell: Sequence[Hour], cadence: Cadence) -> str:
    """What a spell of hours that do not fit means."""
    begin, end = spell[0].begins_at, spell[-1].begins_at + HOUR
    worst = max(spell, key=lambda hour: hour.wanted)
    head = f"{begin:%a %m-%d %H:%M}-{end:%H:%M} UTC: {worst.wanted:,.0f} calls wanted of {worst.usable:,}"
    asked = []
    if worst.interval is not None:
        instead = f"{seconds(worst.interval.total_seconds())} instead of {seconds(cadence.raceday.total_seconds())}"
        asked.append(f"{many(worst.raceday_races, 'race')} asked for every {instead}")
    if worst.slowdown > 1:
        asked.append(slower(worst.slowdown))
    return f"{head}; {', '.join(asked)}."


def slower(slowdown: float) -> str:
    """How what is not race day is asked for, where that does not fit either."""
    return f"what is not race day at {slowdown:.1f} times its intervals"


def seconds(number: float) -> str:
    """A number of seconds."""
    return f"{number:,.0f} s"


def until(moment: datetime) -> str:
    """The hour by which somebody else's calls count no more."""
    return f"{moment + HOUR:%H:%M}"
