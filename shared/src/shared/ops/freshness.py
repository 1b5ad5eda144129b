"""How fresh races are, against what the schedule promises. Plain functions over values."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import Field
from pydantic_settings import BaseSettings

from shared.domain.run import SyncClass
from shared.settings import SOURCES

#: A race asked for each minute is at most two minutes old when all goes well: the wait, and the run itself.
PATIENCE = 2


class Promise(BaseSettings):
    """The schedule's own settings, read for what they promise (the scheduler's settings say more)."""

    model_config = SOURCES

    interval_far_seconds: int = Field(default=3600, ge=1)
    interval_near_seconds: int = Field(default=900, ge=1)
    interval_raceday_seconds: int = Field(default=60, ge=1)
    near_hours: float = Field(default=24, gt=0)
    raceday_hours: float = Field(default=4, gt=0)
    after_start_hours: float = Field(default=1, ge=0)

    def interval(self, sync_class: SyncClass) -> timedelta:
        """How often a race of this class is asked for."""
        match sync_class:
            case SyncClass.RACEDAY:
                return timedelta(seconds=self.interval_raceday_seconds)
            case SyncClass.NEAR:
                return timedelta(seconds=self.interval_near_seconds)
            case _:
                return timedelta(seconds=self.interval_far_seconds)


@dataclass(frozen=True, slots=True)
class Watched:
    """A race that is polled, with its events that are still of interest."""

    partner_id: int
    race_id: str
    starts: Sequence[datetime | None]  # of its events
    last_confirmed_at: datetime | None  # first call of the last complete run


@dataclass(frozen=True, slots=True)
class Freshness:
    """What is known of a race's age: None, it was never loaded."""

    partner_id: int
    race_id: str
    sync_class: SyncClass
    age: timedelta | None
    is_late: bool


def judge(race: Watched, promise: Promise, now: datetime) -> Freshness:
    """How old a race is, and whether that is older than promised; one that is not loaded yet is not late."""
    sync_class = min((_class(start, promise, now) for start in race.starts), key=lambda each: each.distance)
    age = None if race.last_confirmed_at is None else max(timedelta(0), now - race.last_confirmed_at)
    late = age is not None and age > PATIENCE * promise.interval(sync_class)
    return Freshness(race.partner_id, race.race_id, sync_class, age, late)


def _class(starts_at: datetime | None, promise: Promise, now: datetime) -> SyncClass:
    if starts_at is None or starts_at - now > timedelta(hours=promise.near_hours):
        return SyncClass.ROUTINE
    if starts_at - now > timedelta(hours=promise.raceday_hours):
        return SyncClass.NEAR
    return SyncClass.RACEDAY if now <= starts_at + timedelta(hours=promise.after_start_hours) else SyncClass.ROUTINE


def worst(races: Sequence[Freshness], sync_class: SyncClass) -> timedelta | None:
    """The greatest age in a class."""
    return max((race.age for race in races if race.sync_class is sync_class and race.age is not None), default=None)
