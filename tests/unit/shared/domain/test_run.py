"""The words for a run, and their order."""

import pytest

from shared.bus.topology import CLASSES
from shared.domain.run import Mode, Reason, State, SyncClass


def test_full_is_stronger_than_incremental() -> None:
    assert sorted(Mode, key=lambda mode: mode.strength) == [Mode.INCREMENTAL, Mode.FULL]


def test_classes_are_ordered_by_how_near_the_start_is() -> None:
    nearest_first = [SyncClass.RACEDAY, SyncClass.NEAR, SyncClass.ROUTINE, SyncClass.BACKFILL]

    assert sorted(SyncClass, key=lambda each: each.distance) == nearest_first


def test_every_class_has_its_queues() -> None:
    assert tuple(SyncClass) == CLASSES


@pytest.mark.parametrize("one", Reason)
@pytest.mark.parametrize("other", Reason)
def test_a_request_of_two_is_spare_only_if_both_are(one: Reason, other: Reason) -> None:
    assert one.joined(other) in {one, other}
    assert one.joined(other).is_spare == (one.is_spare and other.is_spare)
    assert one.joined(one) is one


@pytest.mark.parametrize("state", State)
def test_only_an_ended_run_is_final(state: State) -> None:
    assert state.is_final == (state in {State.COMPLETED, State.FAILED, State.EXPIRED, State.REPLACED})
