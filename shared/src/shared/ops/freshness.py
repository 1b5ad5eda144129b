"""How fresh races are, against what the schedule promises. Plain functions over values."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf

from shared.domain.cadence import Cadence, Pace
from shared.domain.schedule import Span, kept_until, nearest_start, pace_at


@dataclass(frozen=True, slots=True)
class Watched:
    """A race that is polled, with its events that are still of interest."""

    partner_id: int
    race_id: str
    name: str | None
    spans: Sequence[Span]
    cadence: Cadence  # its own, stretched where the hour does not fit its key's budget
    last_confirmed_at: datetime | None  # first call of the last complete run
    pace_since: datetime | None  # None: the schedule has not looked at it yet


@dataclass(frozen=True, slots=True)
class Freshness:
    """What is known of a race's age: None, it was never loaded."""

    partner_id: int
    race_id: str
    name: str | None
    pace: Pace
    starts_at: datetime | None  # the start that it is followed by
    age: timedelta | None
    promised: timedelta
    is_late: bool

    def rank(self, now: datetime) -> tuple[bool, int, timedelta, float]:
        """What a race director would notice first comes first: a broken promise, the nearer pace, the nearer start."""
        away = timedelta.max if self.starts_at is None else abs(self.starts_at - now)
        over = -inf if self.age is None else -(self.age / self.promised)
        return not self.is_late, self.pace.distance, away, over


def judge(race: Watched, now: datetime) -> Freshness | None:
    """How old a race is, and whether that is older than promised.

    One that is not loaded yet has a promise's time for it, from when it is followed so. None: it is over.
    """
    pace = pace_at(race.spans, now, race.cadence)
    if pace is None:
        return None
    confirmed, promised = race.last_confirmed_at, race.cadence.promised(pace)
    if confirmed is not None:
        is_late = now > kept_until(race.spans, confirmed, race.cadence)
    else:
        is_late = race.pace_since is not None and now > race.pace_since + promised
    return Freshness(
        race.partner_id,
        race.race_id,
        race.name,
        pace,
        nearest_start(race.spans, now, race.cadence),
        None if confirmed is None else max(timedelta(0), now - confirmed),
        promised,
        is_late,
    )


def worst(races: Sequence[Freshness], *paces: Pace) -> timedelta | None:
    """The greatest age at some paces."""
    return max((race.age for race in races if race.pace in paces and race.age is not None), default=None)
