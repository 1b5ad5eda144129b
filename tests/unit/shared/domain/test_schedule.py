"""When a race is asked for next, at which pace and in which mode."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.cadence import Cadence, Pace
from shared.domain.run import Mode
from shared.domain.schedule import (
    RaceState,
    Span,
    entered_at,
    kept_until,
    mode_for,
    nearest_start,
    next_due,
    openings,
    pace_at,
    span_of,
)
from shared.providers.runsignup.races import map_race
from tests.builders import NOON, a_race_record

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


def due(state: RaceState, now: datetime, place: float = 0.0) -> datetime | None:
    return next_due(state, now, CADENCE.jittered(place))


def pace(at: datetime, *spans: Span) -> Pace | None:
    return pace_at(spans, at, CADENCE)


def span(start: str, zone: str, *, end: str | None = None, event_type: str = "running_race") -> Span:
    """An event's span, through the provider's door: its times are the race's local ones."""
    event = {"event_id": 1, "start_time": start, "end_time": end, "event_type": event_type}
    race = map_race(a_race_record(timezone=zone, events=[event]))
    mapped = race.events[0]  # type: ignore[union-attr]  # a record that can be read
    return span_of(
        mapped.starts_at, mapped.ends_at, mapped.registration_closes_at, mapped.event_type, ZoneInfo(zone), CADENCE
    )


# -- The pace ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to_start", "expected"),
    [
        (hours(240), Pace.ROUTINE),
        (hours(24) + minutes(1), Pace.ROUTINE),
        (hours(24), Pace.NEAR),
        (hours(4) + minutes(1), Pace.NEAR),
        (hours(4), Pace.RACEDAY),
        (hours(0), Pace.RACEDAY),
        (hours(-1), Pace.RACEDAY),
        (hours(-1) - minutes(1), Pace.TAIL),
        (hours(-49), Pace.TAIL),
        (hours(-49) - minutes(1), None),
    ],
)
def test_the_pace_follows_the_time_to_the_start(to_start: timedelta, expected: Pace | None) -> None:
    assert pace(START - to_start, Span(START, None)) is expected


@pytest.mark.parametrize(
    ("to_start", "wait"),
    [(hours(200), minutes(60)), (hours(20), minutes(15)), (hours(3), minutes(1)), (hours(-2), hours(6))],
)
def test_the_wait_is_the_interval_of_the_pace(to_start: timedelta, wait: timedelta) -> None:
    asked = START - to_start
    assert due(a_state(asked=asked), asked) == asked + wait


# -- Zones and clocks -------------------------------------------------------------------------------------------------

ZONES = {  # what eight in the morning is there on a day in June, and on one in January, in UTC
    "America/New_York": (12, 13),
    "America/Chicago": (13, 14),
    "America/Denver": (14, 15),
    "America/Los_Angeles": (15, 16),
    "America/Phoenix": (15, 15),
    "America/Anchorage": (16, 17),
    "Pacific/Honolulu": (18, 18),
    "America/Indiana/Indianapolis": (12, 13),
    "America/Puerto_Rico": (12, 12),
}


@pytest.mark.parametrize("zone", ZONES)
def test_race_day_begins_four_hours_before_the_local_gun_and_ends_an_hour_behind_it(zone: str) -> None:
    for day, hour in zip(("6/5/2027", "1/16/2027"), ZONES[zone], strict=True):
        month, number, year = (int(each) for each in day.split("/"))
        gun = datetime(year, month, number, hour, tzinfo=UTC)
        event = span(f"{day} 08:00", zone)
        assert event.starts_at == gun
        assert [pace(gun + hours(each), event) for each in (-24.01, -4.01, -4, 0, 1, 1.01)] == [
            Pace.ROUTINE, Pace.NEAR, Pace.RACEDAY, Pace.RACEDAY, Pace.RACEDAY, Pace.TAIL,
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("start", "gun"),
    [
        ("3/14/2027 07:00", datetime(2027, 3, 14, 11, tzinfo=UTC)),  # five hours after midnight, not six: summer time
        ("3/14/2027 02:30", datetime(2027, 3, 14, 7, 30, tzinfo=UTC)),  # in the hour that is left out
        ("11/7/2027 07:00", datetime(2027, 11, 7, 12, tzinfo=UTC)),
        ("11/7/2027 01:30", datetime(2027, 11, 7, 5, 30, tzinfo=UTC)),  # in the hour that comes twice: its first
    ],
)
def test_on_the_days_when_clocks_change_the_windows_are_hours_of_absolute_time(start: str, gun: datetime) -> None:
    event = span(start, "America/New_York")
    assert event.starts_at == gun
    assert openings([event], CADENCE) == [gun - hours(24), gun - hours(4)]


