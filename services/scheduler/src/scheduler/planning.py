"""What is due: when to ask for a race next, in which class and mode. Plain functions over values.

The cadence: hourly, every 15 minutes within 24 h of a start, every minute within 4 h, until an hour past the last
moment of the events. A race with several starts follows the nearest one still of interest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain.run import Mode, SyncClass


@dataclass(frozen=True, slots=True)
class Cadence:
    """How often, by the time to the nearest start."""

    far: timedelta = timedelta(hours=1)
    near: timedelta = timedelta(minutes=15)
    raceday: timedelta = timedelta(minutes=1)
    near_window: timedelta = timedelta(hours=24)
    raceday_window: timedelta = timedelta(hours=4)
    after_start: timedelta = timedelta(hours=1)
    full_pass: timedelta = timedelta(hours=24)
    removals_every: int = 5
    jitter: float = 0.1


@dataclass(frozen=True, slots=True)
class Span:
    """An event's time: its gun and its last moment. Without an end, the gun is the last moment."""

    starts_at: datetime
    ends_at: datetime | None

    @property
    def last_moment(self) -> datetime:
        """After this (and an hour), nobody asks for it any more."""
        return max(self.starts_at, self.ends_at) if self.ends_at else self.starts_at


@dataclass(frozen=True, slots=True)
class RaceState:
    """What the schedule knows of a race."""

    spans: Sequence[Span]
    last_asked_at: datetime | None
    last_full_at: datetime | None
    round: int  # how often it was asked for
    has_cursor: bool  # every wanted event was fully synced once


def class_at(spans: Sequence[Span], at: datetime, cadence: Cadence) -> SyncClass | None:
    """How near a race is at an instant; None when all of it is over."""
    classes = [each for each in (_span_class(span, at, cadence) for span in spans) if each is not None]
    return min(classes, key=lambda each: each.distance, default=None)


def _span_class(span: Span, at: datetime, cadence: Cadence) -> SyncClass | None:
    if at > span.last_moment + cadence.after_start:
        return None
    to_start = span.starts_at - at
    if to_start > cadence.near_window:
        return SyncClass.ROUTINE
    if to_start > cadence.raceday_window:
        return SyncClass.NEAR
    if at <= span.starts_at + cadence.after_start:
        return SyncClass.RACEDAY
    return SyncClass.ROUTINE  # it goes on for days (virtual, multi-day): kept fresh, not chased


def interval(sync_class: SyncClass, cadence: Cadence) -> timedelta:
    """How long between two asks in a class."""
    match sync_class:
        case SyncClass.RACEDAY:
            return cadence.raceday
        case SyncClass.NEAR:
            return cadence.near
        case _:
            return cadence.far


def next_due(state: RaceState, now: datetime, cadence: Cadence, jitter: float) -> datetime | None:
    """When a race is to be asked for next: now or earlier means at once; None means never again.

    ``jitter`` is a number from 0 to 1, fixed for the race, that spreads races of one class over their interval: it
    only ever asks earlier. A window that opens before the interval has passed shortens the wait.
    """
    if class_at(state.spans, now, cadence) is None:
        return None
    if state.last_asked_at is None:
        return now
    if not state.has_cursor:
        return state.last_asked_at + cadence.raceday  # a new event, or a first load that did not come back
    last = state.last_asked_at
    due = _after(last, class_at(state.spans, last, cadence) or SyncClass.ROUTINE, cadence, jitter)
    for opens in sorted(_openings(state.spans, cadence)):
        if last < opens < due:
            entered = class_at(state.spans, opens, cadence)
            if entered is not None:
                due = min(due, max(opens, _after(last, entered, cadence, jitter)))
    return due


def _after(last: datetime, sync_class: SyncClass, cadence: Cadence, jitter: float) -> datetime:
    return last + interval(sync_class, cadence) * (1 - cadence.jitter * jitter)


def _openings(spans: Sequence[Span], cadence: Cadence) -> set[datetime]:
    """The instants at which some event enters a nearer class."""
    return {span.starts_at - window for span in spans for window in (cadence.near_window, cadence.raceday_window)}


def mode_for(state: RaceState, now: datetime, cadence: Cadence) -> tuple[Mode, bool]:
    """Full or incremental, and whether removed people are asked for too.

    The first sync is full, and once a day again; removals come with every fifth round and with each later full pass.
    """
    if not state.has_cursor or state.last_full_at is None:
        return Mode.FULL, state.last_full_at is not None
    if now - state.last_full_at >= cadence.full_pass:
        return Mode.FULL, True
    return Mode.INCREMENTAL, state.round % cadence.removals_every == 0
