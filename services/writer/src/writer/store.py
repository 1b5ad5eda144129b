"""The writer's SQL: set-based, inside the caller's transaction, the race's row locked first."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from shared.bus.port import Message
from shared.contracts import Diff
from shared.contracts.messages import ParticipantsFetched, ParticipantsRemoved
from shared.domain.run import Kind, Mode, Reason, State
from shared.errors import Never
from shared.postgres import Connection
from shared.postgres.pool import CHANNEL


@dataclass(frozen=True, slots=True)
class Place:
    """Whose rows a message is about."""

    provider_id: int
    timing_partner_id: int
    race_id: str


@dataclass(frozen=True, slots=True)
class RunRow:
    """What applying needs to know of a run."""

    run_id: UUID
    kind: Kind
    mode: Mode
    reason: Reason
    state: State
    event_ids: tuple[str, ...]
    ranges: tuple[tuple[int, int, int], ...] | None


async def lock_race(connection: Connection, place: Place) -> None:
    """Take the race's lock, as every transaction of the race does first."""
    await connection.execute(
        "SELECT FROM race_sync WHERE provider_id = $1 AND timing_partner_id = $2 AND race_id = $3 FOR UPDATE",
        place.provider_id,
        place.timing_partner_id,
        place.race_id,
    )


async def load_run(connection: Connection, run_id: UUID) -> RunRow | None:
    """The run as it stands now; the race's (or credential's) lock keeps other writers from changing it."""
    row = await connection.fetchrow(
        "SELECT run_id, kind, mode, reason, state, event_ids, ranges FROM sync_runs WHERE run_id = $1", run_id
    )
    return None if row is None else _run(row)


def _run(row: Any) -> RunRow:
    ranges = tuple((a, b, c) for a, b, c in orjson.loads(row["ranges"])) if row["ranges"] else None
    return RunRow(
        row["run_id"],
        Kind(row["kind"]),
        Mode(row["mode"]),
        Reason(row["reason"]),
        State(row["state"]),
        tuple(row["event_ids"]),
        ranges,
    )


async def insert_injected_run(
    connection: Connection, run_id: UUID, place: Place, credential_id: int, now: datetime
) -> None:
    """A hand-written batch comes without a run: it gets one, ended already, so that the history shows it."""
    await connection.execute(
        """
        INSERT INTO sync_runs (run_id, subject, kind, provider_id, timing_partner_id, credential_id, race_id, mode,
            sync_class, reason, state, requested_at, finished_at, deadline_seconds)
        VALUES ($1, $7, 'replay', $2, $3, $4, $5, 'incremental', 'backfill', 'injected', 'completed', $6, $6, 1)
        ON CONFLICT DO NOTHING
        """,
        run_id,
        place.provider_id,
        place.timing_partner_id,
        credential_id,
        place.race_id,
        now,
        f"replay:{run_id}",
    )


@dataclass(frozen=True, slots=True)
class BatchId:
    """What a batch is applied once by."""

    run_id: UUID
    attempt: int
    sequence: int


async def enter_inbox(
    connection: Connection,
    batch: BatchId,
    *,
    type: str,  # noqa: A002
    now: datetime,
    seen_ids: list[str] | None,
    unreadable: int,
) -> bool:
    """Note that a batch is applied; False when it was already."""
    tag: str = await connection.execute(
        "INSERT INTO applied_batches (run_id, attempt, sequence, type, applied_at, seen_ids, unreadable)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        batch.run_id,
        batch.attempt,
        batch.sequence,
        type,
        now,
        seen_ids,
        unreadable,
    )
    return tag.endswith("1")


@dataclass(frozen=True, slots=True)
class Entered:
    """What applying a batch begins with, its race locked."""

    run: RunRow
    events: frozenset[str]  # of the race
    newest_batch_id: int | None  # of the race's changes
    key: str  # the fingerprint that stands in `credentials_used`; never the key


