"""The small methods beside the participant list: bib ranges, check-ins, who a key belongs to (reference 2, 10, 11)."""

from __future__ import annotations

from ..question import Question
from ..responses import Response, structured
from .entrance import enter_race

MOST_CHECKINS = 1_250


def bib_validation_settings(question: Question) -> Response:
    race = enter_race(question)
    if isinstance(race, Response):
        return race
    edition = question.number("race_event_days_id")
    if edition is None:
        return question.refuse(3)
    events = [event for event in race.events if event.race_event_days_id == edition]
    if not events:
        return question.refuse(301)
    following = {event.event_id: event.first_bib for event in events[1:]}
    out = []
    for place, event in enumerate(events):
        after = following[events[place + 1].event_id] if place + 1 < len(events) else event.first_bib + 30_000
        # Some events set no range at all.
        ranges = [{"starting_bib_num": event.first_bib, "ending_bib_num": after - 1}] if event.event_id % 3 else []
        out.append({"event_id": event.event_id, "bib_ranges": ranges})
    return structured("bib_validation_settings", {"events": out}, question.wire_format)


def checkin_timestamps(question: Question) -> Response:
    """Ascending by time, the whole race in one list; both bounds inclusive. Pages by `num`, not `results_per_page`."""
    race = enter_race(question)
    if isinstance(race, Response):
        return race
    low, high = question.number("min_checkin_ts"), question.number("max_checkin_ts")
    found = sorted(
        (person.checked_in_at, person.registration_id)
        for person in question.world.roster(race.race_id)
        if person.active
        and person.checked_in_at is not None
        and (low is None or person.checked_in_at >= low)
        and (high is None or person.checked_in_at <= high)
    )
    page, size = question.number("page") or 1, min(question.number("num") or 100, MOST_CHECKINS)
    rows = [{"registration_id": id_, "checkin_ts": at} for at, id_ in found[(page - 1) * size : page * size]]
    return structured("checkin_timestamps", {"checkin_timestamps": rows}, "json")


def entity_info(question: Question) -> Response:
    """Whom a v2 key belongs to. A classic pair has no such call, so it is refused here (reference 2.1)."""
    partner = question.caller.partner
    if partner is None or partner.form != "v2":
        return question.refuse(6)
    return structured(
        "entity_info",
        {
            "generic_entity_id": 3_000 + partner.partner_id,
            "entity_type": "partner",
            "entity_name": partner.name,
            "entity_specific_id": partner.partner_id,
        },
        "json",
    )
