"""Dead letters, kept in PostgreSQL too, so that finding and replaying them does not touch the broker."""

import hashlib

from shared.bus.port import Delivery
from shared.runtime import House
from shared.telemetry import metrics


async def on_dead_letter(delivery: Delivery, *, house: House) -> None:
    """Keep a dead letter with its reason; the same one again is not kept twice."""
    now = house.clock.now()
    message, death = delivery.message, delivery.death
    reason = death.reason if death else "unknown"
    queue = death.queue if death else ""
    cause = hashlib.blake2b(f"{message.type}\0{queue}\0{reason}".encode(), digest_size=6).hexdigest()
    await house.database.execute(
        """
        INSERT INTO dead_letters (message_id, type, queue, routing_key, correlation_id, reason, fingerprint, attempts,
            first_seen_at, dead_at, body)
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
    metrics.dead_letters.labels(queue or "unknown", reason.partition(":")[0]).inc()
