"""At most one outstanding request a race, and nobody's wish is lost by it. All strengths are tried."""

from itertools import product

import pytest

from shared.domain.asking import Strength, Verdict, judge
from shared.domain.run import Mode, State, SyncClass

STRENGTHS = [Strength(*each) for each in product(Mode, SyncClass, (False, True), (False, True))]
PAIRS = list(product(STRENGTHS, STRENGTHS))
WAITING = (State.QUEUED, State.REQUESTED)
UNDER_WAY = (State.RUNNING, State.FETCHED)


def satisfies(one: Strength, other: Strength) -> bool:
    """Whether whoever asked for the other is content with the one."""
    return (
        one.mode.strength >= other.mode.strength
        and one.sync_class.distance <= other.sync_class.distance
        and (one.removals or not other.removals)
        and one.is_spare <= other.is_spare
    )


# -- joined is a join ------------------------------------------------------------------------------------------------


def test_joining_is_the_same_both_ways_round() -> None:
    assert all(one.joined(other) == other.joined(one) for one, other in PAIRS)


def test_joining_a_request_with_itself_changes_nothing() -> None:
    assert all(each.joined(each) == each for each in STRENGTHS)


def test_joining_three_is_the_same_in_any_order() -> None:
    for one, other in PAIRS:
        for third in STRENGTHS:
            assert one.joined(other).joined(third) == one.joined(other.joined(third))


def test_a_joined_request_satisfies_both() -> None:
    for one, other in PAIRS:
        assert satisfies(one.joined(other), one)
        assert satisfies(one.joined(other), other)


def test_a_joined_request_asks_for_no_more_than_both_need() -> None:
    for one, other in PAIRS:
        enough = [each for each in STRENGTHS if satisfies(each, one) and satisfies(each, other)]
        assert all(satisfies(each, one.joined(other)) for each in enough)


# -- judge -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("needs_fresh", [False, True])
def test_with_nothing_outstanding_an_ask_becomes_a_request(needs_fresh: bool) -> None:
    assert {judge(ask, None, None, needs_fresh=needs_fresh) for ask in STRENGTHS} == {Verdict.INSERT}


@pytest.mark.parametrize("needs_fresh", [False, True])
@pytest.mark.parametrize("state", WAITING)
def test_an_ask_joins_what_waits_exactly_if_that_satisfies_it(state: State, needs_fresh: bool) -> None:
    for ask, waiting in PAIRS:
        expected = Verdict.JOIN if satisfies(waiting, ask) else Verdict.REPLACE
        assert judge(ask, waiting, state, needs_fresh=needs_fresh) is expected


@pytest.mark.parametrize("state", WAITING)
def test_what_replaces_a_waiting_request_satisfies_both_for_good(state: State) -> None:
    for ask, waiting in PAIRS:
        if judge(ask, waiting, state, needs_fresh=True) is Verdict.REPLACE:
            successor = ask.joined(waiting)
            assert successor != waiting
            assert judge(ask, successor, state, needs_fresh=True) is Verdict.JOIN
            assert judge(waiting, successor, state, needs_fresh=True) is Verdict.JOIN


@pytest.mark.parametrize("state", UNDER_WAY)
def test_an_ask_that_needs_a_fresh_look_waits_behind_whatever_runs(state: State) -> None:
    assert {judge(ask, running, state, needs_fresh=True) for ask, running in PAIRS} == {Verdict.QUEUE}


@pytest.mark.parametrize("state", UNDER_WAY)
def test_a_scheduled_ask_is_content_with_a_run_that_brings_as_much_in_whatever_class(state: State) -> None:
    for ask, running in PAIRS:
        brings = running.mode.strength >= ask.mode.strength and (running.removals or not ask.removals)
        expected = Verdict.JOIN if brings else Verdict.QUEUE
        assert judge(ask, running, state, needs_fresh=False) is expected


@pytest.mark.parametrize("needs_fresh", [False, True])
@pytest.mark.parametrize("state", [each for each in State if not each.is_final])
def test_a_second_request_is_never_made_while_one_is_outstanding(state: State, needs_fresh: bool) -> None:
    for ask, outstanding in PAIRS:
        assert judge(ask, outstanding, state, needs_fresh=needs_fresh) is not Verdict.INSERT


@pytest.mark.parametrize("state", UNDER_WAY)
def test_what_runs_is_never_replaced(state: State) -> None:
    for ask, running in PAIRS:
        for needs_fresh in (False, True):
            assert judge(ask, running, state, needs_fresh=needs_fresh) is not Verdict.REPLACE
