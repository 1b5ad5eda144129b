"""A batch's raw records, mapped: who can be stored, who cannot, and who was there."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from shared.contracts import ParticipantsFetched
from shared.domain.participant import Identity, Participant, Removal, Unusable
from shared.errors import Never
from shared.providers.port import Provider
from writer.merging import latest_of_each
from writer.quarantine import Quarantined


@dataclass(frozen=True, slots=True)
class People:
    """What a batch of participants holds."""

    usable: list[Participant]
    aside: list[Quarantined]


#: How many records are mapped at a time; between two portions the statements of another batch go on. (Mapping 500 takes
#: ten milliseconds, and another batch of the same race waits as long for each of its ten answers.)
PORTION = 50


def identities(provider: Provider, body: ParticipantsFetched) -> list[Identity]:
    """Whom each record is about: as its message says, if by our mapping, so that the records can stay unopened."""
    if body.identities is None or body.mapping_version != provider.mapping_version:
        return provider.identify(body.records, body.race_id)
    return [Identity(each, bytes.fromhex(said), is_clean) for each, said, is_clean in body.identities]


def comparable(identities: Sequence[Identity]) -> dict[int, Identity]:
    """The records, by place, that may be told as stored already by their hash: those of people who come once.

    Of two records of one registration the later one counts, whichever of them is stored.
    """
    times = Counter(each.registration_id for each in identities)
    return {
        place: each
        for place, each in enumerate(identities)
        if each.registration_id is not None and times[each.registration_id] == 1
    }


async def map_people(
    provider: Provider, records: Sequence[Any], race_id: str, identities: Sequence[Identity], without: Container[int]
) -> dict[int, Participant | Unusable]:
    """Map a batch's records but for some places: the costly part, which needs nothing of the database."""
    found: dict[int, Participant | Unusable] = {}
    if not (places := [place for place in range(len(identities)) if place not in without]):
        return found  # and the records stay unopened
    opened = list(records)
    if len(opened) != len(identities):
        raise Never("the message's identities are not as many as its records", reason="invalid")
    for place in places:
        found[place] = provider.map_participant(opened[place], race_id, identities[place])
        if len(found) % PORTION == 0:
            await asyncio.sleep(0)
    return found


def people(
    records: Sequence[Any],
    found: Mapping[int, Participant | Unusable],
    known_events: frozenset[str],
    unstorable: frozenset[str] = frozenset(),
) -> People:
    """Sort the mapped records of a batch: one of an event that is not the race's goes aside.

    So do those whom the database was found unable to store.
    """
    usable, aside = [], []
    for place, mapped in sorted(found.items()):
        raw = records[place]
        if isinstance(mapped, Participant) and mapped.event_id not in known_events:
            aside.append(put_aside(raw, Unusable("foreign_event", mapped.registration_id)))
        elif isinstance(mapped, Participant) and mapped.registration_id in unstorable:
            aside.append(put_aside(raw, Unusable("unstorable", mapped.registration_id)))
        elif isinstance(mapped, Participant):
            usable.append(mapped)
        else:
            aside.append(put_aside(raw, mapped))
    return People(latest_of_each(usable), aside)


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
