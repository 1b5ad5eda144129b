"""What of a key's budget is ours, when somebody else uses the key too."""

import pytest

from shared.domain.budget import others_when_throttled, others_when_told, usable_limit
from tests.builders import NOON, at


@pytest.mark.parametrize(("minutes", "usable"), [(0, 600), (15, 700), (30, 800), (60, 1000), (600, 1000), (-1, 600)])
def test_what_somebody_else_used_grows_back_evenly_within_the_hour(minutes: float, usable: int) -> None:
    assert usable_limit(1000, 400, NOON, at(60 * minutes)) == usable


def test_a_key_that_nobody_else_uses_is_all_ours() -> None:
    assert usable_limit(1000, 0, None, NOON) == 1000


@pytest.mark.parametrize(("limit", "usable"), [(1000, 100), (5, 1)])
def test_however_much_others_use_some_calls_are_still_tried(limit: int, usable: int) -> None:
    assert usable_limit(limit, limit * 2, NOON, NOON) == usable


def test_a_refused_call_halves_the_room_that_we_thought_to_have_and_again_when_it_is_told_again() -> None:
    assert others_when_throttled(1000, 1000, 200) == 400
    assert others_when_throttled(600, 1000, 200) == 600
    assert others_when_throttled(400, 1000, 400) == 600  # no room left: it was our own count
    assert others_when_throttled(300, 1000, 400) == 700


def test_a_provider_that_counts_tells_exactly_what_others_use() -> None:
    assert others_when_told(1000, 500, 200) == 300
    assert others_when_told(1000, 800, 300) == 0
