"""State and message leave together: rows that the relay publishes."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.bus.port import Message
from shared.postgres.pool import CHANNEL, Connection, Database

#: One relay at a time, by advisory lock.
RELAY_LOCK = 0x48554202
#: The relay's statements take milliseconds; one without an answer for so long has none to come.
ANSWER_SECONDS = 30.0


@asynccontextmanager
async def relay_lock(database: Database, on_loss: Callable[[], None]) -> "AsyncIterator[Connection | None]":
    """The connection that holds the relay's lock, None while somebody else's does.

    ``on_loss`` is called when the connection ends, and with it the lock: the next statement on it raises Later.
    """

    def lost(_connection: object) -> None:
        on_loss()

    async with database.connection("relaying") as connection:
        held = await connection.fetchval("SELECT pg_try_advisory_lock($1)", RELAY_LOCK, timeout=ANSWER_SECONDS)
        if not held:
            yield None
            return
        connection.add_termination_listener(lost)
        try:
            yield connection
        finally:
            with suppress(Exception):
                connection.remove_termination_listener(lost)
            try:
                await connection.execute("SELECT pg_advisory_unlock($1)", RELAY_LOCK, timeout=5)
            except Exception:  # whatever it was: the lock must not stay with a connection that somebody else gets
                connection.terminate()


async def tell(connection: Connection, message: Message, *, now: datetime) -> None:
    """Put a message into the outbox of this transaction. (One of diffs comes with them: `writer.store`.)"""
    await connection.execute(
        "WITH told AS (INSERT INTO outbox (message_id, type, routing_key, correlation_id, body, created_at)"
        " VALUES ($1, $2, $3, $4, $5, $6)) SELECT pg_notify($7, 'outbox')",
        UUID(message.id),
        message.type,
        message.routing_key,
        UUID(message.correlation_id) if message.correlation_id else None,
        message.body,
        now,
        CHANNEL,
    )


async def number_changes(connection: Connection) -> int:
    """Give committed batches of diffs their places in the feed, in order of commit; how many diffs were numbered.

    The caller holds the relay's lock, so nobody else numbers; what is not committed yet is not seen, and comes
    behind. Never waits for the broker.
    """
    count: int | None = await connection.fetchval(
        """
        WITH newest AS (SELECT coalesce((SELECT feed_first + size FROM change_batches WHERE feed_first IS NOT NULL
                ORDER BY feed_first DESC LIMIT 1), 1) AS free),
        numbered AS (
            SELECT batch_id, sum(size) OVER (ORDER BY batch_id) - size AS offset_
            FROM change_batches WHERE feed_first IS NULL
        ),
        updated AS (
            UPDATE change_batches b SET feed_first = newest.free + numbered.offset_
            FROM newest, numbered WHERE b.batch_id = numbered.batch_id RETURNING b.size
        )
        SELECT total FROM (SELECT sum(size) AS total FROM updated) AS counted,
            LATERAL (SELECT CASE WHEN total > 0 THEN pg_notify($1, 'feed') END) AS told
        """,
        CHANNEL,
        timeout=ANSWER_SECONDS,
    )
    return count or 0


@dataclass(frozen=True, slots=True)
class Waiting:
    """An outbox row ready to be published."""

    outbox_id: int
    message: Message
    feed_first: int | None


async def waiting(database: Database, limit: int, without: Sequence[str] = ()) -> list[Waiting]:
    """The oldest rows that may be published now (numbered, when they carry diffs), some routing keys left out."""
    async with database.connection() as connection:
        rows = await connection.fetch(
            """
            SELECT o.*, b.feed_first FROM outbox o LEFT JOIN change_batches b USING (batch_id)
            WHERE (o.batch_id IS NULL OR b.feed_first IS NOT NULL) AND o.routing_key <> ALL($2)
            ORDER BY outbox_id LIMIT $1
            """,
            limit,
            list(without),
            timeout=ANSWER_SECONDS,
        )
    return [Waiting(row["outbox_id"], _message(row), row["feed_first"]) for row in rows]


def _message(row: Any) -> Message:
    return Message(
        id=str(row["message_id"]),
        type=row["type"],
        routing_key=row["routing_key"],
        body=row["body"],
        correlation_id=str(row["correlation_id"]) if row["correlation_id"] else None,
    )


async def published(database: Database, outbox_ids: list[int]) -> None:
    """Forget rows that the broker has confirmed."""
    await database.execute("DELETE FROM outbox WHERE outbox_id = ANY($1)", outbox_ids)
