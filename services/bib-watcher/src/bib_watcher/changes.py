"""What a bib change means: given, changed, swapped, cleared, blanked, duplicate, out of range. Plain functions.

A bib is text, and not unique at the provider: bundles repeat it in their sub-events on purpose.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from shared.domain.bibs import BibRanges, Relations, Wearer, conflict, is_outside
from shared.domain.run import Reason


class BibKind(StrEnum):
    """What happened to a bib."""

    GIVEN = "given"
    CHANGED = "changed"
    SWAPPED = "swapped"  # two people of one race exchanged theirs
    CLEARED = "cleared"
    BLANKED = "blanked"  # cleared within hours of the start, of somebody who is still there
    DUPLICATE = "duplicate"  # somebody else of the race wears it too
    OUT_OF_RANGE = "out_of_range"  # none that the event gives out


class BibDiff(NamedTuple):
    """One participant's bib, before and after, as the feed told it."""

    feed_id: int
    registration_id: str
    event_id: str
    before: str | None
    after: str | None
    is_removal: bool = False  # its wearer left


class BibEvent(NamedTuple):
    """One thing to tell about a bib."""

    kind: BibKind
    diff: BibDiff
    other_registration_id: str | None = None


def interpret(
    diffs: Sequence[BibDiff],
    wearers: Mapping[str, Sequence[Wearer]],
    bundles: Relations,
    starting: AbstractSet[str] = frozenset(),
    ranges: BibRanges = MappingProxyType({}),
) -> list[BibEvent]:
    """The events that a race's bib diffs mean, in the order of the feed.

    ``wearers`` says who wears each of the new bibs now; ``bundles`` which events are sub-events of which; ``starting``
    which events start within hours, or have just started; ``ranges`` which bibs they give out. Two diffs are a swap
    when each took the other's former bib. A new bib that somebody else wears too is told twice: as what it is, and as a
    duplicate, unless the other is the same person's registration in a bundle or its sub-event. So is one that its event
    does not give out.
    """
    moved: dict[tuple[str | None, str | None], BibDiff] = {
        (each.before, each.after): each for each in diffs if each.before and each.after
    }
    events = []
    for diff in diffs:
        if diff.before == diff.after:
            continue
        other = moved.get((diff.after, diff.before))
        if other is not None and other.registration_id != diff.registration_id:
            events.append(BibEvent(BibKind.SWAPPED, diff, other.registration_id))
        else:
            events.append(BibEvent(kind_of(diff, starting), diff))
        if diff.after is None:
            continue
        worn = wearers.get(diff.after, ())
        mine = next((each for each in worn if each.registration_id == diff.registration_id), None)
        if mine is None:  # passed it on meanwhile
            continue
        twin = next((each for each in worn if conflict(mine, each, bundles)), None)
        if twin is not None:
            events.append(BibEvent(BibKind.DUPLICATE, diff, twin.registration_id))
        if is_outside(mine, diff.after, worn, ranges, bundles):
            events.append(BibEvent(BibKind.OUT_OF_RANGE, diff))
    return events


def kind_of(diff: BibDiff, starting: AbstractSet[str] = frozenset()) -> BibKind:
    """What one diff means by itself."""
    if diff.after is None:
        return BibKind.BLANKED if diff.event_id in starting and not diff.is_removal else BibKind.CLEARED
    return BibKind.GIVEN if diff.before is None else BibKind.CHANGED


@dataclass(frozen=True, slots=True)
class FollowUp:
    """Ask for the race again, soon."""

    removals: bool  # a bib moved between people: somebody may have left


#: What these runs find is not followed up: a follow-up's finding would never end, and a first load is no news.
QUIET = frozenset({Reason.FOLLOW_UP, Reason.FIRST, Reason.BACKFILL, Reason.INJECTED})


def follow_up(reason: Reason, kinds: AbstractSet[BibKind]) -> FollowUp | None:
    """Whether what happened to bibs, as a run found it, asks for another look at the race."""
    if reason in QUIET or not kinds:
        return None
    moved = {BibKind.SWAPPED, BibKind.DUPLICATE, BibKind.CLEARED, BibKind.BLANKED}
    return FollowUp(removals=not moved.isdisjoint(kinds))
