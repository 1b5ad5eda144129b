"""The definition of a race and its events on the wire (reference 5 and 6)."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from ..model import Event, Race
from ..rows import QUESTIONS
from ..spelling import flag, loose, loose_midnight, money, padded_day, zone
from ..world import current_events

DAY = 86_400


def race_fields(race: Race, now: float) -> dict[str, Any]:
    """The fields that every answer about a race has; events are added by who was asked for them."""
    tz = zone(race.timezone)
    last, following = _editions_around(race, now)
    slug = "".join(word for word in race.name.title() if word.isalnum())
    out: dict[str, Any] = {
        "race_id": race.race_id,
        "name": race.name,
        "last_date": padded_day(last[0], tz) if last else None,
        "last_end_date": padded_day(last[1], tz) if last else None,
        "next_date": padded_day(following[0], tz) if following else None,
        "next_end_date": padded_day(following[1], tz) if following else None,
        "is_draft_race": flag(race.draft),
        "is_private_race": flag(race.private),
        "is_registration_open": flag(following is not None),
        "created": loose(race.created_at),
        "last_modified": loose(race.last_modified),
        "description": "<p>Flat river course.&nbsp;Chip timed.</p>\r\n" if race.race_id % 3 else None,
        "url": f"https://runsignup.com/Race/{race.state}/{race.city.replace(' ', '')}/{slug}",
        "external_race_url": None,
        "external_results_url": None,
        "fb_page_id": None,
        "fb_event_id": None,
        "address": {
            "street": "1 Riverside Park",
            "street2": None,
            "city": race.city,
            "state": race.state,
            "zipcode": race.zipcode,
            "country_code": "US",
        },
        "timezone": race.timezone,
        "logo_url": None,
        "real_time_notifications_enabled": "F",
    }
    if race.stale_next_date and last:
        # Series races keep showing a date that is over (reference 5): events[].start_time is the truth.
        out["next_date"], out["next_end_date"] = out["last_date"], out["last_end_date"]
    if race.old_answer:
        del out["is_private_race"]
        del out["address"]["street2"]
    return out


def event_fields(race: Race, event: Event) -> dict[str, Any]:
    """Start and end in the race's own zone, everything else Eastern (reference 3)."""
    tz = zone(race.timezone)
    closes = (event.starts_at or event.opens_at + 90 * DAY) - 15 * 3_600
    out: dict[str, Any] = {
        "event_id": event.event_id,
        "race_event_days_id": event.race_event_days_id,
        "name": event.name,
        "details": None,
        "start_time": None if event.starts_at is None else loose(event.starts_at, tz),
        "end_time": None if event.ends_at is None else loose(event.ends_at, tz),
        "age_calc_base_date": None,
        "registration_opens": loose(event.opens_at),
        "event_type": "virtual_race" if event.virtual else "running_race",
        "distance": event.distance,
        "volunteer": flag(event.volunteer),
        "require_dob": flag(not event.volunteer),
        "require_phone": flag(not event.volunteer),
        "registration_periods": [
            {
                "registration_opens": loose(event.opens_at),
                "registration_closes": loose(closes),
                "race_fee": money(event.fee_cents),
                "processing_fee": money(100 + event.fee_cents * 6 // 100),
            }
        ],
        "sub_event_ids": list(event.sub_event_ids),
        "giveaway": event.giveaway,
    }
    if event.event_id % 4 == 0:
        out["registration_closes"] = loose(closes)
    return out


def edition_fields(race: Race) -> list[dict[str, Any]]:
    """`race_event_days`: every edition, the newest first, with its first and last day at 00:00."""
    tz = zone(race.timezone)
    spans: dict[int, tuple[int, int]] = {}
    for event in race.events:
        first, last = spans.get(event.race_event_days_id, (_start(event), _over(event)))
        spans[event.race_event_days_id] = (min(first, _start(event)), max(last, _over(event)))
    return [
        {"race_event_days_id": id_, "start_date": loose_midnight(first, tz), "end_date": loose_midnight(last, tz)}
        for id_, (first, last) in sorted(spans.items(), reverse=True)
    ]


def question_fields() -> list[dict[str, Any]]:
    """Here `question_id` is an int, in a participant's answers a string (quirk 13)."""
    kinds = (("Freeform", "F", "ice_name"), ("Radio", "R", None), ("Checkboxes", "C", None))
    return [
        {
            "question_id": id_,
            "question_text": text,
            "question_type": kind,
            "question_type_code": code,
            "standard_question_type": standard,
            "question_validation_type": "none",
        }
        for (id_, text), (kind, code, standard) in zip(QUESTIONS, kinds, strict=True)
    ]


def span_of_current(race: Race, now: float) -> tuple[date, date]:
    """First and last day of what Get Races shows, in the race's zone."""
    tz = zone(race.timezone)
    events = current_events(race, now)
    first = min((_start(event) for event in events), default=race.created_at)
    last = max((_over(event) for event in events), default=race.created_at)
    return datetime.fromtimestamp(first, tz).date(), datetime.fromtimestamp(last, tz).date()


def _editions_around(race: Race, now: float) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """(start, end) of the newest edition that is over, and of the next one that is not."""
    spans: dict[int, tuple[int, int]] = {}
    for event in race.events:
        first, last = spans.get(event.race_event_days_id, (_start(event), _over(event)))
        spans[event.race_event_days_id] = (min(first, _start(event)), max(last, _over(event)))
    over = [span for span in spans.values() if span[1] < now]
    coming = [span for span in spans.values() if span[1] >= now]
    return (max(over) if over else None), (min(coming) if coming else None)


def _start(event: Event) -> int:
    return event.opens_at if event.starts_at is None else event.starts_at


def _over(event: Event) -> int:
    return event.opens_at if event.over_at is None else event.over_at