def test_a_start_in_the_repeated_hour_is_followed_until_an_hour_past_its_second_coming() -> None:
    event = span("11/7/2027 01:30", "America/New_York")
    assert event.starts_at is not None
    assert pace(event.starts_at + hours(2), event) is Pace.RACEDAY
    assert pace(event.starts_at + hours(2.01), event) is Pace.TAIL
    assert nearest_start([event], event.starts_at + hours(2), CADENCE) == event.starts_at
    ordinary = span("11/7/2027 03:30", "America/New_York")
    assert ordinary.repeats == timedelta(0)


# -- Events that last -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "event_type", "is_long"),
    [
        ("6/5/2027 00:00", "6/30/2027 23:59", "virtual_race", True),
        ("6/5/2027 09:00", None, "virtual_race", True),
        ("6/5/2027 00:00", "6/8/2027 23:59", "running_race", True),  # days from midnight on
        ("6/5/2027 07:00", "6/20/2027 23:59", "running_race", True),  # weeks
        ("6/5/2027 06:00", "6/6/2027 12:00", "running_race", False),  # an ultra has a gun and a bib pick-up
        ("6/5/2027 00:00", "6/5/2027 08:00", "running_race", False),  # a night run
        ("6/5/2027 08:00", "6/5/2027 12:00", "running_race", False),
        ("6/5/2027 08:00", "6/4/2027 12:00", "running_race", False),
    ],
)
def test_what_is_virtual_or_lasts_from_midnight_for_days_is_long(
    start: str, end: str | None, event_type: str, is_long: bool
) -> None:
    assert span(start, "America/Chicago", end=end, event_type=event_type).is_long is is_long


def test_a_long_event_is_never_chased_and_stays_fresh_until_its_registration_ends() -> None:
    end, closes = START + timedelta(days=30), START + timedelta(days=12)
    event = Span(START, end, closes, is_long=True)
    moments = (START - hours(3), START, closes, closes + hours(1.01), end, end + hours(49.01))
    assert [pace(each, event) for each in moments] == [
        Pace.LONG, Pace.LONG, Pace.LONG, Pace.TAIL, Pace.TAIL, None,
    ]  # fmt: skip
    assert entered_at([event], START, CADENCE) is None  # and no full pass for its midnight
    assert due(a_state([event], asked=START - minutes(5)), START) == START + minutes(55)


def test_a_virtual_event_without_an_end_lives_while_its_registration_does() -> None:
    event = Span(START, None, START + timedelta(days=20), is_long=True)
    assert pace(START + timedelta(days=20), event) is Pace.LONG
    assert pace(START + timedelta(days=20, hours=2), event) is Pace.TAIL


def test_a_registration_that_ends_before_the_start_lets_nobody_go_stale_before_it() -> None:
    event = Span(START, START + timedelta(days=9), START - timedelta(days=7), is_long=True)
    assert pace(START, event) is Pace.LONG
    assert pace(START + hours(2), event) is Pace.TAIL


def test_a_race_with_a_virtual_event_is_followed_by_its_real_one() -> None:
    virtual = Span(START - timedelta(days=9), START + timedelta(days=9), is_long=True)
    assert pace(START - hours(3), virtual, Span(START, None)) is Pace.RACEDAY
    assert pace(START + hours(3), virtual, Span(START, None)) is Pace.LONG
    assert nearest_start([virtual, Span(START, None)], START - hours(3), CADENCE) == START


