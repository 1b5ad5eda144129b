"""Whether a call may go out now. A plain decision over what the ledger and the slots say.

The promise is exact: in no rolling hour more calls than the limit. A token bucket could not keep it (burst B and rate R
allow B + R in one hour); a ledger can: a call counts from its reservation until an hour after its end, so whatever
the moment of its arrival at the provider, it is counted throughout the hour around it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain.budget import HOUR
from shared.domain.run import Reason, SyncClass

#: Why a call has to wait for others to stop counting.
BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for one call in flight."""

    number: int
    fingerprint: str | None
    leased_until: datetime


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of a key and of its caller's slots, at one moment."""

    now: datetime
    limit: int  # calls in a rolling hour that are ours
    counting: int  # calls that count now
    frees_at: datetime | None  # when enough of them stop counting for one more call of this class
    blocked_until: datetime | None
    block_reason: str | None
    slots: tuple[Slot, ...]
    other_waits: bool  # another key, without a slot, waits for one
    others_exist: bool  # there are other keys in use, which may come by at any moment


@dataclass(frozen=True, slots=True)
class Go:
    """Call now, in this slot."""

    slot: int
    is_last: bool  # no other one is free


@dataclass(frozen=True, slots=True)
class Hold:
    """No slot just now; it is a matter of seconds."""

    fair: bool  # there is one, but it is another key's turn


@dataclass(frozen=True, slots=True)
class Postpone:
    """No call before ``until``: the run goes back to the database. That is neither a failure nor an attempt."""

    until: datetime
    reason: str


def is_privileged(sync_class: SyncClass, reason: Reason) -> bool:
    """Who may touch the reserve: race-day work and an operator."""
    return sync_class is SyncClass.RACEDAY or reason is Reason.OPERATOR


#: However much race-day work is foreseen, lower classes may go on with this share.
LOWER_SHARE = 0.5


def allowance(
    limit: int,
    reserve_share: float,
    backfill_share: float = 1.0,
    *,
    sync_class: SyncClass,
    privileged: bool,
    foreseen: int = 0,
) -> int:
    """How many of an hour's calls this class of work may bring the count to.

    ``foreseen`` race-day calls of the coming hour are held free too: what a first load takes at half past two is
    lacking at three, when the morning begins. A backfill stops far below the reserve: what the fresh needs in the
    coming hour must not be spent on the past.
    """
    if privileged:
        return limit
    fresh = limit - max(int(limit * reserve_share), min(foreseen, int(limit * LOWER_SHARE)))
    return min(fresh, max(1, int(limit * backfill_share))) if sync_class is SyncClass.BACKFILL else fresh


#: After so many failures one after the other a key's calls stand back, until one of them is answered.
FAILURES_IN_A_ROW = 3
#: For how long each time when all of the hour's calls are spent.
REST = timedelta(seconds=30)


def rest_after(failures: int, counting: int, limit: int) -> timedelta:
    """How long a key rests after so many of its calls failed one after the other: the longer, the fuller its hour is.

    While a provider fails, everybody asks again until there is an answer, and a stretched hour's budget and reserve
    are gone when it is well (found by `make weekend`). Up to half of the limit there are calls to spare for that.
    """
    spent = min(1.0, counting / limit)
    return REST * max(0.0, 2 * spent - 1) if failures >= FAILURES_IN_A_ROW else timedelta()


def decide(situation: Situation, allowed: int, fingerprint: str) -> Go | Hold | Postpone:
    """The decision, most lasting obstacle first."""
    if situation.blocked_until is not None and situation.blocked_until > situation.now:
        return Postpone(situation.blocked_until, situation.block_reason or "blocked")
    if situation.counting >= allowed:
        return Postpone(situation.frees_at or situation.now + HOUR, BUDGET)
    free = [slot for slot in situation.slots if slot.leased_until <= situation.now]
    if not free:
        return Hold(fair=False)
    holds_one = any(slot.fingerprint == fingerprint and slot.leased_until > situation.now for slot in situation.slots)
    # The last free slot is not for a key that holds one: if its answers take half a minute just now, nobody else would
    # get a word in (the bench of walls: races of the other twelve partners were four times as old).
    if holds_one and (situation.other_waits or (situation.others_exist and len(free) == 1)):
        return Hold(fair=True)
    return Go(free[0].number, is_last=len(free) == 1)
