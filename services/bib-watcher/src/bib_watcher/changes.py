"""What a bib change means: given, changed, swapped, cleared, duplicate. Plain functions over values.

A bib is text, and not unique at the provider: bundles repeat it in their sub-events on purpose.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

from shared.domain.run import Reason


class BibKind(StrEnum):
    """What happened to a bib."""

    GIVEN = "given"
    CHANGED = "changed"
    SWAPPED = "swapped"  # two people of one race exchanged theirs
    CLEARED = "cleared"
    DUPLICATE = "duplicate"  # somebody else of the race wears it too


@dataclass(frozen=True, slots=True)
class BibDiff:
    """One participant's bib, before and after, as the feed told it."""

    feed_id: int
    registration_id: str
    event_id: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class BibEvent:
    """One thing to tell about a bib."""

    kind: BibKind
    diff: BibDiff
    other_registration_id: str | None = None


@dataclass(frozen=True, slots=True)
class Wearer:
    """Somebody who wears a bib now."""

    registration_id: str
    event_id: str
    user_id: str | None = None


def interpret(
    diffs: Sequence[BibDiff],
    wearers: Mapping[str, Sequence[Wearer]],
    bundles: Mapping[str, AbstractSet[str]],
    users: Mapping[str, str | None],
) -> list[BibEvent]:
    """The events that a race's bib diffs mean, in the order of the feed.

    ``wearers`` says who wears each of the new bibs now; ``bundles`` which events are sub-events of which; ``users``
    whose the registrations are. Two diffs are a swap when each took the other's former bib. A new bib that
    somebody else wears too is told twice: as what it is, and as a duplicate, unless the other is the same person's
    registration in a bundle or its sub-event.
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
            events.append(BibEvent(kind_of(diff), diff))
        worn = wearers.get(diff.after, ()) if diff.after is not None else ()
        if any(each.registration_id == diff.registration_id for each in worn):  # and did not pass it on meanwhile
            twin = next((each for each in worn if _conflicts(diff, each, bundles, users)), None)
            if twin is not None:
                events.append(BibEvent(BibKind.DUPLICATE, diff, twin.registration_id))
    return events


def kind_of(diff: BibDiff) -> BibKind:
    """What one diff means by itself."""
    if diff.after is None:
        return BibKind.CLEARED
    return BibKind.GIVEN if diff.before is None else BibKind.CHANGED


def _conflicts(
    diff: BibDiff, other: Wearer, bundles: Mapping[str, AbstractSet[str]], users: Mapping[str, str | None]
) -> bool:
    if other.registration_id == diff.registration_id:
        return False
    if other.event_id == diff.event_id:
        return True  # in one event a bib has one wearer, whatever the event is bundled with
    related = other.event_id in bundles.get(diff.event_id, set()) or diff.event_id in bundles.get(other.event_id, set())
    mine = users.get(diff.registration_id)
    strangers = mine is not None and other.user_id is not None and mine != other.user_id
    return not related or strangers


@dataclass(frozen=True, slots=True)
class FollowUp:
    """Ask for the race again, soon."""

    removals: bool  # a bib moved between people: somebody may have left


#: What these runs find is not followed up: a follow-up's finding would never end, and a first load is no news.
QUIET = frozenset({Reason.FOLLOW_UP, Reason.FIRST, Reason.BACKFILL, Reason.INJECTED})


def follow_up(reason: Reason, events: Sequence[BibEvent]) -> FollowUp | None:
    """Whether what a run found asks for another look at the race."""
    if reason in QUIET or not events:
        return None
    moved = {BibKind.SWAPPED, BibKind.DUPLICATE, BibKind.CLEARED}
    return FollowUp(removals=any(each.kind in moved for each in events))
