"""What a key's races will cost by the hour, and which hours do not fit."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.budget import HOUR
from shared.domain.cadence import Cadence, Pace
from shared.domain.forecast import Hour, Load, forecast, stretched
from shared.domain.run import Mode
from shared.domain.schedule import RaceState, Span, mode_for, next_due, pace_at
from tests.builders import NOON

CADENCE = Cadence(jitter=0)
GUN = NOON + timedelta(days=3)


def a_load(*starts: datetime, cadence: Cadence = CADENCE, pages: int = 2) -> Load:
    return Load([Span(each, None) for each in starts], cadence, pages)


def hours(loads: Sequence[Load], number: int = 120, usable: int = 900, steady: float = 0.0) -> list[Hour]:
    return forecast(loads, NOON, number, [usable] * number, steady)


def at_hour(found: Sequence[Hour], moment: datetime) -> Hour:
    return next(each for each in found if each.begins_at <= moment < each.begins_at + HOUR)


def test_each_pace_costs_what_its_interval_says() -> None:
    found = hours([a_load(GUN)])
    daily = 2 / 24  # a full pass a day, spread
    assert at_hour(found, GUN - timedelta(hours=48)).wanted == pytest.approx(1.2 + daily)
    assert at_hour(found, GUN - timedelta(hours=10)).wanted == pytest.approx(4 * 1.2 + daily)
    assert at_hour(found, GUN - timedelta(hours=2)).wanted == pytest.approx(60 * 1.2 + daily)
    assert at_hour(found, GUN + timedelta(hours=1)).wanted == pytest.approx(0.2 + daily)
    assert [each.raceday_races for each in found].count(1) == 5


def test_the_full_passes_as_windows_open_stand_in_their_hour() -> None:
    found = hours([a_load(GUN, pages=6)])
    assert at_hour(found, GUN - timedelta(hours=24)).wanted == pytest.approx(4 * 1.2 + 6 + 1 + 6 / 24)  # the ranges
    assert at_hour(found, GUN - timedelta(hours=4)).wanted == pytest.approx(60 * 1.2 + 6 + 1 + 6 / 24)


def test_what_is_asked_for_beside_races_counts() -> None:
    assert [each.wanted for each in hours([], 3, steady=2.0)] == [2.0, 2.0, 2.0]


def test_twelve_races_at_once_fit_a_thousand_calls_and_forty_are_stretched_alike() -> None:
    twelve = at_hour(hours([a_load(GUN)] * 12), GUN)
    assert twelve.fits
    assert twelve.interval is None
    forty = at_hour(hours([a_load(GUN)] * 40), GUN - timedelta(hours=1))
    assert not forty.fits
    assert forty.interval is not None
    other = 40 * 2 / 24
    assert forty.interval == stretched(40, 1.2, 765 - other)  # some is left to what nobody foresees
    assert 40 * 1.2 * (HOUR / forty.interval) + other <= 765
    assert forty.expected == 900


def test_one_race_with_a_dearer_cadence_stretches_only_its_own_morning_by_it() -> None:
    dear = a_load(GUN + timedelta(days=1), cadence=replace(CADENCE, removals_every=1, raceday=timedelta(seconds=10)))
    alone, beside = (at_hour(hours(loads), GUN - HOUR) for loads in ([a_load(GUN)] * 40, [*[a_load(GUN)] * 40, dear]))
    assert alone.interval is not None
    assert beside.interval is not None
    assert beside.interval - alone.interval < timedelta(seconds=5)  # its hourly looks cost a little
    far = [a_load(GUN + timedelta(days=9))] * 1000
    crowded = at_hour(hours([*far, a_load(GUN), a_load(GUN), dear]), GUN)
    assert (crowded.fits, crowded.interval) == (False, None)  # and not "every 39 s instead of 60"


def test_the_formula_is_races_times_an_hour_times_calls_a_round_by_the_usable_budget() -> None:
    assert stretched(40, 1.2, 900) == timedelta(seconds=192)


def test_slower_paces_never_take_more_than_three_quarters_from_race_day() -> None:
    far = [a_load(GUN + timedelta(days=9))] * 1000  # 1,200 calls an hour by themselves
    found = at_hour(hours([*far, a_load(GUN), a_load(GUN)]), GUN)
    assert found.interval is None  # two races each minute need less than their share
    more = at_hour(hours([*far, *[a_load(GUN)] * 10]), GUN)
    assert more.interval == stretched(10, 1.2, 225)
    assert more.other_calls / more.slowdown == pytest.approx(675)
    assert at_hour(hours([a_load(GUN)] * 40), GUN).slowdown == 1  # race day gives way, and that is enough


def test_hours_without_race_day_may_not_fit_and_are_not_stretched() -> None:
    found = hours([a_load(GUN + timedelta(days=9))] * 1000, 3)
    assert [(each.fits, each.interval) for each in found] == [(False, None)] * 3
    assert [each.slowdown for each in found] == pytest.approx([each.wanted / 900 for each in found])  # all alike


def test_each_hour_has_the_budget_of_its_own() -> None:
    found = forecast([a_load(NOON + timedelta(hours=3))] * 12, NOON, 3, [400, 900, 900])
    assert [each.interval is None for each in found] == [False, True, True]


def test_virtual_events_cost_an_hourly_look_until_registration_ends() -> None:
    virtual = Load([Span(GUN, GUN + timedelta(days=9), None, is_long=True)], CADENCE)
    assert {round(each.wanted, 3) for each in hours([virtual])} == {round(1.2 + 2 / 24, 3)}


def asked(load: Load, begin: datetime, end: datetime) -> float:
    """What the scheduler really asks for in that time, in calls."""
    last, calls, number, full = begin, 0.0, 1, begin
    while True:
        state = RaceState(load.spans, last, full, number, True)
        due = next_due(state, last, load.cadence)
        if due is None or due >= end:
            return calls
        mode, removals = mode_for(replace(state, last_asked_at=due), due, load.cadence)
        if pace_at(load.spans, due, load.cadence) is None:
            return calls
        calls += (load.full_calls if mode is Mode.FULL else 1) + removals
        full = due if mode is Mode.FULL else full
        last, number = due, number + 1


@settings(max_examples=30)
@given(
    st.lists(st.integers(-20, 150).map(lambda each: NOON + each * HOUR / 2), min_size=1, max_size=3), st.floats(0, 1)
)
def test_the_forecast_is_what_the_scheduler_does(starts: list[datetime], place: float) -> None:
    """Over three days, within a few calls: the same functions stand behind both."""
    load = a_load(*starts, cadence=Cadence().jittered(place))
    foreseen = sum(each.wanted for each in hours([load], 72))
    done = asked(load, NOON, NOON + 72 * HOUR)
    assert foreseen == pytest.approx(done, rel=0.06, abs=12)


def test_a_pace_travels_in_a_class() -> None:
    assert [each.sync_class.value for each in Pace] == ["raceday", "near", "routine", "routine", "routine"]
