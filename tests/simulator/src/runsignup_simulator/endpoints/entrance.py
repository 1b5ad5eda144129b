"""The checks that every method of one race begins with, in the vendor's order as far as it is known."""

from __future__ import annotations

from ..model import Event, Race
from ..question import Question
from ..responses import Response
from ..spelling import whole_number


def enter_race(question: Question) -> Race | Response:
    """The race, for a caller with rights on it: else error 6, 7, 201 or 15 (reference 14)."""
    if question.caller.refused:
        return question.refuse(6)
    if question.caller.anonymous:
        return question.refuse(7)
    race = find_race(question)
    if isinstance(race, Race) and not question.world.allowed(question.caller.key or "", race.race_id):
        return question.refuse(7)
    return race


def find_race(question: Question) -> Race | Response:
    race_id = question.request.race_id
    if race_id is None:
        return question.refuse(15)
    race = question.world.races.get(race_id)
    return question.refuse(201) if race is None else race


def asked_events(question: Question, race: Race) -> list[Event] | Response:
    """The events of the comma list; one unknown id, or one of another race, refuses the call (error 301)."""
    asked = question.text("event_id")
    if not asked:
        return question.refuse(3)
    events = {event.event_id: event for event in race.events}
    found: dict[int, Event] = {}
    for word in asked.split(","):
        event_id = whole_number(word.strip())
        if event_id is None or event_id not in events:
            return question.refuse(301)
        found[event_id] = events[event_id]
    return list(found.values())
