"""At most one outstanding request per race: what becomes of an ask when there is one already."""

from dataclasses import dataclass
from enum import StrEnum

from shared.domain.run import Mode, State, SyncClass


@dataclass(frozen=True, slots=True)
class Strength:
    """What of a request decides which of two stands."""

    mode: Mode
    sync_class: SyncClass
    removals: bool
    is_spare: bool  # it takes what the planned leaves of a budget, and may wait for longer

    def joined(self, other: "Strength") -> "Strength":
        """A request that satisfies both: the stronger mode, the nearer class, removals if either wants them.

        It is spare only if both are.
        """
        return Strength(
            mode=max(self.mode, other.mode, key=lambda mode: mode.strength),
            sync_class=min(self.sync_class, other.sync_class, key=lambda each: each.distance),
            removals=self.removals or other.removals,
            is_spare=self.is_spare and other.is_spare,
        )


class Verdict(StrEnum):
    """What to do with an ask."""

    INSERT = "insert"  # nothing is outstanding: request it
    JOIN = "join"  # what waits already satisfies it
    REPLACE = "replace"  # what waits is weaker: a joined request takes its place
    QUEUE = "queue"  # a call of what runs may be older than the ask: wait for its end, then request


def judge(
    ask: Strength, outstanding: Strength | None, state: State | None, *, needs_fresh: bool, has_begun: bool = False
) -> Verdict:
    """Decide what becomes of an ask.

    ``needs_fresh`` says that only a run whose first call comes after the ask satisfies it (an operator, a
    follow-up); a scheduled ask is content with a run under way that is as strong.
    """
    if outstanding is None or state is None:
        return Verdict.INSERT
    enough = outstanding.joined(ask) == outstanding
    if state in {State.QUEUED, State.REQUESTED}:
        if has_begun and needs_fresh:  # put back after its first calls: it goes on, and those are older than the ask
            return Verdict.REPLACE if state is State.QUEUED else Verdict.QUEUE
        return Verdict.JOIN if enough else Verdict.REPLACE
    if needs_fresh or not _satisfied_by_running(ask, outstanding):
        return Verdict.QUEUE
    return Verdict.JOIN


def _satisfied_by_running(ask: Strength, running: Strength) -> bool:
    """A run under way keeps its class: what counts is what it brings."""
    return running.mode.strength >= ask.mode.strength and (running.removals or not ask.removals)
