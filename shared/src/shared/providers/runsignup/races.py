"""A race's raw record with its events as ours, every time made absolute; pure, for any JSON value.

An event's start and end are in the race's own zone, everything else is US Eastern (runsignup.com/API/races,
runsignup.com/API/race/:race_id). A start in the hour that autumn repeats is the first of the two; one in the
hour that spring leaves out moves forward by that hour.
"""

import dataclasses
from datetime import datetime, tzinfo
from decimal import Decimal
from typing import Any

from shared.domain.participant import Unusable
from shared.domain.race import Event, Race
from shared.providers.runsignup import fields, spelling
from shared.providers.runsignup.cleaning import compact, is_clean
from shared.providers.runsignup.fields import read, text
from shared.providers.runsignup.spelling import EASTERN, eastern, flag, identifier, local

# What a note may name.
KNOWN = frozenset(
    {field.name for field in dataclasses.fields(Race)} | {"created", "last_modified", "description", "race_event_days"}
)
ADDRESS = ("street", "street2", "city", "state", "zipcode", "country_code")


def map_race(raw: Any) -> Race | Unusable:
    """One race; an event without a usable id is left out, and noted."""
    if not isinstance(raw, dict):
        return Unusable("not_an_object", None)
    notes: list[str] = []
    if not is_clean(raw):
        raw = fields.tamed(raw, KNOWN, notes)
    get = raw.get
    race_id = identifier(get("race_id"))
    if race_id is None:
        return Unusable("id_missing" if get("race_id") is None else "id_not_a_number", None)
    zone = spelling.zone(get("timezone"))
    if zone is None:
        notes.append("timezone: missing or unknown, America/New_York assumed")
        zone = EASTERN
    address = fields.table(get("address"), "address", notes)
    events, known = _events(get("events"), zone, notes)
    return Race(
        race_id=race_id,
        name=text(get("name"), "name", notes),
        timezone=zone.key,
        url=text(get("url"), "url", notes),
        is_draft=read(flag, get("is_draft_race"), "is_draft_race", "neither T nor F", notes),
        is_private=read(flag, get("is_private_race"), "is_private_race", "neither T nor F", notes),
        is_registration_open=read(flag, get("is_registration_open"), "is_registration_open", "neither T nor F", notes),
        created_at=read(eastern, get("created"), "created", "not a time", notes),
        provider_modified_at=read(eastern, get("last_modified"), "last_modified", "not a time", notes),
        address=compact({key: text(address.get(key), key, notes) for key in ADDRESS}),
        details=compact({key: value for key, value in raw.items() if key != "events"}),
        events=events,
        events_known=known,
        notes="; ".join(notes) if notes else None,
    )


def _events(rows: Any, zone: tzinfo, notes: list[str]) -> tuple[tuple[Event, ...], bool]:
    """The readable events, and whether they are all that the race has."""
    if rows is None:
        return (), False
    if not isinstance(rows, list):
        notes.append("events: not a list")
        return (), False
    events = [_event(row, zone) for row in rows]
    usable = tuple(event for event in events if event is not None)
    if len(usable) < len(rows):
        notes.append(f"events: {len(rows) - len(usable)} without a usable id")
    return usable, len(usable) == len(rows)


def _event(raw: Any, zone: tzinfo) -> Event | None:
    event_id = identifier(raw.get("event_id")) if isinstance(raw, dict) else None
    if event_id is None:
        return None
    get = raw.get
    notes: list[str] = []
    opens, closes = _registration(get, notes)
    length, unit = _distance(get("distance"), notes)
    return Event(
        event_id=event_id,
        name=text(get("name"), "name", notes),
        event_type=text(get("event_type"), "event_type", notes),
        edition_id=read(identifier, get("race_event_days_id"), "race_event_days_id", "not an id", notes),
        starts_at=read(lambda value: local(value, zone), get("start_time"), "start_time", "not a time", notes),
        ends_at=read(lambda value: local(value, zone), get("end_time"), "end_time", "not a time", notes),
        registration_opens_at=opens,
        registration_closes_at=closes,
        distance=length,
        distance_unit=unit,
        is_volunteer=flag(get("volunteer")) is True,
        sub_event_ids=_sub_events(get("sub_event_ids"), notes),
        details=compact(raw),
        notes="; ".join(notes) if notes else None,
    )


def _registration(get: Any, notes: list[str]) -> tuple[datetime | None, datetime | None]:
    """When registration opens and closes; where the event does not say, its first and last period do."""
    opens = read(eastern, get("registration_opens"), "registration_opens", "not a time", notes)
    closes = read(eastern, get("registration_closes"), "registration_closes", "not a time", notes)
    periods = get("registration_periods")
    rows = [row for row in periods if isinstance(row, dict)] if isinstance(periods, list) else []
    openings = [moment for row in rows if (moment := eastern(row.get("registration_opens")))]
    closings = [moment for row in rows if (moment := eastern(row.get("registration_closes")))]
    return opens or min(openings, default=None), closes or max(closings, default=None)


def _distance(value: Any, notes: list[str]) -> tuple[Decimal | None, str | None]:
    result = read(spelling.distance, value, "distance", "not a number with a unit", notes)
    return (None, None) if result is None else result


def _sub_events(value: Any, notes: list[str]) -> tuple[str, ...]:
    if value is None:
        return ()
    read_ids = [identifier(item) for item in value] if isinstance(value, list) else [None]
    known = tuple(dict.fromkeys(identity for identity in read_ids if identity is not None))
    if None in read_ids:
        notes.append("sub_event_ids: not a list of ids")
    return known
