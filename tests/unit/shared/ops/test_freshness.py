"""How fresh a race is against what is promised."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.domain.run import SyncClass
from shared.ops.freshness import Promise, Watched, judge, worst

NOW = datetime(2026, 6, 6, 8, tzinfo=UTC)
PROMISE = Promise()


def a_race(*starts_in_hours: float | None, age: float | None) -> Watched:
    starts = [None if each is None else NOW + timedelta(hours=each) for each in starts_in_hours]
    return Watched(1, "7", starts, None if age is None else NOW - timedelta(seconds=age))


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        (25, SyncClass.ROUTINE),
        (23, SyncClass.NEAR),
        (3, SyncClass.RACEDAY),
        (-0.5, SyncClass.RACEDAY),
        (-2, SyncClass.ROUTINE),
        (None, SyncClass.ROUTINE),
    ],
)
def test_a_class_follows_the_start(hours: float | None, expected: SyncClass) -> None:
    assert judge(a_race(hours, age=0), PROMISE, NOW).sync_class is expected


def test_a_race_of_several_events_is_as_near_as_its_nearest() -> None:
    assert judge(a_race(48, 2, 20, age=0), PROMISE, NOW).sync_class is SyncClass.RACEDAY


def test_late_is_more_than_two_intervals() -> None:
    assert not judge(a_race(3, age=120), PROMISE, NOW).is_late
    assert judge(a_race(3, age=121), PROMISE, NOW).is_late
    assert not judge(a_race(100, age=7200), PROMISE, NOW).is_late
    assert judge(a_race(100, age=7201), PROMISE, NOW).is_late


def test_a_race_that_was_never_loaded_is_not_late_and_has_no_age() -> None:
    found = judge(a_race(3, age=None), PROMISE, NOW)
    assert found.age is None
    assert not found.is_late


def test_the_worst_of_a_class_is_its_oldest_race() -> None:
    races = [judge(a_race(3, age=each), PROMISE, NOW) for each in (5, 70, None)]
    assert worst(races, SyncClass.RACEDAY) == timedelta(seconds=70)
    assert worst(races, SyncClass.NEAR) is None
