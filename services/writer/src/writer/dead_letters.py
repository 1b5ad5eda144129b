"""Dead letters, kept in PostgreSQL too, so that finding and replaying them does not touch the broker."""

import hashlib
from uuid import UUID

from shared.bus.port import Delivery
from shared.postgres.pool import Connection, notify
from shared.runtime import House
from shared.telemetry import metrics


async def on_dead_letter(delivery: Delivery, *, house: House) -> None:
    """Keep a dead letter with its reason; the same one again is not kept twice.

    One that died of a replay ends the replay's item, and takes the place of the letter that was replayed.
    """
    now = house.clock.now()
    message, death = delivery.message, delivery.death
    reason = death.reason if death else "unknown"
    queue = death.queue if death else ""
    cause = hashlib.blake2b(f"{message.type}\0{queue}\0{reason}".encode(), digest_size=6).hexdigest()
    async with house.database.transaction("keeping a dead letter") as connection:
        await connection.execute(
            """
            INSERT INTO dead_letters (message_id, type, queue, routing_key, correlation_id, reason, fingerprint,
                attempts, first_seen_at, dead_at, body)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING
            """,
            message.id,
            message.type,
            queue,
            message.routing_key,
            message.correlation_id,
            reason,
            cause,
            death.attempts if death else 1,
            (death.first_seen if death else None) or delivery.first_seen,
            (death.died_at if death else None) or now,
            message.body,
        )
        await _end_replay(connection, message.id, reason, house=house)
    metrics.dead_letters.labels(queue or "unknown", reason.partition(":")[0]).inc()


async def _end_replay(connection: Connection, message_id: str, reason: str, *, house: House) -> None:
    try:
        sent_as = UUID(message_id)
    except ValueError:
        return  # from somebody who has another idea of ids: none of ours
    await connection.execute(
        """
        WITH ended AS (
            UPDATE replay_items SET finished_at = $2, outcome = 'failed', reason = 'it died again: ' || $3
            WHERE message_id = $1 AND finished_at IS NULL RETURNING replay_id, item_id
        )
        UPDATE dead_letters d SET resolved_at = $2, resolution = 'replayed: died again' FROM ended
        JOIN replays r USING (replay_id)
        WHERE r.what = 'dead-letters' AND d.item_id = ended.item_id AND d.resolved_at IS NULL
        """,
        sent_as,
        house.clock.now(),
        reason,
    )
    await notify(connection, "replay")
