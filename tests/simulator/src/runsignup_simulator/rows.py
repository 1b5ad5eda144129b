"""A participant as the wire has it (reference 7.3 and 8), and the extras that flags add."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .model import Race, Registration, Runner
from .responses import encode
from .roster import Flags, Roster
from .spelling import flag, loose, money, text_second

FLAGS = {
    "supports_nb": "nb",
    "include_questions": "questions",
    "include_registration_addons": "addons",
    "include_fundraisers": "fundraisers",
    "include_multi_race_bundle_info": "bundles",
    "include_multiple_waivers": "waivers",
    "include_user_anonymous_flag": "anonymous",
    "include_checkin_data": "checkin",
}
MONEY_FIELDS = (
    "race_fee", "offline_payment_amount", "processing_fee", "processing_fee_paid_by_user",
    "processing_fee_paid_by_race", "partner_fee", "affiliate_profit", "extra_fees", "amount_paid",
)  # fmt: skip
QUESTIONS = (
    (7001, "Emergency Contact Name"),
    (7002, "Which wave do you prefer?"),
    (7003, "Where did you hear about us?"),
)


def user(runner: Runner, registration_id: int, flags: Flags) -> dict[str, Any]:
    """The person. A missing key means null; gender X needs `supports_nb=T`, else it is null or missing (quirk 12)."""
    out: dict[str, Any] = {
        "user_id": runner.user_id,
        "first_name": runner.first_name,
        "middle_name": runner.middle_name,
        "last_name": runner.last_name,
        "email": runner.email,
        "address": {
            "street": runner.street,
            "city": runner.city,
            "state": runner.state,
            "zipcode": runner.zipcode,
            "country_code": runner.country_code,
        },
        "dob": runner.dob,
        "gender": runner.gender,
        "phone": runner.phone,
        "profile_image_url": runner.profile_image_url,
    }
    for key in runner.absent:
        del out[key]
    if runner.gender == "X" and "nb" not in flags and "gender" in out:
        if registration_id % 2:
            out["gender"] = None
        else:
            del out["gender"]
    if "anonymous" in flags:
        out["is_anonymous"] = flag(registration_id % 10 == 0)
    return out


def participant(race: Race, person: Registration, flags: Flags) -> dict[str, Any]:
    """An active registration. Money keys are missing for a key that must not see them (reference 2.3)."""
    team = person.team
    registration_id = person.registration_id
    out: dict[str, Any] = {
        "user": user(person.runner, registration_id, flags),
        "registration_id": registration_id,
        "event_id": person.event_id,
        "rsu_transaction_id": person.rsu_transaction_id,
        "transaction_id": person.transaction_id,
        "bib_num": person.bib,
        "chip_num": person.chip,
        "age": person.age,
        "registration_date": loose(person.registered_at),
        "team_id": team.team_id if team else None,
        "team_name": team.team_name if team else None,
        "team_type_id": team.team_type_id if team else None,
        "team_type": team.team_type if team else None,
        "team_gender": team.team_gender if team else None,
        "team_bib_num": team.team_bib_num if team else None,
        "last_modified": person.last_modified,
        "imported": flag(person.imported),
    }
    if not race.money_hidden:
        out.update(zip(MONEY_FIELDS, map(money, person.payment[:9]), strict=True))
        out["usatf_discount_amount_in_cents"] = money(person.payment.usatf_discount)
    out["usatf_discount_additional_field"] = None if registration_id % 50 else f"USATF/{registration_id}"
    out["giveaway"] = person.giveaway
    out["giveaway_option_id"] = person.giveaway_option_id
    if flags:
        out.update(extras(person, flags))
    return out


def extras(person: Registration, flags: Flags) -> dict[str, Any]:
    """What the include flags add. The answers follow from the registration id, so they need no memory."""
    n, out = person.registration_id, dict[str, Any]()
    if "questions" in flags and n % 7:
        out["question_responses"] = answers(n)
    if "addons" in flags:
        out["participant_addons"] = addons(n)
    if "fundraisers" in flags:
        out.update(fundraiser(n))
    if "bundles" in flags:
        out.update(multi_race_bundle(n))
    if "waivers" in flags:
        out["signed_waiver_details"] = waivers(n)
    if "checkin" in flags:
        # The vendor's field names are not established (reference 11); this one is ours.
        out["checkin_ts"] = person.checked_in_at
    return out


def answers(n: int) -> list[dict[str, Any]]:
    """Question ids are strings here and ints in Get Race; several choices come as `responses` (reference 7.3)."""
    if n % 5 == 0:
        return []
    contact, wave, heard = ({"question_id": str(id_), "question_text": text} for id_, text in QUESTIONS)
    contact["response"] = f"Contact of {n} / 555-010-{n % 10_000:04d}"
    return [
        contact,
        {**wave, "response": None if n % 3 else "A"},
        {**heard, "responses": ["Friend", "Poster"][: 1 + n % 2]},
    ]


def addons(n: int) -> list[dict[str, str]]:
    if n % 4:
        return []
    return [{"addon_id": "9001", "addon_name": "Parking pass", "quantity": str(1 + n % 2), "amount": "$10.00"}]


def fundraiser(n: int) -> dict[str, Any]:
    raises = n % 20 == 0
    return {
        "fundraiser_id": 300_000 + n if raises else None,
        "fundraiser_charity_id": 77 if raises else None,
        "fundraiser_charity_name": "Shoes & Hope" if raises else None,
        "team_fundraiser_id": 310_000 + n if n % 40 == 0 else None,
    }


def multi_race_bundle(n: int) -> dict[str, Any]:
    return {
        "multi_race_bundle_id": 55 if n % 30 == 0 else None,
        "multi_race_bundle": "Four Seasons Series" if n % 30 == 0 else None,
    }


def waivers(n: int) -> list[dict[str, Any]] | None:
    return None if n % 2 else [{"waiver_id": 12, "signed": "T"}]


def removed(race: Race, person: Registration, flags: Flags) -> dict[str, Any]:
    """A registration that left: text dates, `last_modified_ts`, no event id, fewer fields (reference 8)."""
    out: dict[str, Any] = {
        "user": user(person.runner, person.registration_id, flags),
        "registration_id": person.registration_id,
        "age": person.age,
        "registration_date": text_second(person.registered_at),
        "last_modified": text_second(person.last_modified),
        "last_modified_ts": person.last_modified,
        "imported": flag(person.imported),
    }
    if not race.money_hidden:
        for name in (
            "race_fee",
            "processing_fee",
            "processing_fee_paid_by_user",
            "processing_fee_paid_by_race",
            "amount_paid",
        ):
            out[name] = money(getattr(person.payment, name))
    out["removed_reason"] = person.removed_reason
    out["new_registration_id"] = person.new_registration_id
    return out


def condensed(person: Registration) -> dict[str, Any]:
    """`condensed_format=T`: ids and the reason only."""
    return {
        "registration_id": person.registration_id,
        "removed_reason": person.removed_reason,
        "new_registration_id": person.new_registration_id,
    }


TEMPLATE_ROW = {
    "user": {"user_id": None, "first_name": "Template", "middle_name": None, "last_name": "Participant", "address": {}},
    "registration_id": -1,
    "event_id": None,
    "bib_num": None,
    "last_modified": 0,
}  # A fake row that `include_template_participant=T` adds (reference 7.1, quirk 18).


def encoded_rows(race: Race, roster: Roster, ids: Sequence[int], flags: Flags) -> list[bytes]:
    """The encoded participants of these ids; only what is new or changed is encoded."""
    return roster.rows(ids, flags, lambda person, wanted: encode(participant(race, person, wanted)))
