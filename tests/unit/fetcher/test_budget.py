"""Whether a call may go out, most lasting obstacle first."""

from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.budget import (
    FAILURES_IN_A_ROW,
    REST,
    Go,
    Hold,
    Postpone,
    Situation,
    Slot,
    allowance,
    decide,
    is_privileged,
    rest_after,
)
from shared.domain.run import Reason, SyncClass
from tests.builders import at

FREE = Slot(0, None, at(-1))
OURS = Slot(1, "ours", at(60))
THEIRS = Slot(1, "theirs", at(60))

CALM = Situation(
    now=at(0),
    limit=1000,
    counting=0,
    frees_at=None,
    blocked_until=None,
    block_reason=None,
    slots=(FREE, Slot(1, None, at(-1))),
    other_waits=False,
    others_exist=False,
)


def test_with_budget_and_a_free_slot_a_call_goes_out() -> None:
    assert decide(CALM, 900, "ours") == Go(0, is_last=False)


def test_a_slot_whose_lease_ends_now_is_free() -> None:
    assert decide(replace(CALM, slots=(Slot(0, "theirs", at(0)),)), 900, "ours") == Go(0, is_last=True)


def test_a_spent_budget_postpones_until_enough_calls_have_stopped_counting() -> None:
    assert decide(replace(CALM, counting=900, frees_at=at(50)), 900, "ours") == Postpone(at(50), "budget")


def test_the_last_call_of_a_budget_still_goes_out() -> None:
    assert decide(replace(CALM, counting=899), 900, "ours") == Go(0, is_last=False)


def test_a_key_without_any_allowance_waits_an_hour() -> None:
    assert decide(CALM, 0, "ours") == Postpone(at(3600), "budget")


@pytest.mark.parametrize("reason", ["throttled", "slow", None])
def test_a_blocked_key_is_postponed_until_its_block_ends(reason: str | None) -> None:
    blocked = replace(CALM, blocked_until=at(300), block_reason=reason, counting=900, frees_at=at(9))
    assert decide(blocked, 900, "ours") == Postpone(at(300), reason or "blocked")


def test_a_block_that_ends_now_blocks_no_more() -> None:
    assert decide(replace(CALM, blocked_until=at(0), block_reason="slow"), 900, "ours") == Go(0, is_last=False)


def test_without_a_free_slot_it_is_a_matter_of_seconds() -> None:
    assert decide(replace(CALM, slots=(replace(OURS, number=0), THEIRS)), 900, "ours") == Hold(fair=False)


def test_the_only_key_takes_both_slots() -> None:
    assert decide(replace(CALM, slots=(FREE, OURS)), 900, "ours") == Go(0, is_last=True)


def test_the_last_free_slot_is_not_for_a_key_that_holds_one() -> None:
    """Both of its answers may take half a minute, and another key may come by at any moment."""
    assert decide(replace(CALM, slots=(FREE, OURS), others_exist=True), 900, "ours") == Hold(fair=True)
    assert decide(replace(CALM, slots=(FREE, THEIRS), others_exist=True), 900, "ours") == Go(0, is_last=True)
    two_free = (FREE, OURS, replace(FREE, number=2))
    assert decide(replace(CALM, slots=two_free, others_exist=True), 900, "ours") == Go(0, is_last=False)


def test_a_key_with_a_slot_leaves_the_other_to_who_waits() -> None:
    assert decide(replace(CALM, slots=(FREE, OURS), other_waits=True), 900, "ours") == Hold(fair=True)


def test_a_key_without_a_slot_takes_one_though_another_waits() -> None:
    assert decide(replace(CALM, slots=(FREE, THEIRS), other_waits=True), 900, "ours") == Go(0, is_last=True)


def test_an_expired_lease_of_ones_own_does_not_count_as_a_slot() -> None:
    gone = Slot(1, "ours", at(-5))
    assert decide(replace(CALM, slots=(FREE, gone), other_waits=True), 900, "ours") == Go(0, is_last=False)