def test_a_race_of_several_days_is_kept_fresh_not_chased_between_its_gun_and_its_end() -> None:
    event = Span(START, START + timedelta(days=3))
    assert pace(START + minutes(30), event) is Pace.RACEDAY
    assert pace(START + hours(2), event) is Pace.ROUTINE
    assert pace(START + timedelta(days=3, hours=1), event) is Pace.ROUTINE
    assert pace(START + timedelta(days=3, hours=1, minutes=1), event) is Pace.TAIL


def test_an_end_before_the_start_ends_nothing_early() -> None:
    assert pace(START + minutes(59), Span(START, START - hours(5))) is Pace.RACEDAY


def test_a_race_across_midnight_keeps_its_windows() -> None:
    event = span("5/22/2027 23:30", "America/New_York", end="5/23/2027 02:30")
    start = event.starts_at
    assert start is not None
    assert pace(start + minutes(50), event) is Pace.RACEDAY
    assert pace(start + hours(3.5), event) is Pace.ROUTINE
    assert pace(start + hours(4.5), event) is Pace.TAIL


# -- Starts that are missing, absurd, or far away ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "start", ["", "soon", "6/31/2027 08:00", "1/1/0001 00:00", "12/31/9999 23:59", "1/1/1970 00:00"]
)
def test_a_missing_or_absurd_start_is_kept_fresh_and_never_chased(start: str) -> None:
    event = span(start, "America/Denver")
    assert event.starts_at is None
    assert pace(NOON, event) is Pace.ROUTINE
    assert pace(NOON + timedelta(days=3000), event) is Pace.ROUTINE
    assert due(a_state([event], asked=NOON), NOON) == NOON + hours(1)


def test_an_event_without_a_start_is_over_after_its_end() -> None:
    event = Span(None, START)
    assert [pace(START + hours(each), event) for each in (-1, 1, 2, 50)] == [
        Pace.ROUTINE, Pace.ROUTINE, Pace.TAIL, None,
    ]  # fmt: skip


def test_a_placeholder_of_2030_is_far_away_and_chased_only_there() -> None:
    event = span("12/31/2030 00:00", "America/New_York")
    assert pace(NOON, event) is Pace.ROUTINE
    assert due(a_state([event], asked=NOON), NOON) == NOON + hours(1)
    assert pace(NOON, event, Span(NOON + hours(3), None)) is Pace.RACEDAY


# -- Starts that move -------------------------------------------------------------------------------------------------


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


def test_a_start_moved_later_within_the_morning_is_followed_past_its_new_gun() -> None:
    moved = Span(START + hours(2), None)
    assert pace(START + hours(3), moved) is Pace.RACEDAY
    assert pace(START - hours(3), moved) is Pace.NEAR


def test_a_race_whose_every_event_was_cancelled_is_not_due() -> None:
    assert due(a_state([]), NOON) is None


# -- Several starts ---------------------------------------------------------------------------------------------------


def test_a_race_with_several_starts_follows_the_nearest_of_interest() -> None:
    spans = [Span(START, None), Span(START + timedelta(days=1), None), Span(START - timedelta(days=1), None)]
    assert pace(START - hours(3), *spans) is Pace.RACEDAY
    assert pace(START + hours(2), *spans) is Pace.NEAR  # the first is over, the second is tomorrow


def test_waves_are_one_race_morning_until_an_hour_past_the_last_of_them() -> None:
    waves = [Span(START + minutes(10 * number), None) for number in range(9)]
    last = START + minutes(80)
    assert {pace(START + minutes(each), *waves) for each in range(-240, 141)} == {Pace.RACEDAY}
    assert pace(last + hours(1) + minutes(1), *waves) is Pace.TAIL
    assert entered_at(waves, START, CADENCE) == START - hours(4)  # once, by the first of them
    moments = (START - hours(1), START + minutes(61), last + minutes(1), last + minutes(61))
    assert [nearest_start(waves, each, CADENCE) for each in moments] == [START, START + minutes(70), last, None]


def test_the_second_start_opens_its_window_though_the_first_is_over() -> None:
    second = START + hours(10)
    asked = START + hours(5) + minutes(55)
    state = a_state([Span(START, None), Span(second, None)], asked=asked)
    assert due(state, asked) == second - hours(4)


