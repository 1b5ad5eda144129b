"""What is due: when to ask for a race next, at which pace and in which mode. Plain functions over values.

The scheduler acts by them, and the forecast of a budget and `hub status` foresee and judge by the same ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from shared.domain.cadence import Cadence, Pace
from shared.domain.run import Mode

WEEK = timedelta(days=7)
NONE = timedelta(0)
INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Span:
    """An event's time: its gun and its last moment. Without an end, the gun is the last moment.

    Without a known start it is kept fresh and never chased.
    """

    starts_at: datetime | None
    ends_at: datetime | None
    closes_at: datetime | None = None  # registration
    is_long: bool = False
    repeats: timedelta = NONE  # the start stands in an hour that the clock repeats: the gun may be so much later

    @property
    def last_moment(self) -> datetime | None:
        """After this (an hour, and a slow tail), nobody asks for it any more. None: not known."""
        closes = self.closes_at if self.is_long and self.ends_at is None else None
        return max((each for each in (self.starts_at, self.ends_at, closes) if each is not None), default=None)

    @property
    def fresh_until(self) -> datetime | None:
        """A long event stays fresh until its registration ends, however long it still goes on."""
        last = self.last_moment
        if last is None or self.closes_at is None:
            return last
        return min(last, max(self.closes_at, self.starts_at or self.closes_at))


def span_of(
    starts_at: datetime | None,
    ends_at: datetime | None,
    closes_at: datetime | None,
    event_type: str | None,
    zone: tzinfo | None,
    cadence: Cadence,
) -> Span:
    """An event's span, from what the provider tells of it.

    Long is what is virtual by its type, what lasts longer than a day from midnight on (the race's own), and whatever
    lasts a week. An ultra of thirty hours that begins at six is chased: a wrong guess there costs the race director
    the morning, a wrong guess the other way some calls.
    """
    local = None if starts_at is None or zone is None else starts_at.astimezone(zone)
    length = NONE if starts_at is None or ends_at is None else ends_at - starts_at
    at_midnight = local is None or local.hour in {23, 0}
    is_long = "virtual" in (event_type or "").casefold() or length >= WEEK
    is_long |= length > cadence.long_length and at_midnight
    repeats = NONE
    if local is not None:
        repeats = (local.utcoffset() or NONE) - (local.replace(fold=1).utcoffset() or NONE)
    return Span(starts_at, ends_at, closes_at, is_long, max(NONE, repeats))


@dataclass(frozen=True, slots=True)
class RaceState:
    """What the schedule knows of a race."""

    spans: Sequence[Span]
    last_asked_at: datetime | None
    last_full_at: datetime | None
    round: int  # how often it was asked for
    has_cursor: bool  # every wanted event was fully synced once
    lacks_somebody: bool = False  # the last full pass was the first to lack them: another one is to decide


def pace_at(spans: Sequence[Span], at: datetime, cadence: Cadence) -> Pace | None:
    """How a race is followed at an instant: as its nearest event is. None when all of it is over."""
    paces = [each for each in (_span_pace(span, at, cadence) for span in spans) if each is not None]
    return min(paces, key=lambda each: each.distance, default=None)


def _span_pace(span: Span, at: datetime, cadence: Cadence) -> Pace | None:
    last = span.last_moment
    if last is None:
        return Pace.ROUTINE
    if at > last + cadence.wanted:
        return None
    if span.is_long or span.starts_at is None:
        calm = Pace.LONG if span.is_long else Pace.ROUTINE
        return calm if at <= (span.fresh_until or last) + cadence.after_start else Pace.TAIL
    to_start = span.starts_at - at
    if to_start > cadence.raceday_window:
        return Pace.ROUTINE if to_start > cadence.near_window else Pace.NEAR
    if at <= span.starts_at + span.repeats + cadence.after_start:
        return Pace.RACEDAY
    return Pace.ROUTINE if at <= last + cadence.after_start else Pace.TAIL


def nearest_start(spans: Sequence[Span], at: datetime, cadence: Cadence) -> datetime | None:
    """The start that a race is followed by: the next one still to come, and behind the last, that one for its hour."""
    followed = sorted(
        span.starts_at
        for span in spans
        if span.starts_at is not None and not span.is_long and at <= span.starts_at + span.repeats + cadence.after_start
    )
    return next((each for each in followed if each >= at), followed[-1] if followed else None)


def next_due(state: RaceState, now: datetime, cadence: Cadence) -> datetime | None:
    """When a race is to be asked for next: now or earlier means at once; None means never again.

    A window that opens before the interval has passed shortens the wait.
    """
    if pace_at(state.spans, now, cadence) is None:
        return None
    if state.last_asked_at is None:
        return now
    if not state.has_cursor:
        return state.last_asked_at + cadence.raceday  # a new event, or a first load that did not come back
    last = state.last_asked_at
    due = last + cadence.interval(pace_at(state.spans, last, cadence) or Pace.ROUTINE)
    for opens in openings(state.spans, cadence):
        if last < opens < due and (entered := pace_at(state.spans, opens, cadence)) is not None:
            due = min(due, max(opens, last + cadence.interval(entered)))
    return due


def kept_until(spans: Sequence[Span], confirmed_at: datetime, cadence: Cadence) -> datetime:
    """Until when the promise to a race is kept, if nothing is confirmed after that instant.

    A nearer pace promises from when it begins: nobody is late because a window has just opened.
    """
    until = confirmed_at + cadence.promised(pace_at(spans, confirmed_at, cadence) or Pace.ROUTINE)
    for opens in openings(spans, cadence):
        if confirmed_at < opens < until and (entered := pace_at(spans, opens, cadence)) is not None:
            until = min(until, opens + cadence.promised(entered))
    return until


def openings(spans: Sequence[Span], cadence: Cadence) -> list[datetime]:
    """The instants at which some event enters a nearer pace, in order."""
    windows = (cadence.near_window, cadence.raceday_window)
    starts = {span.starts_at for span in spans if span.starts_at is not None and not span.is_long}
    return sorted({start - window for start in starts for window in windows})


def entered_at(spans: Sequence[Span], now: datetime, cadence: Cadence) -> datetime | None:
    """When the race came into the nearer pace that it is in (T-24 h or T-4 h of its nearest start); None: it has not.

    A start that comes into its window while another one of the race is as near already changes nothing.
    """
    entered = None
    for opens in openings(spans, cadence):
        if opens > now:
            break
        before, after = pace_at(spans, opens - INSTANT, cadence), pace_at(spans, opens, cadence)
        if after is not None and (before is None or after.distance < before.distance):
            entered = opens
    return entered if pace_at(spans, now, cadence) in {Pace.NEAR, Pace.RACEDAY} else None


def mode_for(state: RaceState, now: datetime, cadence: Cadence) -> tuple[Mode, bool]:
    """Full or incremental, and whether removed people are asked for too.

    The first sync is full, then once a day, once each as the race comes within a day and within hours of its start,
    and behind one that lacked somebody; removals come with every fifth round and with each later full pass.
    """
    if not state.has_cursor or state.last_full_at is None:
        return Mode.FULL, state.last_full_at is not None
    entered = entered_at(state.spans, now, cadence)
    is_due = now - state.last_full_at >= cadence.full_pass or (entered is not None and state.last_full_at < entered)
    if is_due or state.lacks_somebody:
        return Mode.FULL, True
    return Mode.INCREMENTAL, state.round % cadence.removals_every == 0