@pytest.mark.parametrize(
    ("limit", "share", "privileged", "allowed"),
    [(1000, 0.1, False, 900), (1000, 0.1, True, 1000), (5, 0.1, False, 5), (1, 0.99, False, 1), (10, 0.0, False, 10)],
)
def test_lower_classes_leave_a_reserve(limit: int, share: float, privileged: bool, allowed: int) -> None:
    assert allowance(limit, share, sync_class=SyncClass.ROUTINE, privileged=privileged) == allowed


@pytest.mark.parametrize(("foreseen", "allowed"), [(0, 900), (80, 900), (300, 700), (900, 500)])
def test_lower_classes_leave_free_what_the_coming_race_morning_needs_up_to_half(foreseen: int, allowed: int) -> None:
    assert allowance(1000, 0.1, sync_class=SyncClass.NEAR, privileged=False, foreseen=foreseen) == allowed
    assert allowance(1000, 0.1, sync_class=SyncClass.RACEDAY, privileged=True, foreseen=foreseen) == 1000


@pytest.mark.parametrize(
    ("limit", "share", "allowed"), [(1000, 0.5, 500), (1000, 1.0, 900), (1, 0.5, 1), (1000, 0.001, 1)]
)
def test_a_backfill_leaves_more_than_the_reserve_to_the_fresh(limit: int, share: float, allowed: int) -> None:
    assert allowance(limit, 0.1, share, sync_class=SyncClass.BACKFILL, privileged=False) == allowed


@given(limit=st.integers(1, 5000), share=st.floats(0, 0.99), privileged=st.booleans())
def test_an_allowance_is_never_more_than_the_limit_nor_nothing(limit: int, share: float, privileged: bool) -> None:
    assert 1 <= allowance(limit, share, sync_class=SyncClass.ROUTINE, privileged=privileged) <= limit


@pytest.mark.parametrize("sync_class", SyncClass)
@pytest.mark.parametrize("reason", Reason)
def test_only_race_day_work_and_an_operator_may_touch_the_reserve(sync_class: SyncClass, reason: Reason) -> None:
    privileged = sync_class is SyncClass.RACEDAY or reason is Reason.OPERATOR
    assert is_privileged(sync_class, reason) is privileged


def test_a_failure_or_two_are_tried_again_at_once() -> None:
    assert not any(rest_after(failures, 1000, 1000) for failures in range(FAILURES_IN_A_ROW))


def test_a_key_whose_calls_go_on_failing_rests_the_longer_the_fuller_its_hour_is() -> None:
    assert rest_after(3, 1000, 1000) == rest_after(30, 1000, 1000) == REST
    assert rest_after(3, 750, 1000) == REST / 2
    assert rest_after(3, 1200, 1000) == REST  # a limit that has just shrunk


def test_a_key_that_has_calls_to_spare_spends_them_on_trying() -> None:
    assert not any(rest_after(30, counting, 1000) for counting in (0, 250, 500))


slots = st.lists(st.tuples(st.sampled_from((None, "ours", "theirs")), st.integers(-5, 5)), min_size=1, max_size=4).map(
    lambda rows: tuple(Slot(number, key, at(until)) for number, (key, until) in enumerate(rows))
)


@given(slots=slots, waits=st.booleans(), counting=st.integers(0, 5), blocked=st.none() | st.integers(-5, 5))
def test_a_call_goes_out_only_into_a_free_slot_within_the_allowance_and_unblocked(
    slots: tuple[Slot, ...], waits: bool, counting: int, blocked: int | None
) -> None:
    until: datetime | None = None if blocked is None else at(blocked)
    situation = replace(CALM, slots=slots, other_waits=waits, counting=counting, frees_at=at(9), blocked_until=until)
    verdict = decide(situation, 3, "ours")
    if isinstance(verdict, Go):
        assert slots[verdict.slot].leased_until <= at(0)
        assert counting < 3
        assert until is None or until <= at(0)
    elif isinstance(verdict, Postpone):
        assert verdict.until > at(0)
