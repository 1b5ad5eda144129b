"""What a verification found: the provider's records, as a full pass brought them, against what is stored.

The pass itself mends what it sees (a record whose hash differs) and tells it in the feed; that is one half of what
differed. The other half it cannot see: rows altered here behind a hash that still agrees. Those are found by mapping
the archived records once more and comparing field by field.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from zstandard import ZstdDecompressor

from shared.contracts import ParticipantsFetched, decode
from shared.domain.participant import Participant
from shared.ops.desk import Desk
from shared.ops.wanting import Piece
from shared.providers.registry import by_name

JSON_FIELDS = frozenset({"address", "team_info", "payment_info", "additional_data"})
COMPARED = tuple(name for name in Participant._fields if name not in {"registration_id", "content_hash", "notes"})

#: What was changed at the provider since the catching up began, by its clock, is news and no difference.
GRACE = timedelta(seconds=60)

#: How the feed calls what was found, and how a person does.
KINDS = {"added": "missing", "removed": "surplus", "restored": "surplus", "updated": "different"}


@dataclass(frozen=True, slots=True)
class Difference:
    """One person who was not stored as the provider has them: ids and names of fields only."""

    registration_id: str
    kind: str  # missing (here), surplus (here, or gone here and there at the provider), different, altered
    fields: tuple[str, ...] = ()


@dataclass(slots=True)
class Verified:
    """What became of one race."""

    partner_id: int
    race_id: str
    compared: int = 0
    news: int = 0  # changed at the provider meanwhile
    unusable: int = 0  # records in quarantine
    differences: dict[str, Difference] = field(default_factory=dict)
    failure: str | None = None


def altered(stored: Mapping[str, Any], said: Participant) -> tuple[str, ...]:
    """The fields in which a stored row is not what the record says."""
    return tuple(name for name in COMPARED if _plain(name, stored[name]) != _plain(name, getattr(said, name)))


def _plain(name: str, value: Any) -> Any:
    return orjson.loads(value) if name in JSON_FIELDS and value is not None else value


async def examine(desk: Desk, piece: Piece, since: datetime) -> Verified:
    """Compare a race, whose full pass is over, with what the pass brought; marks altered rows for the next one."""
    wish, run = piece.wish, piece.run
    assert run is not None
    found = Verified(wish.timing_partner_id, wish.race_id or "", unusable=run.quarantined)
    for row in await desk.database.fetch(TOLD, run.run_id):
        newest = row["provider_modified_at"]
        by_list = row["kind"] == "removed" and row["removed_reason"] != "absent"
        if by_list or (row["kind"] != "removed" and newest is not None and newest >= since - GRACE):
            found.news += 1
            continue
        fields = tuple(row["fields"] or ()) if row["kind"] == "updated" else ()
        found.differences[row["registration_id"]] = Difference(row["registration_id"], KINDS[row["kind"]], fields)
    seen = await _compare(desk, run.run_id, found)
    for row in await desk.database.fetch(SURPLUS, run.run_id, list(seen)):
        found.differences[row["registration_id"]] = Difference(row["registration_id"], "surplus")
    await _mark(desk, piece, [each.registration_id for each in found.differences.values() if each.kind == "altered"])
    return found


TOLD = """
    SELECT c.registration_id, c.kind, ARRAY(SELECT jsonb_object_keys(c.fields)) AS fields, p.provider_modified_at,
        p.removed_reason
    FROM change_batches b JOIN changes c USING (batch_id)
    LEFT JOIN participants p ON (p.provider_id, p.timing_partner_id, p.registration_id)
        = (c.provider_id, c.timing_partner_id, c.registration_id)
    WHERE b.run_id = $1 ORDER BY b.batch_id, c.ordinal
"""
#: Who was there before the pass and is not in it: held, gone with the next pass, or gone already.
SURPLUS = """
    SELECT p.registration_id FROM sync_runs r JOIN participants p ON (p.provider_id, p.timing_partner_id, p.race_id)
        = (r.provider_id, r.timing_partner_id, r.race_id) AND p.event_id = ANY(r.event_ids)
    WHERE r.run_id = $1 AND p.first_seen_at < r.started_at AND p.registration_id <> ALL($2)
      AND CASE WHEN p.removed_at IS NULL THEN p.presence_at < r.started_at
        ELSE p.removed_reason = 'absent' AND p.removed_at >= r.started_at END
"""


async def _compare(desk: Desk, run_id: UUID, found: Verified) -> set[str]:
    """Every archived record of the pass against its row, a batch at a time; whom the pass contained, usable or not."""
    batches = await desk.database.fetch(
        "SELECT attempt, sequence FROM raw_batches WHERE run_id = $1 AND type = 'participants.fetched.v1'"
        " ORDER BY fetched_at, attempt, sequence",
        run_id,
    )
    seen, compared = set[str](), set[str]()
    for batch in batches:
        packed = await desk.database.fetchval(
            "SELECT body FROM raw_batches WHERE (run_id, attempt, sequence) = ($1, $2, $3)", run_id, *batch
        )
        _, body = decode(ZstdDecompressor().decompress(packed))
        assert isinstance(body, ParticipantsFetched)
        provider = by_name(body.provider)
        who = provider.identify(body.records, body.race_id)
        seen.update(each.registration_id for each in who if each.registration_id is not None)
        mapped = [
            provider.map_participant(raw, body.race_id, each) for raw, each in zip(body.records, who, strict=True)
        ]
        people = {each.registration_id: each for each in mapped if isinstance(each, Participant)}
        compared.update(people)
        rows = await desk.database.fetch(
            "SELECT * FROM participants WHERE provider_id = $1 AND timing_partner_id = $2"
            " AND registration_id = ANY($3)",
            provider.provider_id,
            found.partner_id,
            list(people),
        )
        for row in rows:
            name = row["registration_id"]
            if row["content_hash"] != people[name].content_hash or row["removed_at"] is not None:
                continue  # fetched again since, or told above
            if fields := altered(dict(row), people[name]):
                found.differences[name] = Difference(name, "altered", fields)
    found.compared = len(compared)
    return seen


async def _mark(desk: Desk, piece: Piece, registration_ids: Sequence[str]) -> None:
    """Take the hash from altered rows: the next full pass replaces them, and tells it."""
    if not registration_ids:
        return
    wish = piece.wish
    async with desk.database.transaction("marking altered rows") as connection:
        await connection.execute(
            "SELECT 1 FROM race_sync WHERE provider_id = $1 AND timing_partner_id = $2 AND race_id = $3 FOR UPDATE",
            wish.provider_id,
            wish.timing_partner_id,
            wish.race_id,
        )
        await connection.execute(
            "UPDATE participants SET content_hash = '' WHERE provider_id = $1 AND timing_partner_id = $2"
            " AND registration_id = ANY($3) AND removed_at IS NULL",
            wish.provider_id,
            wish.timing_partner_id,
            list(registration_ids),
        )
