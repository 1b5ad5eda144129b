"""Who may wear which bib: one of their event's, and nobody else wears it, but for a bundle and its sub-events."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

Relations = Mapping[str, AbstractSet[str]]  # which events repeat each other's people
BibRange = tuple[int, int]  # first and last
BibRanges = Mapping[str, Sequence[BibRange]]  # by event; an event without ranges gives out any bib


class Wearer(NamedTuple):
    """Somebody who wears a bib now."""

    registration_id: str
    event_id: str
    user_id: str | None = None


def families(events: Iterable[tuple[str, Sequence[str]]]) -> dict[str, set[str]]:
    """Which events repeat each other's people on purpose, from each event with its sub-events, by the provider's list.

    Two sub-events of one bundle share bibs too.
    """
    related: dict[str, set[str]] = defaultdict(set)
    for event_id, sub_event_ids in events:
        if sub_event_ids:
            family = {event_id, *sub_event_ids}
            for each in family:
                related[each] |= family
    return dict(related)


def conflict(one: Wearer, other: Wearer, related: Relations) -> bool:
    """Whether two who wear one bib must not."""
    if one.registration_id == other.registration_id:
        return False
    if one.event_id == other.event_id:
        return True  # in one event a bib has one wearer, whatever the event is bundled with
    is_family = other.event_id in related.get(one.event_id, set()) or one.event_id in related.get(other.event_id, set())
    strangers = one.user_id is not None and other.user_id is not None and one.user_id != other.user_id
    return not is_family or strangers


def conflicting(wearers: Sequence[Wearer], related: Relations) -> list[Wearer]:
    """Those of a bib's wearers who are in conflict with another one of them."""
    return [each for each in wearers if any(conflict(each, other, related) for other in wearers)]


def is_outside(one: Wearer, bib: str, worn: Sequence[Wearer], ranges: BibRanges, related: Relations) -> bool:
    """Whether somebody wears a bib that their event does not give out. ``worn``: everybody of the race who wears it.

    A bundle's bib is worn in its sub-events too: it may be one of any of its own person's events.
    """
    theirs = {one.event_id, *(each.event_id for each in worn if not conflict(one, each, related))}
    return not any(_gives_out(ranges.get(event_id, ()), bib) for event_id in theirs)


def _gives_out(ranges: Sequence[BibRange], bib: str) -> bool:
    number = int(bib) if bib.isascii() and bib.isdigit() and len(bib) <= 18 else None
    return not ranges or (number is not None and any(first <= number <= last for first, last in ranges))
