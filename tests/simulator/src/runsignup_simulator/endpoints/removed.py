"""Removed participants: registrations that left an event, with the reason (reference 8)."""

from __future__ import annotations

import orjson

from ..question import Question
from ..responses import JSON, Response, answer, encode, structured
from ..rows import condensed, removed
from .entrance import asked_events, enter_race
from .ordering import keyset, page_of, sort_asked
from .wrapping import wrap_removed

SORTS = ("registration_id", "registration_date", "last_modified")


def removed_participants(question: Question) -> Response:
    race = enter_race(question)
    if isinstance(race, Response):
        return race
    events = asked_events(question, race)
    if isinstance(events, Response):
        return events
    roster = question.world.roster(race.race_id)
    event_ids = [event.event_id for event in events]
    ids = list(keyset(roster.ids(event_ids, active=False), question.number("after_registration_id"), None))
    if question.text("modified_after_timestamp") is not None:
        since = question.number("modified_after_timestamp")
        # Inclusive, and blind to text dates, as in the participant list.
        ids = [] if since is None else [id_ for id_ in ids if roster[id_].last_modified >= since]
    sort = sort_asked(question.text("sort"), "registration_date DESC")
    page, size = question.window(question.policy.most_removed)
    flags = frozenset(("nb",)) if question.true("supports_nb") else frozenset()
    rows: dict[int, list[bytes]] = {}
    for id_ in page_of(roster, ids, sort if sort[0] in SORTS else ("registration_date", True), page, size):
        person = roster[id_]
        row = condensed(person) if question.true("condensed_format") else removed(race, person, flags)
        rows.setdefault(person.event_id, []).append(encode(row))
    policy = question.policy
    body = wrap_removed(policy.wrapper or race.wrapper, policy.empty_form or race.empty_form, event_ids, rows)
    if question.wire_format == "json":
        return answer(body, JSON)
    return structured("removed_participants", orjson.loads(body), question.wire_format)
