"""A person's raw record as ours: pure, and for any JSON value a Participant, a Removal or an Unusable.

A field that cannot be used is left empty and named in the notes; only a record without usable ids is unusable
(runsignup.com/API/race/:race_id/participants, runsignup.com/API/race/:race_id/removed-participants).
"""

from hashlib import blake2b
from typing import Any

import orjson

from shared.domain.participant import Participant, Removal, Unusable
from shared.providers.runsignup import columns, fields
from shared.providers.runsignup.cleaning import is_clean
from shared.providers.runsignup.fields import read, text
from shared.providers.runsignup.spelling import eastern, identifier, instant

MAPPING_VERSION = 1  # raised with every change of what is stored for the same record

# What a note may name; the record's other fields are not stored.
KNOWN = frozenset(
    {*Participant._fields, "user", "bib_num", "chip_num", "registration_date", "last_modified", "last_modified_ts"}
    | {*columns.TEAM, *columns.PRICES, *columns.ORDER, *columns.ADDITIONAL}
)


def map_participant(raw: Any, race_id: str) -> Participant | Unusable:
    """One active registration."""
    if not isinstance(raw, dict):
        return Unusable("not_an_object", None)
    notes: list[str] = []
    if not is_clean(raw):
        raw = fields.tamed(raw, KNOWN, notes)
    get = raw.get
    identity = get("registration_id")
    known = fields.ids(identity, get("event_id"))
    if isinstance(known, str):
        return Unusable(known, identifier(identity))
    registration_id, event_id = known
    user = fields.table(get("user"), "user", notes).get
    values = (
        registration_id,
        race_id,
        event_id,
        read(identifier, user("user_id"), "user_id", "not an id", notes),
        text(user("first_name"), "first_name", notes),
        text(user("middle_name"), "middle_name", notes),
        text(user("last_name"), "last_name", notes),
        text(user("email"), "email", notes),
        fields.birthday(user("dob"), notes),
        fields.gender(user("gender"), notes),
        text(user("phone"), "phone", notes),
        text(user("profile_image_url"), "profile_image_url", notes),
        columns.address(user("address"), notes),
        fields.worn(get("bib_num"), "bib_num", notes),
        fields.worn(get("chip_num"), "chip_num", notes),
        fields.age(get("age"), notes),
        read(eastern, get("registration_date"), "registration_date", "not a time", notes),
        columns.team(get, notes),
        columns.payment(get, notes),
        columns.additional(get, notes),
        read(instant, get("last_modified"), "last_modified", "not a time", notes),
        "; ".join(notes) if notes else None,
    )
    # A JSON list tells None from "" and one field from the next, and is the same for the same values.
    digest = blake2b(orjson.dumps(values), digest_size=16).digest()
    return Participant(*values, digest)


def map_removal(pair: Any, race_id: str) -> Removal | Unusable:
    """One registration that left its event: the wrapper's event id and the record."""
    if not isinstance(pair, list | tuple) or len(pair) != 2 or not isinstance(pair[1], dict):
        return Unusable("not_an_object", None)
    event, raw = pair
    notes: list[str] = []  # a removal keeps none
    if not is_clean(raw):
        raw = fields.tamed(raw, KNOWN, notes)
    identity = raw.get("registration_id")
    known = fields.ids(identity, event)
    if isinstance(known, str):
        return Unusable(known, identifier(identity))
    user = fields.table(raw.get("user"), "user", notes).get
    reason = raw.get("removed_reason")
    return Removal(
        registration_id=known[0],
        race_id=race_id,
        event_id=known[1],
        reason=reason if isinstance(reason, str) and reason.strip() else "removed",
        new_registration_id=identifier(raw.get("new_registration_id")),
        # The text repeats an hour each autumn; the number does not.
        provider_modified_at=instant(raw.get("last_modified_ts")) or eastern(raw.get("last_modified")),
        first_name=text(user("first_name"), "first_name", notes),
        last_name=text(user("last_name"), "last_name", notes),
    )
