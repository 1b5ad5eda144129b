"""Doing it again: what a replay is about, and how it goes from its first item to its last.

canary ──first one done──▶ running ──all finished──▶ done
  │  └──first one failed──▶ stopped      │
  └───────────── an operator ────────────┴─────────▶ cancelled
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum

#: Items on their way at once: the queues of the lowest class never hold more of a replay.
MOST_UNDERWAY = 20


class What(StrEnum):
    """What the items of a replay are."""

    RECORDS = "records"  # archived batches, applied again at no call
    RUNS = "runs"  # former runs, asked of the provider again
    QUARANTINE = "quarantine"  # records that could not be stored
    DEAD_LETTERS = "dead-letters"  # messages that could not be handled
    REMOVALS = "removals"  # held removals that an operator believes


class ReplayState(StrEnum):
    """Where a replay stands."""

    CANARY = "canary"  # the first item alone
    RUNNING = "running"
    DONE = "done"  # every item is finished, well or badly
    STOPPED = "stopped"  # the first one failed: the rest was left as it was
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """No further item is sent."""
        return self not in {ReplayState.CANARY, ReplayState.RUNNING}


class ItemOutcome(StrEnum):
    """What became of an item."""

    DONE = "done"
    AGAIN = "again"  # a record that is as unusable as before
    FAILED = "failed"
    SKIPPED = "skipped"  # nothing was left to do


def next_state(state: ReplayState, finished: Mapping[str, int], unfinished: int) -> ReplayState:
    """Where a replay stands, by how many items finished with which outcome.

    A canary that is done, or for which nothing was left to do, lets the rest go.
    """
    good = finished.get(ItemOutcome.DONE, 0) + finished.get(ItemOutcome.SKIPPED, 0)
    if state is ReplayState.CANARY and good < sum(finished.values()):
        return ReplayState.STOPPED if unfinished else ReplayState.DONE
    if state.is_final or not unfinished:
        return state if state.is_final else ReplayState.DONE
    return ReplayState.RUNNING if good else state


def allowance(state: ReplayState, *, rate: float, paced_at: datetime, underway: int, now: datetime) -> int:
    """How many items may be sent now: the rate's share of the time since ``paced_at``, a second's worth at the most."""
    if state is ReplayState.CANARY:
        return 0 if underway else 1
    seconds = min(max(1.0, 1 / rate), (now - paced_at).total_seconds())
    return max(0, min(int(rate * seconds), MOST_UNDERWAY - underway))


def paced(sent: int, *, rate: float, paced_at: datetime, now: datetime) -> datetime:
    """Up to when the rate is used, after so many were sent: what was not used for more than a second is lost."""
    earliest = now - timedelta(seconds=max(1.0, 1 / rate))
    return max(paced_at, earliest) + timedelta(seconds=sent / rate)