# -- When it is due ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("window", "wait"), [(hours(24), minutes(15)), (hours(4), minutes(1))])
def test_a_window_that_opens_shortens_the_wait(window: timedelta, wait: timedelta) -> None:
    asked = START - window - minutes(7)
    expected = max(START - window, asked + wait)
    assert due(a_state(asked=asked), asked) == expected


def test_a_window_that_opens_asks_no_sooner_than_its_own_interval() -> None:
    asked = START - hours(24) - minutes(1)
    assert due(a_state(asked=asked), asked) == asked + minutes(15)


def test_a_race_never_asked_for_is_due_at_once() -> None:
    assert due(a_state(asked=None), NOON) == NOON


def test_a_race_that_is_over_is_never_due_again() -> None:
    assert due(a_state(asked=START), START + hours(50)) is None
    assert due(a_state(asked=None), START + hours(50)) is None


def test_a_first_load_that_did_not_come_back_is_asked_for_again_after_a_minute() -> None:
    assert due(a_state(asked=NOON, has_cursor=False), NOON) == NOON + minutes(1)


def test_forty_races_with_one_start_neither_enter_a_window_together_nor_tick_together() -> None:
    asked = START - hours(24) - minutes(50)
    moments = {due(a_state(asked=asked), asked, place / 40) for place in range(40)}
    assert len(moments) == 40
    assert max(each for each in moments if each) - min(each for each in moments if each) > minutes(14)
    ticks = {due(a_state(asked=START), START, place / 40) for place in range(40)}
    assert len(ticks) == 40


starts = st.integers(-80, 400).map(lambda half_hours: NOON + minutes(30 * half_hours))
spans = st.builds(
    lambda start, length, is_long: Span(start, None if length is None else start + minutes(30 * length), None, is_long),
    starts,
    st.none() | st.integers(-3, 200),
    st.booleans(),
)
states = st.builds(
    a_state,
    st.lists(spans, max_size=4),
    asked=st.none() | st.integers(-600, 0).map(lambda each: NOON + minutes(each)),
    full=st.none() | st.just(NOON - hours(5)),
    has_cursor=st.booleans(),
)


@given(states, st.floats(0, 1))
def test_jitter_only_ever_asks_earlier(state: RaceState, jitter: float) -> None:
    plain, jittered = due(state, NOON), due(state, NOON, jitter)
    assert (plain is None) is (jittered is None)
    if plain is not None and jittered is not None and state.last_asked_at is not None:
        assert jittered <= plain


@given(states, st.floats(0, 1), st.integers(0, 300))
def test_looking_again_before_it_is_due_changes_nothing(state: RaceState, jitter: float, later: int) -> None:
    first, now = due(state, NOON, jitter), NOON + minutes(later)
    if first is not None and state.last_asked_at is not None and NOON <= now <= first:
        assert due(state, now, jitter) in {first, None}
        if pace_at(state.spans, now, CADENCE) is not None:
            assert due(state, now, jitter) == first


@given(states, st.floats(0, 1))
def test_a_race_is_never_asked_for_more_often_than_its_nearest_pace_allows(state: RaceState, jitter: float) -> None:
    at = due(state, NOON, jitter)
    if at is not None and state.last_asked_at is not None:
        assert at - state.last_asked_at >= CADENCE.raceday * 0.9


@given(states, st.floats(0, 1))
def test_a_race_still_of_interest_waits_no_longer_than_the_longest_interval(state: RaceState, jitter: float) -> None:
    at = due(state, NOON, jitter)
    if at is not None and state.last_asked_at is not None:
        assert at - state.last_asked_at <= CADENCE.tail


