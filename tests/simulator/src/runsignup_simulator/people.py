"""Invents one registration at a time from a random source: who it is, what was paid, which bib."""

from __future__ import annotations

import random
from datetime import UTC, datetime

from . import names
from .model import Event, Payment, Race, Registration, Runner, Team

NOTHING_ABSENT: frozenset[str] = frozenset()
# Which keys of `user` can be missing altogether (reference 7.3 and the second row of the sample page).
ABSENCES = (
    frozenset({"email"}),
    frozenset({"gender", "phone"}),
    frozenset({"email", "gender", "phone"}),
    frozenset({"profile_image_url"}),
)
NO_PAYMENT = Payment()
YEAR_SECONDS = 31_557_600


def invent_runner(rng: random.Random, user_id: int, race: Race, hostile_share: float) -> Runner:
    """A person of the race's region. Few are hostile, few were imported without an account."""
    pick = rng.random
    first = names.FIRST[int(pick() * len(names.FIRST))]
    last = names.LAST[int(pick() * len(names.LAST))] if pick() > 0.02 else names.MARKER
    city: str | None
    state: str | None
    city, state, zipcode = names.CITIES[int(pick() * len(names.CITIES))]
    street: str | None = f"{int(pick() * 990) + 1} {names.STREETS[int(pick() * len(names.STREETS))]}"
    phone: str | None = f"555-010-{int(pick() * 10_000):04d}"
    email: str | None = f"runner{user_id}@example.com"
    account: int | None = user_id
    dob: str | None
    kind, luck = pick(), pick()
    gender: str | None = "F" if kind < 0.49 else "M" if kind < 0.97 else "X" if kind < 0.99 else None
    dob = f"{1940 + int(pick() * 75)}-{1 + int(pick() * 12):02d}-{1 + int(pick() * 28):02d}"
    middle = None if luck < 0.7 else "" if luck < 0.75 else "Q"
    absent = NOTHING_ABSENT
    if pick() < 0.04:
        account = None
        dob = None if luck < 0.5 else dob
        absent = ABSENCES[int(pick() * len(ABSENCES))]
    if pick() < hostile_share:
        first = rng.choice(names.HOSTILE_FIRST)
        last = rng.choice((last, f"  {last}", f"{last}\x00", rng.choice(names.HOSTILE_FIRST)))
        phone = rng.choice(names.HOSTILE_PHONE)
        street = rng.choice(names.HOSTILE_STREET)
        city, state = rng.choice(((city, state), ("Tromsø / Romsa", ""), (None, None), ("Québec", "QC")))
    return Runner(
        account,
        first,
        middle,
        last,
        None if "email" in absent else email,
        street,
        city,
        state,
        zipcode,
        "CA" if state == "QC" else "US",
        dob,
        None if "gender" in absent else gender,
        None if "phone" in absent else phone,
        f"https://img.example.com/u/{user_id}.png" if luck > 0.97 and "profile_image_url" not in absent else None,
        absent,
    )


def invent_registration(
    rng: random.Random,
    race: Race,
    event: Event,
    registration_id: int,
    *,
    registered_at: int,
    runner: Runner,
    now: float,
    bib: int | None,
    payments: tuple[Payment, ...],
) -> Registration:
    """One registration. Its time is a whole minute, because the participant list spells no seconds."""
    pick = rng.random
    luck = pick()
    imported = runner.user_id is None
    modified_at = registered_at + int(pick() * 60)
    if luck < 0.35:
        modified_at = registered_at + int(pick() * max(0.0, now - registered_at))
    giveaway = names.GIVEAWAYS[int(pick() * len(names.GIVEAWAYS))] if event.giveaway else None
    # Ids that change type (reference 15, quirk 13): a string mostly, a number for some, null for imports.
    transaction: int | str | None = f"ay_{registration_id:015X}C_0" if luck < 0.9 else registration_id * 7 + 1
    payment = NO_PAYMENT if imported else payments[int(pick() * len(payments))]
    wire_bib: int | str | None = bib
    if bib is None and luck > 0.99:
        wire_bib = "" if luck > 0.995 else " "
    return Registration(
        registration_id,
        event.event_id,
        runner,
        registered_at,
        min(modified_at, int(now)),
        wire_bib,
        _chip(registration_id, luck) if bib is not None else None,
        age_at(runner.dob, event.starts_at or now),
        _team(rng, race, event) if pick() < 0.12 else None,
        payment,
        None if imported else 400_000 + registration_id % 5_000_000,
        None if imported else transaction,
        imported,
        giveaway[1] if giveaway else None,
        giveaway[0] if giveaway else None,
    )


def price_list(event: Event) -> tuple[Payment, ...]:
    """The few combinations of fees people of an event paid; a charity bib among them costs thousands."""
    out = []
    for extra, paid_by_race, offline in (
        (0, 0, 0),
        (1_000, 0, 0),
        (0, 1, 0),
        (123_450 - event.fee_cents, 0, 0),
        (0, 0, 1),
    ):
        fee, processing = event.fee_cents, 100 + event.fee_cents * 6 // 100
        by_user = 0 if paid_by_race else processing
        total = fee + by_user + extra
        out.append(
            Payment(
                race_fee=fee,
                offline_payment_amount=total if offline else 0,
                processing_fee=processing,
                processing_fee_paid_by_user=by_user,
                processing_fee_paid_by_race=processing - by_user,
                partner_fee=25 if paid_by_race else 0,
                affiliate_profit=0,
                extra_fees=max(extra, 0),
                amount_paid=0 if offline else total,
                usatf_discount=200 if extra == 1_000 else 0,
            )
        )
    return tuple(out)


def age_at(dob: str | None, at: float) -> int | None:
    if dob is None:
        return None
    day = datetime.fromtimestamp(at, UTC)
    born_year, born_month, born_day = int(dob[:4]), int(dob[5:7]), int(dob[8:10])
    return max(0, day.year - born_year - ((day.month, day.day) < (born_month, born_day)))


def _chip(registration_id: int, luck: float) -> str | None:
    return f"C0{registration_id % 0xFFFFFF:06X}" if luck < 0.3 else "" if luck < 0.32 else None


def _team(rng: random.Random, race: Race, event: Event) -> Team:
    """Team bibs are a number or a string, the clients disagree (reference 7.3)."""
    number = 1 + rng.randrange(12)
    type_id, type_name = names.TEAM_TYPES[number % len(names.TEAM_TYPES)]
    bib: int | str | None = (number, str(number), None)[number % 3]
    gender = ("M", "F", "C", "", None)[number % 5]
    return Team(event.event_id * 20 + number, f"River Otters {number}", type_id, type_name, gender, bib)
