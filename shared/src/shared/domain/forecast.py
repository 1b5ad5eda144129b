"""What a key's races will cost, hour by hour, and which hours do not fit. Plain functions over values.

The same schedule by which races are asked for, walked ahead in time: so the forecast cannot promise what the scheduler
does not do, nor the other way round.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import accumulate, pairwise
from math import ceil

from shared.domain.budget import HOUR
from shared.domain.cadence import Cadence, Pace
from shared.domain.schedule import Span, openings, pace_at

#: Race-day work gets at least this share of what is usable, whatever the slower paces want: they wait before it does.
RACEDAY_SHARE = 0.25
#: A stretched hour leaves so much of what is usable to what nobody foresees: follow-ups of bib changes, second tries.
#: The reserve makes up for them where race day is concerned; the slower paces, who have none, would wait all morning.
#: (By `make weekend`: while bibs are handed out, the follow-ups of 40 races want 100 to 200 calls of an hour's 900.)
UNFORESEEN_SHARE = 0.15

#: What the full passes on the eve and hours before the gun ask for beside people: the ranges of the edition's bibs.
RANGES_CALLS = 1


@dataclass(frozen=True, slots=True)
class Load:
    """A race, as a forecast needs it."""

    spans: Sequence[Span]
    cadence: Cadence
    full_calls: int = 2  # of a full pass: its pages, and the empty one that proves the end


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour of a key."""

    begins_at: datetime
    raceday_races: int  # most at once
    raceday_calls: float  # unstretched
    other_calls: float
    usable: int  # calls of the hour that routine and race-day work may use
    interval: timedelta | None  # how often race-day races are asked for instead; None: it fits

    @property
    def wanted(self) -> float:
        """Calls, if nothing were stretched."""
        return self.raceday_calls + self.other_calls

    @property
    def fits(self) -> bool:
        """Everything can be asked for as often as its pace says."""
        return self.wanted <= self.usable

    @property
    def slowdown(self) -> float:
        """At how many times their intervals the slower paces are asked for, when race day's share leaves too little."""
        left = self.usable - min(self.raceday_calls, RACEDAY_SHARE * self.usable)
        return max(1.0, self.other_calls / left)

    @property
    def expected(self) -> float:
        """Calls that will be made."""
        return min(self.wanted, self.usable)


def stretched(races: int, calls_a_round: float, usable: float) -> timedelta:
    """The interval at which so many races fit: all alike, none starved."""
    return timedelta(seconds=ceil(races * HOUR.total_seconds() * calls_a_round / max(1.0, usable)))


def forecast(
    loads: Iterable[Load], begins_at: datetime, hours: int, usable: Sequence[int], steady: float = 0.0
) -> list[Hour]:
    """Each hour from ``begins_at`` on; ``usable`` per hour, ``steady`` calls an hour beside the races (discovery)."""
    until = begins_at + hours * HOUR
    raceday, other = _Series(begins_at, hours), _Series(begins_at, hours)
    other.add(begins_at, until, steady)
    steps: list[tuple[datetime, int]] = []
    dearest, shortest = [1.0] * hours, [HOUR] * hours
    for load in loads:
        cadence = load.cadence
        before: Pace | None = None
        for begin, end, pace in _stretches(load, begins_at, until):
            rate = cadence.calls_a_round * (HOUR / cadence.interval(pace))
            daily = load.full_calls * (HOUR / cadence.full_pass)
            if pace is Pace.RACEDAY:
                raceday.add(begin, end, rate)
            other.add(begin, end, daily if pace is Pace.RACEDAY else rate + daily)
            if pace in {Pace.RACEDAY, Pace.NEAR} and before is not None and pace.distance < before.distance:
                other.drop(begin, load.full_calls + RANGES_CALLS)
            if pace is Pace.RACEDAY:
                steps += [(begin, 1), (end, -1)]
                for number in range(int((begin - begins_at) / HOUR), ceil((end - begins_at) / HOUR)):
                    dearest[number] = max(dearest[number], cadence.calls_a_round)
                    shortest[number] = min(shortest[number], cadence.raceday)
            before = pace
    found = []
    raceday_calls, other_calls = raceday.calls(), other.calls()
    for number, races in enumerate(_most_at_once(steps, begins_at, hours)):
        hour = Hour(begins_at + number * HOUR, races, raceday_calls[number], other_calls[number], usable[number], None)
        if races and not hour.fits:
            room = max((1 - UNFORESEEN_SHARE) * hour.usable - hour.other_calls, RACEDAY_SHARE * hour.usable)
            interval = stretched(races, dearest[number], room)
            if interval > shortest[number]:
                hour = replace(hour, interval=interval)
        found.append(hour)
    return found


def _stretches(load: Load, begins_at: datetime, until: datetime) -> list[tuple[datetime, datetime, Pace]]:
    """The times during which a race keeps one pace."""
    cadence, points = load.cadence, {begins_at, until, *openings(load.spans, load.cadence)}
    for span in load.spans:
        if span.starts_at is not None:
            points.add(span.starts_at + span.repeats + cadence.after_start)
        if span.last_moment is not None:
            points |= {span.last_moment + cadence.after_start, span.last_moment + cadence.wanted}
        if span.fresh_until is not None:
            points.add(span.fresh_until + cadence.after_start)
    inside = sorted(each for each in points if begins_at <= each <= until)
    paces = [(begin, end, pace_at(load.spans, begin + (end - begin) / 2, cadence)) for begin, end in pairwise(inside)]
    return [(begin, end, pace) for begin, end, pace in paces if pace is not None]


class _Series:
    """Calls by the hour. A rate that holds for days is two steps, not a sum for each of its hours."""

    def __init__(self, begins_at: datetime, hours: int) -> None:
        self._begins_at = begins_at
        self._calls = [0.0] * (hours + 1)
        self._steps = [0.0] * (hours + 2)

    def add(self, begin: datetime, end: datetime, rate: float) -> None:
        """So many an hour, from then to then."""
        first, last = (begin - self._begins_at) / HOUR, (end - self._begins_at) / HOUR
        opening, closing = int(first), int(last)
        if opening == closing:
            self._calls[opening] += rate * (last - first)
            return
        self._calls[opening] += rate * (opening + 1 - first)
        self._calls[closing] += rate * (last - closing)
        self._steps[opening + 1] += rate
        self._steps[closing] -= rate

    def drop(self, at: datetime, calls: float) -> None:
        """So many at that instant."""
        self._calls[int((at - self._begins_at) / HOUR)] += calls

    def calls(self) -> list[float]:
        """Each hour's sum."""
        return [once + level for once, level in zip(self._calls, accumulate(self._steps), strict=False)][:-1]


def _most_at_once(steps: list[tuple[datetime, int]], begins_at: datetime, hours: int) -> list[int]:
    """The most of anything that goes on at once, in each hour."""
    ordered = sorted(steps)
    most, count, place = [], 0, 0
    for number in range(hours):
        begin = begins_at + number * HOUR
        highest = 0
        while place < len(ordered) and ordered[place][0] < begin + HOUR:
            if ordered[place][0] > begin:
                highest = max(highest, count)
            count += ordered[place][1]
            place += 1
        highest = max(highest, count)
        most.append(highest)
    return most
