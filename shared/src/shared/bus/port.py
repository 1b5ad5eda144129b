"""What every bus promises. Two keep the promise: RabbitMQ (`shared.amqp`) and this process (`inprocess`).

A handler returns (done: the message is acknowledged), or raises `Later` (delayed retry, then dead letter),
`Never` (dead letter at once) or `Stop` (the message stays where it is and the consumer ends). Any other exception
counts as Later. One conformance suite, `tests/conformance/test_bus.py`, holds both buses to it.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One message on its way: a whole envelope as bytes, and what a broker needs to know of it."""

    id: str  # the envelope's id; what consumers deduplicate by
    type: str  # sync.request.v1
    routing_key: str  # the type, and for a command what its queue is chosen by: sync.request.v1.runsignup.near
    body: bytes  # UTF-8 JSON
    correlation_id: str | None = None  # the sync run


@dataclass(frozen=True, slots=True)
class Death:
    """Why a message lies with the dead letters. No person and no secret in it."""

    reason: str  # a short word: unusable, attempts:DatabaseUnavailable, age:Later, delivery_limit (crashed consumers)
    queue: str  # the queue in which it died
    attempts: int
    first_seen: datetime | None  # unknown when the broker buried it
    died_at: datetime | None  # likewise


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as it arrives, with how often it has been tried."""

    message: Message
    queue: str
    attempt: int  # 1 the first time; retries by us count, redeliveries by the broker do not
    first_seen: datetime  # when its first attempt began, by our clock
    redelivered: bool = False
    death: Death | None = None  # set on the queue of dead letters


Handler = Callable[[Delivery], Awaitable[None]]


class Consumer(Protocol):
    """Takes messages from lanes, nearest first, until stopped."""

    async def stop(self) -> None:
        """Take no more, let what is being handled finish, and return; safe to repeat."""
        ...

    async def wait(self) -> None:
        """Return when stopped; raise what ended it when a handler said Stop or the bus failed for good."""
        ...


class Bus(Protocol):
    """Publishes with confirmation and delivers at least once."""

    is_durable: bool  # whether what it has taken outlives this process

    async def publish(self, messages: Sequence[Message]) -> None:
        """Hand messages over, in order, many in flight; return when the bus has taken every one.

        Raises Later when any was not taken in time (it may have landed all the same: publishing again is safe),
        Never when one is too large or has a command's routing key that no queue is bound to.
        """
        ...

    async def consume(
        self, lanes: Sequence[str], handler: Handler, *, concurrency: int, prefetch: int | None = None
    ) -> Consumer:
        """Start handling the messages of some queues, the first lane strictly before the second and so on.

        A steady trickle still moves the lowest lane. At most ``concurrency`` handlers run at once; at most
        ``prefetch`` (default: concurrency) messages a lane are taken before they are handled.
        """
        ...

    async def depth(self, queue: str) -> int:
        """How many messages wait in a queue (those being handled not counted)."""
        ...

    async def ping(self) -> None:
        """Return when the bus is usable, raise Later when it is not."""
        ...

    async def close(self) -> None:
        """Stop every consumer and let go of the bus; safe to repeat."""
        ...
