"""Get Races: what a key may see, or all public races without one (reference 5)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

from ..model import Race
from ..question import Question
from ..responses import Response, structured
from ..spelling import day_asked, instant_asked
from ..world import current_events
from .race_fields import edition_fields, event_fields, race_fields, span_of_current


def races(question: Question) -> Response:
    if question.caller.refused and question.policy.wrong_key_on_races == "refused":
        return question.refuse(6)
    for name in ("start_date", "end_date", "modified_since", "modified_on_or_before", "created_since"):
        asked = question.text(name)
        if asked and day_asked(asked, question.now) is None:
            return question.refuse(9)
    found = [race for race in _visible(question) if _matches(question, race)]
    page, size = question.window(question.policy.most_races)
    shown = _sorted(question, found)[(page - 1) * size : page * size]
    return structured("races", {"races": [{"race": _fields(question, race)} for race in shown]}, question.wire_format)


def _visible(question: Question) -> Iterable[Race]:
    """A race that left the list, or whose permission was withdrawn, is simply not there."""
    world, caller = question.world, question.caller
    if caller.partner is None:
        return [race for race in world.races.values() if race.listed and not race.private and not race.draft]
    mine = (world.races[race_id] for race_id in caller.partner.race_ids if (caller.key, race_id) not in world.denied)
    return [race for race in mine if race.listed]


def _matches(question: Question, race: Race) -> bool:
    now, text = question.now, question.text
    first, last = span_of_current(race, now)
    compared = first if question.true("search_start_date_only") else last
    # `today` by third-party reading: a race vanishes the day after unless the client sets a date back (quirk 20).
    if compared < _day(text("start_date") or "today", now):
        return False
    if (end := text("end_date")) and first > _day(end, now):
        return False
    if (since := text("modified_since")) and race.last_modified < (instant_asked(since, now) or 0):
        return False
    if (until := text("modified_on_or_before")) and race.last_modified > (instant_asked(until, now) or 0) + 86_399:
        return False
    if (created := text("created_since")) and race.created_at < (instant_asked(created, now) or 0):
        return False
    if (name := text("name")) and name.lower() not in race.name.lower():
        return False
    if (state := text("state")) and state.upper() != race.state:
        return False
    return not (city := text("city")) or city.lower() == race.city.lower()


def _day(asked: str, now: float) -> date:
    return day_asked(asked, now) or date.min


def _sorted(question: Question, found: list[Race]) -> list[Race]:
    """`name`, `date`, `end_date`, several joined by commas; by id where nothing or nonsense is asked."""
    ordered = sorted(found, key=lambda race: race.race_id)
    for word in reversed((question.text("sort") or "").split(",")):
        field, _, direction = word.strip().partition(" ")
        descending = direction.strip().upper() == "DESC"
        if field == "name":
            ordered.sort(key=lambda race: race.name.lower(), reverse=descending)
        elif field in ("date", "end_date"):
            place = 0 if field == "date" else 1
            ordered.sort(key=lambda race: span_of_current(race, question.now)[place], reverse=descending)
    return ordered


def _fields(question: Question, race: Race) -> dict[str, Any]:
    out = race_fields(race, question.now)
    if question.true("events"):
        out["events"] = [event_fields(race, event) for event in current_events(race, question.now)]
    if question.true("include_event_days"):
        out["race_event_days"] = edition_fields(race)
    return out
