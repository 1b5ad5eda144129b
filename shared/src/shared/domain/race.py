"""Races and events, as a provider tells them, with every time made absolute."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Event:
    """One competition of a race on a date."""

    event_id: str
    name: str | None
    event_type: str | None
    edition_id: str | None  # the year's edition (RunSignUp: race_event_days_id)
    starts_at: datetime | None  # aware; the race's zone was applied
    ends_at: datetime | None
    registration_opens_at: datetime | None
    registration_closes_at: datetime | None
    distance: Decimal | None
    distance_unit: str | None  # K, Miles, …: as the provider spells it
    is_volunteer: bool
    sub_event_ids: tuple[str, ...]  # not empty: a bundle, whose people appear again in these
    details: str  # the provider's own record, compact JSON
    notes: str | None


@dataclass(frozen=True, slots=True)
class Race:
    """A provider's long-lived container of events, reused each year."""

    race_id: str
    name: str | None
    timezone: str | None
    url: str | None
    is_draft: bool | None
    is_private: bool | None
    is_registration_open: bool | None
    created_at: datetime | None
    provider_modified_at: datetime | None
    address: str  # compact JSON
    details: str  # the provider's own record without its events, compact JSON
    notes: str | None
    events: tuple[Event, ...]
    events_known: bool  # the record told all of them, readably: one that is not among them is gone
