"""A batch's raw records, mapped: who can be stored, who cannot, and who was there."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from shared.domain.participant import Participant, Removal, Unusable
from shared.providers.port import Provider
from writer.merging import latest_of_each
from writer.quarantine import Quarantined


@dataclass(frozen=True, slots=True)
class People:
    """What a batch of participants holds."""

    usable: list[Participant]
    aside: list[Quarantined]
    seen_ids: list[str]  # everybody who could be named, usable or not: they were there
    unreadable: int  # rows nobody can be named by


def map_people(provider: Provider, records: Sequence[Any], race_id: str) -> list[Participant | Unusable]:
    """The costly part, which needs nothing of the database."""
    return [provider.map_participant(raw, race_id) for raw in records]


def people(
    records: Sequence[Any],
    found: Sequence[Participant | Unusable],
    known_events: frozenset[str],
    unstorable: frozenset[str] = frozenset(),
) -> People:
    """Sort a batch of mapped records: one of an event that is not the race's goes aside.

    So do those whom the database was found unable to store.
    """
    usable, aside, unreadable = [], [], 0
    for raw, mapped in zip(records, found, strict=True):
        if isinstance(mapped, Participant) and mapped.event_id not in known_events:
            aside.append(put_aside(raw, Unusable("foreign_event", mapped.registration_id)))
        elif isinstance(mapped, Participant) and mapped.registration_id in unstorable:
            aside.append(put_aside(raw, Unusable("unstorable", mapped.registration_id)))
        elif isinstance(mapped, Participant):
            usable.append(mapped)
        else:
            aside.append(put_aside(raw, mapped))
            unreadable += mapped.record_id is None
    latest = latest_of_each(usable)
    named = [each.registration_id for each in latest] + [each.registration_id for each in aside if each.registration_id]
    return People(latest, aside, named, unreadable)


@dataclass(frozen=True, slots=True)
class Removals:
    """What a batch of removals holds."""

    usable: list[Removal]
    aside: list[Quarantined]


def removals(provider: Provider, records: Sequence[Any], race_id: str, known_events: frozenset[str]) -> Removals:
    """Map a batch of removals; of two entries of one registration the later counts."""
    usable: dict[str, Removal] = {}
    aside = []
    for pair in records:
        mapped = provider.map_removal(pair, race_id)
        if isinstance(mapped, Removal) and mapped.event_id in known_events:
            usable[mapped.registration_id] = mapped
        elif isinstance(mapped, Removal):
            aside.append(put_aside(pair, Unusable("foreign_event", mapped.registration_id)))
        else:
            aside.append(put_aside(pair, mapped))
    return Removals(list(usable.values()), aside)


def put_aside(raw: Any, why: Unusable) -> Quarantined:
    """A record on its way into quarantine; the same record for the same reason has the same fingerprint."""
    body = orjson.dumps(raw)
    digest = hashlib.blake2b(why.reason.encode() + b"\0" + body, digest_size=12).hexdigest()
    return Quarantined(why.record_id, why.reason, digest, body)
