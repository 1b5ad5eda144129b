"""How long a run may take."""

import pytest

from shared.deadlines import DeadlineSettings
from shared.domain.run import Mode, SyncClass

SETTINGS = DeadlineSettings(
    deadline_raceday_seconds=1,
    deadline_near_seconds=2,
    deadline_far_seconds=3,
    deadline_backfill_seconds=50,
    deadline_full_seconds=10,
)


@pytest.mark.parametrize(
    ("sync_class", "changes", "everybody"),
    [(SyncClass.RACEDAY, 1, 10), (SyncClass.NEAR, 2, 10), (SyncClass.ROUTINE, 3, 10), (SyncClass.BACKFILL, 50, 50)],
)
def test_the_nearer_class_waits_less_for_a_lost_message_and_a_full_pass_has_time(
    sync_class: SyncClass, changes: int, everybody: int
) -> None:
    assert SETTINGS.deadline(sync_class, Mode.INCREMENTAL) == changes
    assert SETTINGS.deadline(sync_class, Mode.FULL) == everybody
