"""Records that cannot be stored, put aside with their reason and their raw form."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared.postgres import Connection
from writer.store import Place


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A record put aside."""

    registration_id: str | None
    reason: str
    fingerprint: str
    raw: bytes


async def put_aside(
    connection: Connection,
    place: Place,
    run_id: UUID,
    items: Iterable[Quarantined],
    *,
    type: str,  # noqa: A002
    mapping_version: int,
    fetched_at: datetime,
    now: datetime,
) -> None:
    """Put unusable records into quarantine; the same record again is the same item, seen once more.

    ``run_id``, ``fetched_at`` and ``mapping_version`` are those of the last time.
    """
    await connection.executemany(
        """
        INSERT INTO quarantine (provider_id, timing_partner_id, race_id, registration_id, run_id, type, reason,
            fingerprint, mapping_version, fetched_at, raw, first_seen_at, last_seen_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12)
        ON CONFLICT (provider_id, timing_partner_id, fingerprint) WHERE resolved_at IS NULL
        DO UPDATE SET last_seen_at = $12, times = quarantine.times + 1, run_id = $5,
            mapping_version = greatest(quarantine.mapping_version, $9),
            fetched_at = greatest(quarantine.fetched_at, $10)
        """,
        [
            (
                place.provider_id,
                place.timing_partner_id,
                place.race_id,
                each.registration_id,
                run_id,
                type,
                each.reason,
                each.fingerprint,
                mapping_version,
                fetched_at,
                each.raw,
                now,
            )
            for each in items
        ],
    )


async def settle_by_later_records(connection: Connection, place: Place, now: datetime) -> None:
    """Close items of a race whose registration was stored from a later record, or has left: somebody corrected it."""
    await connection.execute(
        """
        UPDATE quarantine q SET resolved_at = $4, resolution = 'settled by a later record'
        WHERE q.timing_partner_id = $2 AND q.race_id = $3 AND q.resolved_at IS NULL AND q.provider_id = $1
          AND EXISTS (SELECT 1 FROM participants p WHERE p.provider_id = $1 AND p.timing_partner_id = $2
            AND p.registration_id = q.registration_id
            AND CASE WHEN p.removed_at IS NULL THEN p.fetched_at ELSE p.presence_at END > q.fetched_at)
        """,
        place.provider_id,
        place.timing_partner_id,
        place.race_id,
        now,
    )