async def enter(
    connection: Connection,
    batch: BatchId,
    body: ParticipantsFetched | ParticipantsRemoved,
    place: Place,
    *,
    size: int,
    packed: bytes | None,
    seen_ids: list[str] | None,
    unreadable: int,
    now: datetime,
) -> Entered | None:
    """Lock the race, note that a batch is applied, and keep it, ``packed``, for replay; None: it was applied already.

    ``packed`` is None for what the archive has already. A hand-written batch comes without a run, and gets one. Raises
    Never for a race that was never discovered.
    """
    row = await connection.fetchrow(
        """
        WITH race AS (
            SELECT newest_batch_id FROM race_sync WHERE provider_id = $8 AND timing_partner_id = $9 AND race_id = $10
            FOR UPDATE
        ), entered AS (
            INSERT INTO applied_batches (run_id, attempt, sequence, type, applied_at, seen_ids, unreadable)
            SELECT $1, $2, $3, $4, $5, string_to_array($6, ' '), $7 FROM race ON CONFLICT DO NOTHING RETURNING 1
        ), kept AS (
            INSERT INTO raw_batches (run_id, attempt, sequence, type, provider_id, timing_partner_id, race_id,
                fetched_at, records, body)
            SELECT $1, $2, $3, $4, $8, $9, $10, $11, $12, $13 FROM entered
            WHERE $13::bytea IS NOT NULL ON CONFLICT DO NOTHING
        )
        SELECT EXISTS (SELECT FROM entered) AS is_new, race.newest_batch_id, r.run_id, kind, mode, reason, state,
            r.event_ids, ranges, (SELECT fingerprint FROM credentials WHERE credential_id = $14) AS fingerprint,
            (SELECT array_agg(event_id) FROM events WHERE provider_id = $8 AND timing_partner_id = $9
                AND race_id = $10) AS known_events
        FROM race LEFT JOIN sync_runs r ON r.run_id = $1
        """,
        batch.run_id,
        batch.attempt,
        batch.sequence,
        body.TYPE,
        now,
        None if seen_ids is None else " ".join(seen_ids),
        unreadable,
        place.provider_id,
        place.timing_partner_id,
        place.race_id,
        body.fetched_at,
        size,
        packed,
        body.credential_id,
    )
    if row is None:
        raise Never(
            f"race {place.race_id} of partner {place.timing_partner_id} is not known; discover it first, then replay",
            reason="unknown_race",
        )
    if not row["is_new"]:
        return None
    run = None if row["kind"] is None else _run(row)
    if run is None:
        await insert_injected_run(connection, body.run_id, place, body.credential_id, now)
        run = await load_run(connection, body.run_id)
        assert run is not None
    events = frozenset(row["known_events"] or ())
    return Entered(run, events, row["newest_batch_id"], row["fingerprint"] or "unknown")


async def record_changes(
    connection: Connection, run: RunRow, place: Place, diffs: list[Diff], now: datetime, message: Message
) -> None:
    """Append diffs to the change feed, to be numbered once committed, and their message to the outbox.

    In one statement, since the race is locked: the next batch of it waits for each round trip.
    """
    await connection.execute(
        """
        WITH batch AS (
            INSERT INTO change_batches (size, run_id, reason, provider_id, timing_partner_id, race_id, written_at,
                message_id)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING batch_id
        ), noted AS (
            UPDATE race_sync SET newest_batch_id = batch_id FROM batch
            WHERE provider_id = $4 AND timing_partner_id = $5 AND race_id = $6
        ), told AS (
            INSERT INTO changes (batch_id, ordinal, provider_id, timing_partner_id, registration_id, event_id, kind,
                touches_bib, fields)
            SELECT batch_id, place - 1, $4, $5, diff->>'registration_id', diff->>'event_id', diff->>'kind',
                diff->'fields' ? 'bib', diff->'fields'
            FROM batch, jsonb_array_elements($9) WITH ORDINALITY AS each (diff, place)
        ), sent AS (
            INSERT INTO outbox (message_id, type, routing_key, correlation_id, body, batch_id, created_at)
            SELECT $8, $10, $11, $2, $12, batch_id, $7 FROM batch
        )
        SELECT pg_notify($13, 'changes')
        """,
        len(diffs),
        run.run_id,
        run.reason,
        place.provider_id,
        place.timing_partner_id,
        place.race_id,
        now,
        UUID(message.id),
        orjson.dumps(diffs).decode(),
        message.type,
        message.routing_key,
        message.body,
        CHANNEL,
    )
