"""A participant: one registration of one person in one event, as it is stored.

Named tuples, because a hundred thousand of them a minute go straight into COPY: a field's place is its column.
"""

from datetime import date, datetime
from typing import NamedTuple


class Participant(NamedTuple):
    """One registration, mapped from a provider's record. Absent is None; text is as the provider sent it.

    The JSON columns are text here (compact JSON, keys always present, null when absent), since they are written
    far more often than read.
    """

    registration_id: str
    race_id: str
    event_id: str
    user_id: str | None
    first_name: str | None
    middle_name: str | None
    last_name: str | None
    email: str | None
    dob: date | None
    gender: str | None
    phone: str | None
    profile_image_url: str | None
    address: str
    bib: str | None
    chip: str | None
    age: int | None
    registered_at: datetime | None
    team_info: str
    payment_info: str
    additional_data: str
    provider_modified_at: datetime | None
    notes: str | None  # which fields could not be used and were left empty, in words; None when all could
    content_hash: bytes  # of the record as it was sent, and of the mapping's version: the same hash, the same fields


class Identity(NamedTuple):
    """Whom a record is about, and whether it says anything new: what can be told of it without mapping it."""

    registration_id: str | None  # None: it cannot be read, and the record is unusable
    content_hash: bytes  # what the Participant that it maps to will have
    is_clean: bool  # every text in it can be stored as it came


class Removal(NamedTuple):
    """One registration that left its event, from a provider's list of removed participants."""

    registration_id: str
    race_id: str
    event_id: str
    reason: str  # cleared, removed, transferred, deferred; providers may add words
    new_registration_id: str | None  # the successor, when it was a transfer
    provider_modified_at: datetime | None
    first_name: str | None
    last_name: str | None


class Unusable(NamedTuple):
    """A record that cannot be stored: it goes to quarantine, alone."""

    reason: str  # a bounded word: id_missing, id_not_a_number, not_an_object, foreign_event, …
    record_id: str | None  # the registration, when its id could be read
