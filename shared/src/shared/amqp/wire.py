"""Our messages as AMQP messages and back, pure.

The AMQP properties say what a person at a queue browser wants to know; headers that start with ``hub-`` are ours.
Headers of the broker's own (x-death) are never sent on: a broker that finds them in a message drops it as going round
in a circle.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import uuid4

import aio_pika
from aio_pika.abc import AbstractIncomingMessage, HeadersType

from shared.bus.port import Death, Delivery, Message
from shared.bus.topology import DEAD_QUEUE

ID = "hub-message-id"  # the envelope's id; the AMQP message_id is another one with every publish
ROUTING_KEY = "hub-routing-key"  # the first one; that of a retry is the queue it returns to
QUEUE, ATTEMPT, FIRST_SEEN, CAUSE = "hub-queue", "hub-attempt", "hub-first-seen", "hub-cause"
DEAD_REASON, DEAD_IN, DEAD_ATTEMPTS = "hub-dead-reason", "hub-dead-queue", "hub-dead-attempts"
DEAD_FIRST_SEEN, DEAD_AT = "hub-dead-first-seen", "hub-dead-at"


def outgoing(message: Message, now: datetime, headers: Mapping[str, str | int] | None = None) -> aio_pika.Message:
    """A persistent AMQP message.

    Its message_id is fresh every time: with two publishes of one id in flight, the library takes the return of the
    one for the other's and reports an unroutable message as delivered.
    """
    return aio_pika.Message(
        message.body,
        content_type="application/json",
        content_encoding="utf-8",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        message_id=uuid4().hex,
        correlation_id=message.correlation_id,
        timestamp=now,
        type=message.type,
        headers={ID: message.id, **(headers or {})},
    )


def retried(delivery: Delivery, now: datetime, cause: str) -> aio_pika.Message:
    """The same message as its next attempt."""
    return outgoing(
        delivery.message,
        now,
        {
            ROUTING_KEY: delivery.message.routing_key,
            QUEUE: delivery.queue,
            ATTEMPT: delivery.attempt + 1,
            FIRST_SEEN: delivery.first_seen.isoformat(),
            CAUSE: cause,
            **(_death_headers(delivery.death) if delivery.death else {}),
        },
    )


def buried(delivery: Delivery, now: datetime, reason: str) -> aio_pika.Message:
    """The same message as a dead letter."""
    death = Death(reason, delivery.queue, delivery.attempt, delivery.first_seen, now)
    return outgoing(delivery.message, now, {ROUTING_KEY: delivery.message.routing_key, **_death_headers(death)})


def arrived(incoming: AbstractIncomingMessage, queue: str, now: datetime) -> Delivery:
    """What came off a queue. Never raises: what somebody else published, with any headers, is a delivery too."""
    headers = incoming.headers
    message = Message(
        id=_text(headers, ID) or incoming.message_id or "",
        type=incoming.type or "",
        routing_key=_text(headers, ROUTING_KEY) or incoming.routing_key or "",
        body=incoming.body,
        correlation_id=incoming.correlation_id,
    )
    return Delivery(
        message,
        queue,
        attempt=_number(headers, ATTEMPT) or 1,
        first_seen=_instant(headers, FIRST_SEEN) or now,
        redelivered=bool(incoming.redelivered),
        death=_death(headers) if queue == DEAD_QUEUE else None,
    )


def _death_headers(death: Death) -> dict[str, str | int]:
    headers: dict[str, str | int] = {
        DEAD_REASON: death.reason,
        DEAD_IN: death.queue,
        DEAD_ATTEMPTS: death.attempts,
    }
    if death.first_seen:
        headers[DEAD_FIRST_SEEN] = death.first_seen.isoformat()
    if death.died_at:
        headers[DEAD_AT] = death.died_at.isoformat()
    return headers


def _death(headers: HeadersType) -> Death:
    if reason := _text(headers, DEAD_REASON):
        return Death(
            reason,
            _text(headers, DEAD_IN),
            _number(headers, DEAD_ATTEMPTS) or 1,
            _instant(headers, DEAD_FIRST_SEEN),
            _instant(headers, DEAD_AT),
        )
    # The broker buried it: its newest death comes first.
    deaths = headers.get("x-death")
    newest = deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict) else {}
    return Death(
        str(newest.get("reason") or "unknown"),
        str(newest.get("queue") or ""),
        _number(headers, ATTEMPT) or 1,
        _instant(headers, FIRST_SEEN),
        None,
    )


def _text(headers: HeadersType, name: str) -> str:
    value = headers.get(name)
    return value if isinstance(value, str) else ""


def _number(headers: HeadersType, name: str) -> int:
    value = headers.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _instant(headers: HeadersType, name: str) -> datetime | None:
    try:
        instant = datetime.fromisoformat(_text(headers, name))
        return instant.astimezone(UTC) if instant.tzinfo else None
    except (ValueError, OverflowError):
        return None
