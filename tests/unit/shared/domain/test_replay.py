"""How a replay goes from its first item to its last."""

from datetime import timedelta

import pytest

from shared.domain.replay import MOST_UNDERWAY, ReplayState, allowance, next_state, paced
from tests.builders import NOON, at


@pytest.mark.parametrize(
    ("state", "finished", "unfinished", "then"),
    [
        ("canary", {}, 5, "canary"),
        ("canary", {"done": 1}, 4, "running"),
        ("canary", {"skipped": 1}, 4, "running"),
        ("canary", {"failed": 1}, 4, "stopped"),
        ("canary", {"again": 1}, 4, "stopped"),
        ("canary", {"failed": 1}, 0, "done"),  # there is nothing that could be spared
        ("canary", {"done": 1}, 0, "done"),
        ("running", {"done": 3, "failed": 2}, 4, "running"),
        ("running", {"done": 3, "failed": 2}, 0, "done"),
        ("cancelled", {"done": 3}, 2, "cancelled"),
        ("cancelled", {"done": 3}, 0, "cancelled"),
        ("stopped", {"failed": 1, "skipped": 4}, 0, "stopped"),
    ],
)
def test_the_first_item_decides_over_the_rest(state: str, finished: dict[str, int], unfinished: int, then: str) -> None:
    assert next_state(ReplayState(state), finished, unfinished) == then


def test_a_running_replay_without_a_finished_item_goes_on() -> None:
    assert next_state(ReplayState.RUNNING, {}, 5) is ReplayState.RUNNING


def test_a_canary_goes_alone() -> None:
    def sent(underway: int) -> int:
        return allowance(ReplayState.CANARY, rate=100, paced_at=NOON, underway=underway, now=at(60))

    assert (sent(0), sent(1)) == (1, 0)


def test_no_more_than_the_rate_is_sent_however_often_is_looked() -> None:
    paced_at, sent = NOON, 0
    for step in range(1, 1001):
        now = at(step * 0.01)
        number = allowance(ReplayState.RUNNING, rate=7, paced_at=paced_at, underway=0, now=now)
        if number:
            paced_at, sent = paced(number, rate=7, paced_at=paced_at, now=now), sent + number
    assert 69 <= sent <= 70  # ten seconds


def test_after_a_pause_there_is_a_second_worth_and_not_a_flood() -> None:
    number = allowance(ReplayState.RUNNING, rate=10, paced_at=NOON, underway=0, now=at(3600))
    assert number == 10
    assert paced(number, rate=10, paced_at=NOON, now=at(3600)) == at(3600)


def test_a_rate_below_one_a_second_sends_one_now_and_then() -> None:
    assert allowance(ReplayState.RUNNING, rate=0.5, paced_at=NOON, underway=0, now=at(1)) == 0
    assert allowance(ReplayState.RUNNING, rate=0.5, paced_at=NOON, underway=0, now=at(2)) == 1
    assert paced(1, rate=0.5, paced_at=NOON, now=at(2)) == NOON + timedelta(seconds=2)


def test_what_is_on_its_way_bounds_what_follows() -> None:
    def sent(underway: int) -> int:
        return allowance(ReplayState.RUNNING, rate=1000, paced_at=NOON, underway=underway, now=at(1))

    assert (sent(0), sent(MOST_UNDERWAY - 1), sent(MOST_UNDERWAY)) == (MOST_UNDERWAY, 1, 0)