@given(states)
def test_within_a_window_the_next_ask_keeps_its_interval(state: RaceState) -> None:
    """From whatever it was asked in, a race is asked for within each pace's interval of that pace's beginning."""
    at = due(state, NOON)
    asked = state.last_asked_at
    if at is None or asked is None or not state.has_cursor:
        return
    for minute in range(int((at - asked) / minutes(1))):
        moment = asked + minutes(minute)
        entered = pace_at(state.spans, moment, CADENCE)
        before = pace_at(state.spans, asked, CADENCE)
        if entered is None or before is None or entered.distance >= before.distance:
            continue
        # a nearer pace has begun meanwhile: the wait from the last ask is over by its interval, or as it begins
        assert at <= max(moment, asked + CADENCE.interval(entered))


@pytest.mark.parametrize(
    ("state", "mode", "removals"),
    [
        (a_state(full=None, has_cursor=False), Mode.FULL, False),  # the first: nobody is known who could be gone
        (a_state(full=NOON, has_cursor=False), Mode.FULL, True),  # a new event
        (a_state(full=NOON - hours(23.9)), Mode.INCREMENTAL, False),
        (a_state(full=NOON - hours(24)), Mode.FULL, True),
        (a_state(round=5), Mode.INCREMENTAL, True),
        (a_state(round=6), Mode.INCREMENTAL, False),
        (replace(a_state(), lacks_somebody=True), Mode.FULL, True),  # are they gone, or was it a lie
    ],
)
def test_the_first_sync_is_full_then_once_a_day_and_every_fifth_round_asks_who_left(
    state: RaceState, mode: Mode, removals: bool
) -> None:
    assert mode_for(state, NOON, CADENCE) == (mode, removals)


@pytest.mark.parametrize("window", [24, 4])
def test_a_full_pass_is_made_once_as_the_race_enters_a_window(window: float) -> None:
    opened = START - hours(window)
    assert mode_for(a_state(full=opened - minutes(1)), opened - minutes(1), CADENCE)[0] is Mode.INCREMENTAL
    assert mode_for(a_state(full=opened - minutes(1)), opened, CADENCE) == (Mode.FULL, True)
    assert mode_for(a_state(full=opened + minutes(1)), opened + minutes(2), CADENCE)[0] is Mode.INCREMENTAL


def test_a_race_of_many_starts_makes_them_once_for_all_of_its_morning() -> None:
    spans = [Span(START + minutes(30 * number), None) for number in range(6)]
    state = a_state(spans, full=START - hours(4))
    for minute in range(1, 5 * 60):
        assert mode_for(state, START - hours(4) + minutes(minute), CADENCE)[0] is Mode.INCREMENTAL


# -- The promise ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to_start", "allowed"), [(hours(99), hours(2)), (hours(10), minutes(30)), (hours(2), minutes(2))]
)
def test_a_promise_is_twice_the_interval(to_start: timedelta, allowed: timedelta) -> None:
    confirmed = START - to_start
    assert kept_until([Span(START, None)], confirmed, CADENCE) == confirmed + allowed


def test_a_short_interval_promises_a_minute_more_than_itself() -> None:
    assert replace(CADENCE, raceday=timedelta(seconds=5)).promised(Pace.RACEDAY) == timedelta(seconds=65)


def test_a_nearer_pace_promises_from_when_it_begins() -> None:
    opens = START - hours(4)
    assert kept_until([Span(START, None)], opens - minutes(10), CADENCE) == opens + minutes(2)
    assert kept_until([Span(START, None)], opens - minutes(29), CADENCE) == opens + minutes(1)


def test_a_stretched_hour_promises_what_it_can_keep() -> None:
    stretched = CADENCE.stretched(minutes(20))
    assert [stretched.interval(each) for each in (Pace.RACEDAY, Pace.NEAR, Pace.ROUTINE)] == [
        minutes(20), minutes(20), minutes(60),
    ]  # fmt: skip
    assert stretched.promised(Pace.RACEDAY) == minutes(40)
    assert CADENCE.stretched(None) is CADENCE
    slower = CADENCE.stretched(None, 1.5)
    assert [slower.promised(each) for each in (Pace.RACEDAY, Pace.NEAR, Pace.ROUTINE, Pace.LONG)] == [
        minutes(2), minutes(45), minutes(180), minutes(180),
    ]  # fmt: skip
    assert CADENCE.stretched(minutes(40), 1.5).interval(Pace.NEAR) == minutes(40)
