"""The words of the stand-in: partner, race, edition, event, runner, registration. All frozen.

Named tuples rather than dataclasses for runners and registrations: a world holds up to a million of
them, and a tuple is the cheapest frozen value there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Partner:
    """A timing company with one key. `form` is v1 (pair in the query) or v2 (secret in a header)."""

    partner_id: int
    name: str
    form: str
    key: str
    secret: str
    race_ids: tuple[int, ...] = ()
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """One competition of a race in one edition; instants are Unix seconds."""

    event_id: int
    race_id: int
    race_event_days_id: int
    name: str
    starts_at: int | None
    ends_at: int | None
    distance: str | None
    fee_cents: int
    opens_at: int
    volunteer: bool = False
    virtual: bool = False
    sub_event_ids: tuple[int, ...] = ()
    giveaway: str | None = None
    first_bib: int = 1

    @property
    def over_at(self) -> int | None:
        """When the event is over: its end, or its start where it has no end."""
        return self.starts_at if self.ends_at is None else self.ends_at


@dataclass(frozen=True, slots=True)
class Race:
    """The long-lived container, reused year after year; `events` holds every edition."""

    race_id: int
    name: str
    timezone: str
    city: str
    state: str
    zipcode: str
    created_at: int
    last_modified: int
    events: tuple[Event, ...]
    wrapper: str
    """In which form its participants come (reference 7.2): single, last, own or object."""
    empty_form: str
    """In which form "nobody" comes: event_only, empty_list or empty_array."""
    private: bool = False
    draft: bool = False
    listed: bool = True
    money_hidden: bool = False
    """A timer's key does not see the financials (reference 2.3)."""
    stale_next_date: bool = False
    old_answer: bool = False
    """Answers of older races lack `is_private_race` and `street2` (reference 5, quirk 23)."""


class Team(NamedTuple):
    team_id: int
    team_name: str
    team_type_id: int
    team_type: str
    team_gender: str | None
    team_bib_num: int | str | None


class Payment(NamedTuple):
    """Money in cents; the wire spells it as text such as "$1,234.50" (reference 3)."""

    race_fee: int = 0
    offline_payment_amount: int = 0
    processing_fee: int = 0
    processing_fee_paid_by_user: int = 0
    processing_fee_paid_by_race: int = 0
    partner_fee: int = 0
    affiliate_profit: int = 0
    extra_fees: int = 0
    amount_paid: int = 0
    usatf_discount: int = 0


class Runner(NamedTuple):
    """The person behind a registration, as the account or the imported file has it."""

    user_id: int | None
    first_name: str
    middle_name: str | None
    last_name: str
    email: str | None
    street: str | None
    city: str | None
    state: str | None
    zipcode: str | None
    country_code: str | None
    dob: str | None
    gender: str | None
    phone: str | None
    profile_image_url: str | None
    absent: frozenset[str]
    """Keys of `user` that are missing on the wire (reference 7.3): absent means null."""


class Registration(NamedTuple):
    """One person in one event. Active while `removed_reason` is None."""

    registration_id: int
    event_id: int
    runner: Runner
    registered_at: int
    last_modified: int
    bib: int | str | None
    chip: str | None
    age: int | None
    team: Team | None
    payment: Payment
    rsu_transaction_id: int | None
    transaction_id: int | str | None
    imported: bool
    giveaway: str | None
    giveaway_option_id: int | None
    via_registration_id: int | None = None
    """The bundle registration that made this one (reference 15, quirk 16)."""
    checked_in_at: int | None = None
    removed_reason: str | None = None
    new_registration_id: int | None = None

    @property
    def active(self) -> bool:
        return self.removed_reason is None
