"""How fresh a race is against what is promised."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.domain.cadence import Cadence, Pace
from shared.domain.schedule import Span
from shared.ops.freshness import Freshness, Watched, judge, worst

NOW = datetime(2026, 6, 6, 8, tzinfo=UTC)
CADENCE = Cadence()


def judged(
    *starts_in_hours: float | None, age: float | None, cadence: Cadence = CADENCE, followed: float = 0
) -> Freshness:
    spans = [Span(None if each is None else NOW + timedelta(hours=each), None) for each in starts_in_hours]
    confirmed = None if age is None else NOW - timedelta(seconds=age)
    found = judge(Watched(1, "7", None, spans, cadence, confirmed, NOW - timedelta(seconds=followed)), NOW)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        (25, Pace.ROUTINE),
        (23, Pace.NEAR),
        (3, Pace.RACEDAY),
        (-0.5, Pace.RACEDAY),
        (-2, Pace.TAIL),
        (None, Pace.ROUTINE),
    ],
)
def test_a_pace_follows_the_start(hours: float | None, expected: Pace) -> None:
    assert judged(hours, age=0).pace is expected


def test_a_race_of_several_events_is_as_near_as_its_nearest() -> None:
    assert judged(48, 2, 20, age=0).pace is Pace.RACEDAY


def test_a_race_that_is_over_is_not_judged() -> None:
    span = Span(NOW - timedelta(days=5), None)
    assert judge(Watched(1, "7", None, [span], CADENCE, NOW, NOW), NOW) is None


def test_late_is_more_than_two_intervals() -> None:
    assert not judged(3, age=120).is_late
    assert judged(3, age=121).is_late
    assert not judged(100, age=7200).is_late
    assert judged(100, age=7201).is_late


def test_in_a_stretched_hour_a_race_is_judged_by_the_promise_of_that_hour() -> None:
    stretched = CADENCE.stretched(timedelta(seconds=192))
    assert not judged(3, age=300, cadence=stretched).is_late
    assert judged(3, age=385, cadence=stretched).is_late


def test_a_race_that_was_never_loaded_has_no_age_and_is_late_when_its_first_load_takes_longer_than_a_promise() -> None:
    assert judged(3, age=None, followed=120).age is None
    assert [judged(3, age=None, followed=each).is_late for each in (120, 121)] == [False, True]
    assert [judged(99, age=None, followed=each).is_late for each in (7200, 7201)] == [False, True]
    assert judge(Watched(1, "7", None, [Span(None, None)], CADENCE, None, None), NOW).is_late is False  # type: ignore[union-attr]  # it is followed


def test_the_worst_of_a_pace_is_its_oldest_race() -> None:
    races = [judged(3, age=each) for each in (5, 70, None)]
    assert worst(races, Pace.RACEDAY) == timedelta(seconds=70)
    assert worst(races, Pace.NEAR) is None


def test_what_a_race_director_notices_first_stands_first() -> None:
    late_far, late_near = judged(100, age=9000), judged(3, age=300)
    sooner, later = judged(1, age=10), judged(3, age=10)
    calm = judged(100, age=10)
    ranked = sorted([calm, later, late_far, sooner, late_near], key=lambda each: each.rank(NOW))
    assert ranked == [late_near, late_far, sooner, later, calm]
