"""Get Race: one race, by default with every event it ever had (reference 6)."""

from __future__ import annotations

from ..model import Event, Race
from ..question import Question
from ..responses import Response, structured
from .entrance import find_race
from .race_fields import edition_fields, event_fields, question_fields, race_fields


def race(question: Question) -> Response:
    if question.caller.refused:
        return question.refuse(6)
    found = find_race(question)
    if isinstance(found, Response):
        return found
    may = question.caller.key is not None and question.world.allowed(question.caller.key, found.race_id)
    if (found.private or found.draft) and not may:
        return question.refuse(7)
    out = race_fields(found, question.now)
    out["events"] = [event_fields(found, event) for event in _asked(question, found)]
    out["can_use_registration_api"] = "F"
    if question.true("include_event_days"):
        out["race_event_days"] = edition_fields(found)
    # The key may be missing even when it was asked for (reference 6).
    if question.true("include_questions") and found.race_id % 5:
        out["questions"] = question_fields()
    return structured("race", {"race": out}, question.wire_format)


def _asked(question: Question, found: Race) -> list[Event]:
    events = sorted(found.events, key=lambda event: (-event.race_event_days_id, event.event_id))
    if question.true("future_events_only"):
        events = [event for event in events if event.over_at is not None and event.over_at > question.now]
    if question.true("most_recent_events_only"):
        newest = max((event.race_event_days_id for event in found.events), default=0)
        events = [event for event in events if event.race_event_days_id == newest]
    edition = question.number("race_event_days_id")
    if edition is not None:
        events = [event for event in events if event.race_event_days_id == edition]
    return events
