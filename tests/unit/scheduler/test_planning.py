"""When a race is asked for next, in which class and mode."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.planning import Cadence, RaceState, Span, class_at, interval, mode_for, next_due
from shared.domain.run import Mode, SyncClass
from tests.builders import NOON

CADENCE = Cadence()
START = NOON + timedelta(days=10)


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def a_state(
    spans: Sequence[Span] = (Span(START, None),),
    *,
    asked: datetime | None = None,
    full: datetime | None = NOON,
    round: int = 1,  # noqa: A002
    has_cursor: bool = True,
) -> RaceState:
    return RaceState(spans, asked, full, round, has_cursor)


def due(state: RaceState, now: datetime, jitter: float = 0.0) -> datetime | None:
    return next_due(state, now, CADENCE, jitter)


@pytest.mark.parametrize(
    ("to_start", "sync_class"),
    [
        (hours(240), SyncClass.ROUTINE),
        (hours(24) + minutes(1), SyncClass.ROUTINE),
        (hours(24), SyncClass.NEAR),
        (hours(4) + minutes(1), SyncClass.NEAR),
        (hours(4), SyncClass.RACEDAY),
        (hours(0), SyncClass.RACEDAY),
        (hours(-1), SyncClass.RACEDAY),
        (hours(-1) - minutes(1), None),
    ],
)
def test_the_class_follows_the_time_to_the_start(to_start: timedelta, sync_class: SyncClass | None) -> None:
    assert class_at([Span(START, None)], START - to_start, CADENCE) is sync_class


@pytest.mark.parametrize(
    ("to_start", "wait"), [(hours(200), minutes(60)), (hours(20), minutes(15)), (hours(3), minutes(1))]
)
def test_the_wait_is_the_interval_of_the_class(to_start: timedelta, wait: timedelta) -> None:
    asked = START - to_start
    assert due(a_state(asked=asked), asked) == asked + wait


@pytest.mark.parametrize(("window", "wait"), [(hours(24), minutes(15)), (hours(4), minutes(1))])
def test_a_window_that_opens_shortens_the_wait(window: timedelta, wait: timedelta) -> None:
    asked = START - window - minutes(7)
    expected = max(START - window, asked + wait)
    assert due(a_state(asked=asked), asked) == expected


def test_a_window_that_opens_asks_no_sooner_than_its_own_interval() -> None:
    asked = START - hours(24) - minutes(1)
    assert due(a_state(asked=asked), asked) == asked + minutes(15)


def test_a_race_with_several_starts_follows_the_nearest_of_interest() -> None:
    spans = [Span(START, None), Span(START + timedelta(days=1), None), Span(START - timedelta(days=1), None)]
    assert class_at(spans, START - hours(3), CADENCE) is SyncClass.RACEDAY
    assert class_at(spans, START + hours(2), CADENCE) is SyncClass.NEAR  # the first is over, the second is tomorrow


def test_the_second_start_opens_its_window_though_the_first_is_over() -> None:
    second = START + hours(10)
    asked = START + hours(5) + minutes(55)
    state = a_state([Span(START, None), Span(second, None)], asked=asked)
    assert due(state, asked) == second - hours(4)


def test_an_event_of_several_days_is_kept_fresh_not_chased_until_its_end() -> None:
    spans = [Span(START, START + timedelta(days=3))]
    assert class_at(spans, START + minutes(30), CADENCE) is SyncClass.RACEDAY
    assert class_at(spans, START + hours(2), CADENCE) is SyncClass.ROUTINE
    assert class_at(spans, START + timedelta(days=3, hours=1), CADENCE) is SyncClass.ROUTINE
    assert class_at(spans, START + timedelta(days=3, hours=1, minutes=1), CADENCE) is None


def test_an_end_before_the_start_ends_nothing_early() -> None:
    assert class_at([Span(START, START - hours(5))], START + minutes(59), CADENCE) is SyncClass.RACEDAY


def test_a_race_never_asked_for_is_due_at_once() -> None:
    assert due(a_state(asked=None), NOON) == NOON


def test_a_race_that_is_over_is_never_due_again() -> None:
    assert due(a_state(asked=START), START + hours(2)) is None
    assert due(a_state(asked=None), START + hours(2)) is None
    assert due(a_state([]), NOON) is None


def test_a_first_load_that_did_not_come_back_is_asked_for_again_after_a_minute() -> None:
    assert due(a_state(asked=NOON, has_cursor=False), NOON) == NOON + minutes(1)


def test_a_race_across_midnight_keeps_its_windows() -> None:
    start = datetime(2027, 5, 22, 23, 30, tzinfo=ZoneInfo("America/New_York"))
    spans = [Span(start, start + hours(3))]
    assert class_at(spans, start + minutes(50), CADENCE) is SyncClass.RACEDAY
    assert class_at(spans, start + hours(3.5), CADENCE) is SyncClass.ROUTINE
    assert class_at(spans, start + hours(4.5), CADENCE) is None


def test_a_start_moved_nearer_is_due_by_its_new_window() -> None:
    asked = START - hours(30)
    before = a_state(asked=asked)
    moved = replace(before, spans=[Span(START - hours(27), None)])
    assert due(before, asked + minutes(2)) == asked + minutes(60)
    assert due(moved, asked + minutes(2)) == asked + minutes(1)


def test_a_start_moved_away_calms_the_race_down() -> None:
    asked = START - hours(2)
    moved = a_state([Span(START + timedelta(days=7), None)], asked=asked)
    assert due(moved, asked) == asked + minutes(60)


starts = st.integers(-80, 400).map(lambda half_hours: NOON + minutes(30 * half_hours))
spans = st.builds(
    lambda start, length: Span(start, None if length is None else start + minutes(30 * length)),
    starts,
    st.none() | st.integers(-3, 200),
)
states = st.builds(
    a_state,
    st.lists(spans, max_size=4),
    asked=st.none() | st.integers(-600, 0).map(lambda each: NOON + minutes(each)),
    full=st.none() | st.just(NOON - hours(5)),
    has_cursor=st.booleans(),
)


@given(states, st.floats(0, 1))
def test_jitter_only_ever_asks_earlier_and_by_a_tenth_at_most(state: RaceState, jitter: float) -> None:
    plain, jittered = due(state, NOON), due(state, NOON, jitter)
    assert (plain is None) is (jittered is None)
    if plain is not None and jittered is not None and state.last_asked_at is not None:
        assert jittered <= plain
        assert plain - state.last_asked_at <= (jittered - state.last_asked_at) / 0.9 + timedelta(milliseconds=1)


@given(states, st.floats(0, 1), st.integers(0, 300))
def test_looking_again_before_it_is_due_changes_nothing(state: RaceState, jitter: float, later: int) -> None:
    first, now = due(state, NOON, jitter), NOON + minutes(later)
    if first is not None and state.last_asked_at is not None and NOON <= now <= first:
        assert due(state, now, jitter) in {first, None}
        if class_at(state.spans, now, CADENCE) is not None:
            assert due(state, now, jitter) == first


@given(states, st.floats(0, 1))
def test_a_race_is_never_asked_for_more_often_than_its_nearest_class_allows(state: RaceState, jitter: float) -> None:
    at = due(state, NOON, jitter)
    if at is not None and state.last_asked_at is not None:
        assert at - state.last_asked_at >= CADENCE.raceday * 0.9


@given(states, st.floats(0, 1))
def test_a_race_still_of_interest_waits_no_longer_than_the_longest_interval(state: RaceState, jitter: float) -> None:
    at = due(state, NOON, jitter)
    if at is not None and state.last_asked_at is not None:
        assert at - state.last_asked_at <= CADENCE.far


@given(states)
def test_within_a_window_the_next_ask_keeps_its_interval(state: RaceState) -> None:
    """From whatever it was asked in, a race is asked for within each class's interval of that class's beginning."""
    at = due(state, NOON)
    asked = state.last_asked_at
    if at is None or asked is None or not state.has_cursor:
        return
    for minute in range(int((at - asked) / minutes(1))):
        moment = asked + minutes(minute)
        sync_class = class_at(state.spans, moment, CADENCE)
        if sync_class is None or sync_class.distance >= (class_at(state.spans, asked, CADENCE) or sync_class).distance:
            continue
        # a nearer class has begun meanwhile: the wait from the last ask is over by its interval, or as it begins
        assert at <= max(moment, asked + interval(sync_class, CADENCE))


@pytest.mark.parametrize(
    ("state", "mode", "removals"),
    [
        (a_state(full=None, has_cursor=False), Mode.FULL, False),  # the first: nobody is known who could be gone
        (a_state(full=NOON, has_cursor=False), Mode.FULL, True),  # a new event
        (a_state(full=NOON - hours(23.9)), Mode.INCREMENTAL, False),
        (a_state(full=NOON - hours(24)), Mode.FULL, True),
        (a_state(round=5), Mode.INCREMENTAL, True),
        (a_state(round=6), Mode.INCREMENTAL, False),
    ],
)
def test_the_first_sync_is_full_then_once_a_day_and_every_fifth_round_asks_who_left(
    state: RaceState, mode: Mode, removals: bool
) -> None:
    assert mode_for(state, NOON, CADENCE) == (mode, removals)
