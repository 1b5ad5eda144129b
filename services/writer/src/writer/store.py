"""The writer's SQL: set-based, inside the caller's transaction, the race's row locked first."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson

from shared.contracts import Diff
from shared.domain.run import Kind, Mode, Reason, State
from shared.postgres import Connection


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


async def lock_race(connection: Connection, place: Place) -> frozenset[str] | None:
    """Take the race's lock, as every transaction of the race does first; its known events, None: unknown race."""
    row = await connection.fetchrow(
        """
        SELECT (SELECT array_agg(event_id) FROM events e WHERE (e.provider_id, e.timing_partner_id, e.race_id)
                = (r.provider_id, r.timing_partner_id, r.race_id)) AS event_ids
        FROM race_sync r WHERE provider_id = $1 AND timing_partner_id = $2 AND race_id = $3 FOR UPDATE
        """,
        place.provider_id,
        place.timing_partner_id,
        place.race_id,
    )
    return None if row is None else frozenset(row["event_ids"] or ())


async def load_run(connection: Connection, run_id: UUID) -> RunRow | None:
    """The run as it stands now; the race's (or credential's) lock keeps other writers from changing it."""
    row = await connection.fetchrow(
        "SELECT run_id, kind, mode, reason, state, event_ids, ranges FROM sync_runs WHERE run_id = $1", run_id
    )
    if row is None:
        return None
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


async def archive(
    connection: Connection,
    batch: BatchId,
    *,
    type: str,  # noqa: A002
    place: Place,
    fetched_at: datetime,
    records: int,
    body: bytes,
) -> None:
    """Keep a raw batch for replay; ``body`` is compressed already."""
    await connection.execute(
        "INSERT INTO raw_batches (run_id, attempt, sequence, type, provider_id, timing_partner_id, race_id, fetched_at,"
        " records, body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
        batch.run_id,
        batch.attempt,
        batch.sequence,
        type,
        place.provider_id,
        place.timing_partner_id,
        place.race_id,
        fetched_at,
        records,
        body,
    )


async def record_changes(connection: Connection, run: RunRow, place: Place, diffs: list[Diff], now: datetime) -> int:
    """Append diffs to the change feed, to be numbered once committed; the batch's number."""
    batch_id: int = await connection.fetchval(
        "INSERT INTO change_batches (size, run_id, reason, provider_id, timing_partner_id, race_id, written_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING batch_id",
        len(diffs),
        run.run_id,
        run.reason,
        place.provider_id,
        place.timing_partner_id,
        place.race_id,
        now,
    )
    await connection.copy_records_to_table(
        "changes",
        schema_name="hub",
        columns=(
            "batch_id",
            "ordinal",
            "provider_id",
            "timing_partner_id",
            "registration_id",
            "event_id",
            "kind",
            "touches_bib",
            "fields",
        ),
        records=[
            (
                batch_id,
                ordinal,
                place.provider_id,
                place.timing_partner_id,
                diff["registration_id"],
                diff["event_id"],
                diff["kind"],
                "bib" in diff["fields"],
                orjson.dumps(diff["fields"]).decode(),
            )
            for ordinal, diff in enumerate(diffs)
        ],
    )
    return batch_id


async def count(connection: Connection, run_id: UUID, counts: dict[str, int]) -> None:
    """Add to a run's counts."""
    await connection.execute(
        """
        UPDATE sync_runs SET added = added + $2, updated = updated + $3, unchanged = unchanged + $4, stale = stale + $5,
            removed = removed + $6, restored = restored + $7, quarantined = quarantined + $8
        WHERE run_id = $1
        """,
        run_id,
        *(
            counts.get(name, 0)
            for name in ("added", "updated", "unchanged", "stale", "removed", "restored", "quarantined")
        ),
    )
