"""What a backfill will cost: people expected, calls, and how long they take. Plain functions over values."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import ceil

from pydantic import Field
from pydantic_settings import BaseSettings

from shared.settings import SOURCES

HOUR = timedelta(hours=1)
#: People of an event, until some event was loaded that says better.
USUAL_CROWD = 48.0
#: Seconds of a call, until some were made within the hour.
USUAL_CALL = 2.0


class Limits(BaseSettings):
    """The fetcher's own settings, read for what they leave to a backfill."""

    model_config = SOURCES

    calls_in_flight: int = Field(default=2, ge=1)
    reserve_share: float = Field(default=0.10, ge=0, lt=1)
    backfill_share: float = Field(default=0.50, gt=0, le=1)
    page_size: int = Field(default=2500, ge=50, le=2500)
    after_start_hours: float = Field(default=1, ge=0)

    def an_hour(self, limit: int) -> int:
        """Calls that a backfill may bring an hour's count to."""
        return min(limit - int(limit * self.reserve_share), max(1, int(limit * self.backfill_share)))


@dataclass(frozen=True, slots=True)
class KeyLoad:
    """The calls that a key has before it."""

    calls: int
    an_hour: int  # that a backfill may bring the count to
    counting: int  # calls that count now, whoever made them


def calls_of_race(events: int, crowd: float, page_size: int) -> int:
    """Calls for a race's past events: its pages, and the empty one that proves the end."""
    return ceil(events * crowd / page_size) + 1


def duration(loads: Iterable[KeyLoad], seconds_a_call: float, in_flight: int) -> timedelta:
    """How long all of it takes: the slower of the budget of its busiest key and of the calls in flight.

    A key's calls go out at once while it may; what is left then comes an hour's worth an hour.
    """
    every: Sequence[KeyLoad] = [each for each in loads if each.calls]
    line = timedelta(seconds=sum(each.calls for each in every) * seconds_a_call / in_flight)
    return max([line, *(_by_budget(each) for each in every)])


def _by_budget(load: KeyLoad) -> timedelta:
    now = max(0, load.an_hour - load.counting)
    return HOUR * ceil(max(0, load.calls - now) / load.an_hour)
