from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from shared.bus.lanes import TRICKLE, choose_lane


def picks(waiting: list[int], count: int) -> list[int | None]:
    """Which lanes the first picks go to while each lane keeps being refilled."""
    return [choose_lane(waiting, pick) for pick in range(1, count + 1)]


def test_nothing_waiting_is_nothing_chosen() -> None:
    assert choose_lane([0, 0, 0, 0], 1) is None
    assert choose_lane([], TRICKLE) is None


def test_the_nearest_lane_comes_first() -> None:
    assert choose_lane([0, 2, 5, 1], 1) == 1


def test_every_sixteenth_pick_goes_to_the_lowest_lane() -> None:
    assert picks([9, 0, 0, 9], 32) == [*[0] * 15, 3, *[0] * 15, 3]


def test_lanes_between_two_busy_ones_move_too() -> None:
    chosen = Counter(picks([9, 9, 9, 9], 16 * 6))
    assert chosen == {0: 90, 1: 2, 2: 2, 3: 2}


def test_the_only_filled_lane_gets_every_pick() -> None:
    assert set(picks([0, 3, 0, 0], 64)) == {1}


waiting = st.lists(st.integers(0, 3), min_size=1, max_size=6)


@given(waiting, st.integers(1, 10_000))
def test_a_chosen_lane_is_never_empty_and_the_nearest_unless_it_trickles(lanes: list[int], pick: int) -> None:
    lane = choose_lane(lanes, pick)
    if lane is None:
        assert not any(lanes)
    else:
        assert lanes[lane]
        if pick % TRICKLE:
            assert not any(lanes[:lane])


@given(st.lists(st.integers(1, 3), min_size=2, max_size=6), st.integers(0, 1000))
def test_no_lane_starves(lanes: list[int], start: int) -> None:
    """From any moment on, each lower lane is served within one round of the trickle."""
    round_of_trickle = TRICKLE * (len(lanes) - 1)
    seen = {choose_lane(lanes, start + pick) for pick in range(1, round_of_trickle + 1)}
    assert seen == set(range(len(lanes)))
