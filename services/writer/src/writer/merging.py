"""What becomes of a record: new, changed, unchanged, stale, removed, restored. Plain functions over values.

Fields follow (the provider's last_modified, then when they were fetched); presence follows when it was fetched alone.
So any old message can come again, late and out of order, and nothing newer is ever overwritten.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

from shared.domain.participant import Participant, Removal

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

#: Columns a diff speaks of: all that is mapped, but the key and the hash.
DIFF_FIELDS = tuple(field for field in Participant._fields if field not in {"registration_id", "content_hash"})
JSON_FIELDS = frozenset({"address", "team_info", "payment_info", "additional_data"})
#: What a diff tells of a row that was adopted from another system, when the provider's own record first replaces it.
#: That system spelled times and JSON in other ways (an absent price was 0 there): that would tell of everybody.
ADOPTED_FIELDS = (
    frozenset(DIFF_FIELDS)
    - JSON_FIELDS
    - {*("notes", "user_id", "profile_image_url", "registered_at", "provider_modified_at")}
)


class Outcome(StrEnum):
    """What became of a row."""

    ADDED = "added"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    STALE = "stale"
    RESTORED = "restored"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Version:
    """How new a stored row is, and whether its person is there."""

    content_hash: bytes  # empty: what stands there is not a provider's record, and any record is better
    provider_modified_at: datetime | None
    fetched_at: datetime
    presence_at: datetime
    is_removed: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a row, and whether its fields are written."""

    outcome: Outcome
    write_fields: bool


#: Of somebody new: the same for each of a hundred thousand people of a first load.
NEW = Decision(Outcome.ADDED, write_fields=True)


def judge(incoming: Participant, fetched_at: datetime, stored: Version | None) -> Decision:
    """Decide what a record that was present in an answer does to the stored row."""
    if stored is None:
        return NEW
    back = stored.is_removed and fetched_at > stored.presence_at
    differs = incoming.content_hash != stored.content_hash
    # No hash: a row left by the removal of somebody never seen, or adopted from another system, whose idea of
    # last_modified may be hours off. Any record is better.
    newer = (not stored.content_hash and (back or not stored.is_removed)) or (
        incoming.provider_modified_at or LONG_AGO,
        fetched_at,
    ) >= (stored.provider_modified_at or LONG_AGO, stored.fetched_at)
    if back:
        return Decision(Outcome.RESTORED, write_fields=differs and newer)
    if not differs:
        return Decision(Outcome.UNCHANGED, write_fields=False)
    if not newer:
        return Decision(Outcome.STALE, write_fields=False)
    return Decision(Outcome.UPDATED, write_fields=True)


def judge_removal(removal: Removal, fetched_at: datetime, stored: Version | None) -> Outcome:
    """Decide what an entry in the provider's list of removed people does to the stored row.

    A removal of somebody never seen is kept (ADDED, as removed): an older page may still be on its way. Somebody
    edited after the removal has come back, and stays.
    """
    if stored is None:
        return Outcome.ADDED
    if stored.is_removed:
        return Outcome.UNCHANGED
    if fetched_at <= stored.presence_at:
        return Outcome.STALE
    gone, edited = removal.provider_modified_at, stored.provider_modified_at
    if gone is not None and edited is not None and gone < edited:
        return Outcome.STALE
    return Outcome.REMOVED


def latest_of_each(participants: list[Participant]) -> list[Participant]:
    """A batch's people without repetition: of two records of one registration, the later modified, then the later."""
    chosen: dict[str, Participant] = {}
    for each in participants:
        other = chosen.get(each.registration_id)
        if other is None or (each.provider_modified_at or LONG_AGO) >= (other.provider_modified_at or LONG_AGO):
            chosen[each.registration_id] = each
    return list(chosen.values())


def differences(before: Mapping[str, Any], after: Participant) -> dict[str, tuple[Any, Any]]:
    """Field by field what changed, as JSON values; JSON columns are compared by what they say, not by spelling."""
    changed = {}
    for field in DIFF_FIELDS:
        old, new = before[field], getattr(after, field)
        if old == new:
            continue
        if field in JSON_FIELDS:
            old, new = _parsed(old), _parsed(new)
            if old == new:
                continue
        changed[field] = (_plain(old), _plain(new))
    return changed


def worth_telling(before: Mapping[str, Any], changes: dict[str, tuple[Any, Any]]) -> dict[str, tuple[Any, Any]]:
    """Which of a stored row's changes the feed tells: all; of an adopted row (active, no hash) the comparable ones."""
    if before["content_hash"] or before["removed_at"] is not None:
        return changes
    return {field: pair for field, pair in changes.items() if field in ADOPTED_FIELDS}


def _parsed(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


#: From so many people on, losing more than half of a race is held, however small the race is.
MOST_OF_FEW = 5


@dataclass(frozen=True, slots=True)
class Loss:
    """What a complete full pass did not contain."""

    missing: int
    active: int  # people of those events before
    seen: int  # people in the pass
    unreadable: int  # rows whose id could not be read


def may_remove(loss: Loss, *, share: float, people: int) -> tuple[bool, str]:
    """Whether people who were not in a complete pass may be marked as gone, and if not, why.

    Nobody is removed by silence: an empty pass, or one with a row that cannot be named, removes nobody; one that would
    remove more than a share and more than a number of people is held for an operator.
    """
    if loss.unreadable:
        return False, "unreadable"
    if loss.seen == 0:
        return False, "empty"
    if loss.missing > people and loss.missing > share * loss.active:
        return False, "too_many"
    if loss.missing >= MOST_OF_FEW and loss.missing > loss.active / 2:
        return False, "too_many"  # of a small race too: most of its people at once is not believed
    return True, ""
