"""The archive of raw batches: packed in the transaction that applies them, for replay at no call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson
from zstandard import ZstdCompressor, ZstdDecompressor

from shared.postgres import Connection
from writer.store import BatchId, Place

#: Level 1: eight times smaller at some 300 MB/s; the archive is for a fortnight.
COMPRESSION_LEVEL = 1

#: Not messages but conclusions: whom a complete full pass, and which races a complete list, did not contain. A replay
#: would bring them back without them.
ABSENT_TYPE = "participants.absent"
MISSING_TYPE = "races.missing"


def pack(raw: bytes) -> bytes:
    """A message as the archive holds it."""
    return ZstdCompressor(level=COMPRESSION_LEVEL).compress(raw)


async def keep(
    connection: Connection,
    batch: BatchId,
    place: Place,
    *,
    type: str,  # noqa: A002
    fetched_at: datetime,
    records: int,
    packed: bytes,
) -> None:
    """Keep a batch; a list of races is kept under no race. (A race's batch is kept as it enters: `store.enter`.)"""
    await connection.execute(
        "INSERT INTO raw_batches (run_id, attempt, sequence, type, provider_id, timing_partner_id, race_id, fetched_at,"
        " records, body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
        batch.run_id,
        batch.attempt,
        batch.sequence,
        type,
        place.provider_id,
        place.timing_partner_id,
        place.race_id or None,
        fetched_at,
        records,
        packed,
    )


@dataclass(frozen=True, slots=True)
class Kept:
    """An archived batch."""

    type: str
    fetched_at: datetime
    raw: bytes


async def load(connection: Connection, batch: BatchId) -> Kept | None:
    """A batch as it was kept; None when it is older than the archive."""
    row = await connection.fetchrow(
        "SELECT type, fetched_at, body FROM raw_batches WHERE (run_id, attempt, sequence) = ($1, $2, $3)",
        batch.run_id,
        batch.attempt,
        batch.sequence,
    )
    if row is None:
        return None
    return Kept(row["type"], row["fetched_at"], ZstdDecompressor().decompress(row["body"]))


async def keep_absent(
    connection: Connection, run_id: UUID, place: Place, events: Mapping[str, str], as_of: datetime
) -> None:
    """Keep who was found to be gone as of an instant, with their events."""
    packed = pack(orjson.dumps(sorted(events.items())))
    batch = BatchId(run_id, 0, 0)  # a run's batches begin at 1
    await keep(connection, batch, place, type=ABSENT_TYPE, fetched_at=as_of, records=len(events), packed=packed)


async def keep_missing(
    connection: Connection, run_id: UUID, place: Place, race_ids: Sequence[str], as_of: datetime
) -> None:
    """Keep which races were found to have left the list as of an instant."""
    packed = pack(orjson.dumps(sorted(race_ids)))
    batch = BatchId(run_id, 0, 0)
    await keep(connection, batch, place, type=MISSING_TYPE, fetched_at=as_of, records=len(race_ids), packed=packed)


def absent_ids(raw: bytes) -> list[str]:
    """The registrations of such a conclusion."""
    return [registration_id for registration_id, _ in orjson.loads(raw)]
