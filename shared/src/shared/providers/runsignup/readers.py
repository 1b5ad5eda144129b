"""Reads every known form of RunSignUp's lists into a page; any other form is a failure, never "nobody".

The forms differ between methods, years and the documentation itself: an array of one element per event, an
element without people, a bare object, an empty list.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from shared.providers.port import Answer, Page
from shared.providers.runsignup.capabilities import CAPABILITIES
from shared.providers.runsignup.errors import failure
from shared.providers.runsignup.responses import open_answer
from shared.providers.runsignup.spelling import HIGHEST_ID, epoch, identifier, number

MISSING = object()


def read_races(answer: Answer) -> Page:
    """Races with their events, unwrapped (runsignup.com/API/races).

    A page past the last may come as nothing but ``{}`` or ``[]``.
    """
    document, answered_at = open_answer(answer)
    if document in ({}, []):
        return Page((), 0, None, None, answered_at)
    rows = document.get("races") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise failure("unknown_form", answered_at=answered_at)
    races = [row["race"] if isinstance(row, dict) and "race" in row else row for row in rows]
    return Page(races, len(races), None, None, answered_at)


def read_race(answer: Answer) -> Page:
    """One race with its events, as in a list of races (runsignup.com/API/race/:race_id)."""
    document, answered_at = open_answer(answer)
    race = document.get("race") if isinstance(document, dict) else None
    if not isinstance(race, dict):
        raise failure("unknown_form", answered_at=answered_at)
    return Page([race], 1, None, None, answered_at)


def read_participants(answer: Answer) -> Page:
    """Active people, of all events together (runsignup.com/API/race/:race_id/participants).

    They stand beside ``event``; the list inside it is always empty, by an old bug that the vendor keeps. Should
    only that one be filled some day, the answer has a new form. A person's event is the person's own
    ``event_id``: the wrapper's may be another.
    """
    document, answered_at = open_answer(answer)
    lists = []
    for element in _elements(document, answered_at):
        event, people = element.get("event", MISSING), element.get("participants", MISSING)
        inner = event.get("participants") if isinstance(event, dict) else None
        if people is MISSING and isinstance(event, dict) and "event_id" in event:
            people = []
        if not isinstance(people, list) or not (event is MISSING or isinstance(event, dict)) or (inner and not people):
            raise failure("unknown_form", answered_at=answered_at)
        lists.append(people)
    return _page(lists, lists, "last_modified", answered_at)


def read_removed(answer: Answer) -> Page:
    """People who left, as (event id, record) pairs (runsignup.com/API/race/:race_id/removed-participants).

    Here they stand inside ``event``, whose id is the only one there is.
    """
    document, answered_at = open_answer(answer)
    lists, pairs = [], []
    for element in _elements(document, answered_at):
        event = element.get("event")
        people = event.get("participants", []) if isinstance(event, dict) else None
        if not isinstance(event, dict) or not isinstance(people, list) or element.get("participants"):
            raise failure("unknown_form", answered_at=answered_at)
        event_id = event.get("event_id")
        lists.append(people)
        pairs.append([(event_id, person) for person in people])
    return _page(lists, pairs, "last_modified_ts", answered_at)


def read_bib_ranges(answer: Answer) -> Page:
    """The bibs that each event of an edition gives out; an event without ranges gives out any
    (runsignup.com/API/race/:race_id/get-bib-validation-settings).

    A form that is not the documented one is refused whole: a range that is guessed would put everybody outside of it.
    """
    document, answered_at = open_answer(answer)
    rows = document.get("events") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise failure("unknown_form", answered_at=answered_at)
    pairs = [_bib_ranges(row) for row in rows]
    if None in pairs:
        raise failure("unknown_form", answered_at=answered_at)
    return Page(pairs, len(pairs), None, None, answered_at)


def _bib_ranges(row: Any) -> tuple[str, tuple[tuple[int, int], ...]] | None:
    event_id = identifier(row.get("event_id")) if isinstance(row, dict) else None
    listed = row.get("bib_ranges") if event_id is not None else None
    if event_id is None or not isinstance(listed, list):
        return None
    ranges = []
    for each in listed:
        get = each.get if isinstance(each, dict) else {}.get
        first, last = number(get("starting_bib_num")), number(get("ending_bib_num"))
        if first is None or last is None or first > last:
            return None
        ranges.append((first, last))
    return event_id, tuple(ranges)


def check_page(page: Page, *, after_id: int | None) -> None:
    """Refuse a page of people that does not fit its question: ids at or below the one that was asked to be passed.

    RunSignUp ignores a parameter that it does not understand, without a word; keyset paging would go round for ever.
    """
    if not after_id:
        return
    for record in page.records:
        person = record[1] if isinstance(record, tuple) else record
        identity = number(person.get("registration_id")) if isinstance(person, dict) else None
        if identity is not None and identity <= after_id:
            raise failure("unfitting_page", answered_at=page.answered_at)


def _elements(document: Any, answered_at: datetime | None) -> list[dict[str, Any]]:
    elements = document if isinstance(document, list) else [document]
    if not all(isinstance(element, dict) for element in elements):
        raise failure("unknown_form", answered_at=answered_at)
    return elements


def _page(
    lists: Sequence[list[Any]], records: Sequence[list[Any]], modified: str, answered_at: datetime | None
) -> Page:
    """Counts, the highest id and the newest change in one pass over the people; a bad row is counted, and kept."""
    kept: list[Any] = []
    highest = newest = 0
    ordered = True
    for people, rows in zip(lists, records, strict=True):
        previous = 0
        for person, row in zip(people, rows, strict=True):
            if type(person) is dict:
                identity = person.get("registration_id")
                if type(identity) is not int or identity > HIGHEST_ID:
                    identity = number(identity)
                if identity is not None:
                    if identity < 1:
                        continue  # runsignup.com/API/race/:race_id/participants: the template's row, id -1
                    if identity < previous:
                        ordered = False
                    previous = identity
                    highest = max(highest, identity)
                changed = person.get(modified)
                if type(changed) is not int or changed > newest:
                    newest = max(newest, epoch(changed) or 0)
            kept.append(row)
    # A shorter page is a whole answer, in whatever order. A full one in disorder hides whom the next would skip.
    if not ordered and len(kept) >= CAPABILITIES.smallest_default_page and not _is_repetition(lists):
        raise failure("unfitting_page", answered_at=answered_at)
    return Page(kept, len(kept), highest or None, newest or None, answered_at)


def _is_repetition(lists: Iterable[list[Any]]) -> bool:
    """Whether all that stands out of order is people who came before on the page, again."""
    for people in lists:
        seen: set[int] = set()
        highest = 0
        for person in people:
            identity = number(person.get("registration_id")) if isinstance(person, dict) else None
            if identity is None:
                continue
            if identity < highest and identity not in seen:
                return False
            seen.add(identity)
            highest = max(highest, identity)
    return True
