"""A person's raw record as ours: pure, and for any JSON value a Participant, a Removal or an Unusable.

A field that cannot be used is left empty and named in the notes; only a record without usable ids is unusable
(runsignup.com/API/race/:race_id/participants, runsignup.com/API/race/:race_id/removed-participants).
"""

from collections.abc import Sequence
from hashlib import blake2b
from itertools import repeat
from typing import Any

import orjson

from shared.domain.participant import Identity, Participant, Removal, Unusable
from shared.providers.runsignup import columns, fields
from shared.providers.runsignup.cleaning import is_clean, is_storable, tame
from shared.providers.runsignup.fields import read, text, texts
from shared.providers.runsignup.spelling import eastern, identifier, instant

MAPPING_VERSION = 1  # raised with every change of what is stored for the same record

# What a note may name; the record's other fields are not stored.
KNOWN = frozenset(
    {*Participant._fields, "user", "bib_num", "chip_num", "registration_date", "last_modified", "last_modified_ts"}
    | {*columns.TEAM, *columns.PRICES, *columns.ORDER, *columns.ADDITIONAL}
)

TEXTS = ("first_name", "middle_name", "last_name", "email", "phone", "profile_image_url")


def identify(records: Sequence[Any], race_id: str, sent: Sequence[bytes] | None = None) -> list[Identity]:
    """Whom each record is about, and what it says, as a hash of it as it was sent.

    So what is stored already need not be mapped to be known. ``sent`` are the records' JSON texts, for who has them.
    """
    # The mapping's version stands before each record: with a better mapping, nobody is known.
    beginning = blake2b(b"%d %s " % (MAPPING_VERSION, race_id.encode()), digest_size=16)
    found = []
    for raw, ready in zip(records, sent or repeat(None), strict=False):
        try:
            said = ready or orjson.dumps(raw)
            is_clean = is_storable(said)
        except TypeError:  # half a surrogate pair, a number beyond 64 bits, too deep
            said, is_clean = orjson.dumps(tame(raw, set())), False
        identity = raw.get("registration_id") if isinstance(raw, dict) else None
        digest = beginning.copy()
        digest.update(said)
        found.append(Identity(identifier(identity if is_clean else tame(identity, set())), digest.digest(), is_clean))
    return found


def map_participant(raw: Any, race_id: str, who: Identity | None = None) -> Participant | Unusable:
    """One active registration; ``who`` is what `identify` said of it, when it was asked before."""
    if not isinstance(raw, dict):
        return Unusable("not_an_object", None)
    notes: list[str] = []
    _, content_hash, is_clean = who or identify([raw], race_id)[0]
    if not is_clean:
        raw = fields.tamed(raw, KNOWN, notes)
    get = raw.get
    identity = get("registration_id")
    known = fields.ids(identity, get("event_id"))
    if isinstance(known, str):
        return Unusable(known, identifier(identity))
    registration_id, event_id = known
    user = fields.table(get("user"), "user", notes).get
    first_name, middle_name, last_name, email, phone, image = texts(user, TEXTS, notes)
    return Participant(
        registration_id,
        race_id,
        event_id,
        read(identifier, user("user_id"), "user_id", "not an id", notes),
        first_name,
        middle_name,
        last_name,
        email,
        fields.birthday(user("dob"), notes),
        fields.gender(user("gender"), notes),
        phone,
        image,
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
        content_hash,
    )


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
