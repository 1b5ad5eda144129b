"""How often a race is asked for: its pace, by the time to its start, and the interval and promise of each pace."""

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from shared.domain.run import SyncClass


class Pace(StrEnum):
    """How a race is followed at a moment, the nearest first."""

    RACEDAY = "raceday"
    NEAR = "near"
    ROUTINE = "routine"
    LONG = "long"  # virtual, or of several days from midnight on: kept fresh while people register, never chased
    TAIL = "tail"  # over: a late correction may still come; then it stops

    @property
    def distance(self) -> int:
        """Smaller is nearer."""
        return DISTANCES[self]

    @property
    def sync_class(self) -> SyncClass:
        """The class that its requests travel in."""
        return SyncClass(self.value) if self in {Pace.RACEDAY, Pace.NEAR} else SyncClass.ROUTINE


DISTANCES = {pace: number for number, pace in enumerate(Pace)}


@dataclass(frozen=True, slots=True)
class Cadence:
    """The intervals, and the windows before a start in which they hold."""

    far: timedelta = timedelta(hours=1)
    near: timedelta = timedelta(minutes=15)
    raceday: timedelta = timedelta(minutes=1)
    long: timedelta = timedelta(hours=1)
    tail: timedelta = timedelta(hours=6)
    near_window: timedelta = timedelta(hours=24)
    raceday_window: timedelta = timedelta(hours=4)
    after_start: timedelta = timedelta(hours=1)
    tail_window: timedelta = timedelta(hours=48)  # for so long after its last hour an event is looked at, slowly
    long_length: timedelta = timedelta(hours=24)  # a longer event that begins at midnight is not chased
    full_pass: timedelta = timedelta(hours=24)
    removals_every: int = 5
    jitter: float = 0.1

    @property
    def wanted(self) -> timedelta:
        """How long after its last moment an event is asked for at all."""
        return self.after_start + self.tail_window

    @property
    def calls_a_round(self) -> float:
        """What one look at a quiet race costs: a page of changes, and now and then the list of removed people."""
        return 1 + 1 / self.removals_every

    def interval(self, pace: Pace) -> timedelta:
        """How long between two asks."""
        return {
            Pace.RACEDAY: self.raceday,
            Pace.NEAR: self.near,
            Pace.ROUTINE: self.far,
            Pace.LONG: self.long,
            Pace.TAIL: self.tail,
        }[pace]

    def promised(self, pace: Pace) -> timedelta:
        """How old what is known of a race may be: twice the interval, and a minute more than it at the least."""
        interval = self.interval(pace)
        return max(2 * interval, interval + timedelta(minutes=1))

    def jittered(self, place: float) -> "Cadence":
        """One race's own: ``place`` is a number from 0 to 1, fixed for the race, that spreads races of one pace.

        It only ever asks earlier: each interval is shorter by up to ``jitter``, and a window opens earlier by up to
        the interval that begins with it; forty races with one start neither enter it together nor tick together.
        """
        share = 1 - self.jitter * place
        spread = place if self.jitter else 0
        return replace(
            self,
            far=self.far * share,
            near=self.near * share,
            raceday=self.raceday * share,
            long=self.long * share,
            tail=self.tail * share,
            near_window=self.near_window + self.near * spread,
            raceday_window=self.raceday_window + self.raceday * spread,
        )

    def stretched(self, least: timedelta | None, slowdown: float = 1.0) -> "Cadence":
        """The same in an hour that does not fit the budget: nobody is asked for more often than ``least``.

        Where race day's giving way is not enough, the slower paces are asked for at so many times their intervals.
        """
        if least is None and slowdown <= 1:
            return self
        least = least or timedelta(0)
        return replace(
            self,
            raceday=max(self.raceday, least),
            near=max(self.near * slowdown, least),
            far=max(self.far * slowdown, least),
            long=max(self.long * slowdown, least),
        )


#: How long after its last moment an event is asked for by whoever does not know better.
WANTED = Cadence().wanted
