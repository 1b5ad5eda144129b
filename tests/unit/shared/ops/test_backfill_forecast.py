"""What a backfill takes, before anything is spent."""

from datetime import timedelta

import pytest

from shared.ops.backfill_forecast import KeyLoad, Limits, calls_of_race, duration


@pytest.mark.parametrize(("events", "crowd", "calls"), [(1, 48.0, 2), (4, 625.0, 2), (4, 626.0, 3), (1, 25_000.0, 11)])
def test_a_race_costs_its_pages_and_the_empty_one(events: int, crowd: float, calls: int) -> None:
    assert calls_of_race(events, crowd, 2500) == calls


@pytest.mark.parametrize(
    ("calls", "counting", "hours"),
    [(0, 0, 0), (500, 0, 0), (501, 0, 1), (500, 500, 1), (1000, 600, 2), (1500, 0, 2), (1501, 0, 3)],
)
def test_what_the_hour_leaves_goes_at_once_and_the_rest_an_hours_worth_an_hour(
    calls: int, counting: int, hours: int
) -> None:
    assert duration([KeyLoad(calls, 500, counting)], 0.0, 2) == timedelta(hours=hours)


def test_the_busiest_key_decides_or_the_line_before_the_calls_in_flight() -> None:
    loads = [KeyLoad(501, 500, 0), *[KeyLoad(500, 500, 0)] * 12]
    assert duration(loads, 0.001, 2) == timedelta(hours=1)
    assert duration(loads, 2.0, 2) == timedelta(seconds=6501)


def test_half_of_a_budget_is_for_history_and_never_the_reserve() -> None:
    assert Limits().an_hour(1000) == 500
    assert Limits(backfill_share=1.0).an_hour(1000) == 900
    assert Limits().an_hour(1) == 1
