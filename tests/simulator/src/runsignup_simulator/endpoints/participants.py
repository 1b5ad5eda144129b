"""Get Race Participants: the active registrations of some events of one race (reference 7)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import orjson

from ..model import Event, Race, Registration
from ..question import Question
from ..responses import JSON, Response, answer, encode, structured
from ..roster import Roster
from ..rows import FLAGS, TEMPLATE_ROW, encoded_rows
from .entrance import asked_events, enter_race
from .ordering import keyset, page_of, sort_asked
from .wrapping import wrap

Wanted = Callable[[Registration], bool]


def participants(question: Question) -> Response:
    race = enter_race(question)
    if isinstance(race, Response):
        return race
    events = asked_events(question, race)
    if isinstance(events, Response):
        return events
    roster = question.world.roster(race.race_id)
    event_ids = [event.event_id for event in events]
    ids = _matching(question, roster, event_ids)
    sort = sort_asked(question.text("sort"), question.policy.default_sort)
    page, size = question.window(question.policy.most_participants)
    shown = page_of(roster, ids, sort, page, size)
    return _answer(question, race, events, roster, list(shown), first_page=page == 1)


def _matching(question: Question, roster: Roster, event_ids: list[int]) -> list[int]:
    ids = roster.ids(event_ids)
    if question.true("include_transferred_participants"):
        # Exact effect not established (reference 18, question 11): transferred rows, unmarked.
        gone = (id_ for id_ in roster.ids(event_ids, active=False) if roster[id_].removed_reason == "transferred")
        ids = sorted([*ids, *gone])
    after, before = question.number("after_registration_id"), question.number("before_registration_id")
    ids = list(keyset(ids, after, before)) if after is not None or before is not None else ids
    wanted = list(_filters(question))
    if not wanted:
        return ids
    since = question.number("modified_after_timestamp")
    if since is not None and since > roster.newest:
        return []
    return [id_ for id_ in ids if all(want(roster[id_]) for want in wanted)]


def _filters(question: Question) -> Iterator[Wanted]:
    """The filters that were asked for. Unknown parameters are ignored without a word (quirk 26)."""
    text, number = question.text, question.number
    if text("modified_after_timestamp") is not None:
        since = number("modified_after_timestamp")
        # Inclusive despite its name, Unix seconds only: a text date finds nothing and looks healthy
        # (seen in the field).
        yield lambda person: since is not None and person.last_modified >= since
    if (registered_after := number("registered_after_timestamp")) is not None:
        yield lambda person: person.registered_at >= registered_after
    if (registered_before := number("registered_before_timestamp")) is not None:
        yield lambda person: person.registered_at <= registered_before
    if first_name := text("search_first_name"):
        yield lambda person: first_name.lower() in person.runner.first_name.lower()
    if last_name := text("search_last_name"):
        yield lambda person: last_name.lower() in person.runner.last_name.lower()
    if email := text("search_email"):
        yield lambda person: (person.runner.email or "").lower() == email.lower()
    if (bib := text("search_bib")) is not None:
        # Typed numeric at the vendor, so a bib that is no number is never found.
        yield lambda person: bib.isdigit() and str(person.bib) == bib
    if question.true("exclude_registrations_via_super_event"):
        yield lambda person: person.via_registration_id is None


def _answer(
    question: Question, race: Race, events: list[Event], roster: Roster, ids: list[int], *, first_page: bool
) -> Response:
    flags = frozenset(name for parameter, name in FLAGS.items() if question.true(parameter))
    rows = encoded_rows(race, roster, ids, flags)
    events_of = [roster[id_].event_id for id_ in ids]
    event_ids = [event.event_id for event in events]
    if question.true("include_template_participant") and first_page:
        rows.insert(0, encode({**TEMPLATE_ROW, "event_id": event_ids[0]}))
        events_of.insert(0, event_ids[0])
    policy = question.policy
    body = wrap(policy.wrapper or race.wrapper, policy.empty_form or race.empty_form, event_ids, rows, events_of)
    if question.wire_format == "json":
        return answer(body, JSON)
    return structured("race_participants", orjson.loads(body), question.wire_format)
