"""The writer's SQL: set-based, inside the caller's transaction, the race's row locked first."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.contracts import Diff
from shared.domain.participant import Participant, Removal
from shared.domain.run import Kind, Mode, Reason, State
from shared.postgres import Connection
from writer.merging import Version


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
    from orjson import loads

    ranges = tuple((a, b, c) for a, b, c in loads(row["ranges"])) if row["ranges"] else None
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


#: Every registration through the primary key, whatever the planner believes. On a table never analyzed it takes a
#: partner for one row, and for ``registration_id = ANY`` would walk through all of the partner's people each time:
#: quadratic, and the largest waste of a first load. (OFFSET 0 keeps the look-up a look-up.)
EACH_BY_KEY = """
    FROM unnest($3::text[]) AS wanted (registration_id), LATERAL (
        SELECT * FROM participants WHERE provider_id = $1 AND timing_partner_id = $2
            AND registration_id = wanted.registration_id OFFSET 0
    ) AS p
"""


async def versions(connection: Connection, place: Place, registration_ids: list[str]) -> dict[str, Version]:
    """How new the stored rows of these registrations are, in one round trip."""
    rows = await connection.fetch(
        f"""
        SELECT p.registration_id, content_hash, provider_modified_at, fetched_at, presence_at,
            removed_at IS NOT NULL AS gone
        {EACH_BY_KEY}
        """,
        place.provider_id,
        place.timing_partner_id,
        registration_ids,
    )
    return {
        row["registration_id"]: Version(
            row["content_hash"], row["provider_modified_at"], row["fetched_at"], row["presence_at"], row["gone"]
        )
        for row in rows
    }


async def stored_rows(connection: Connection, place: Place, registration_ids: list[str]) -> dict[str, Any]:
    """Whole rows, for those whose fields will change."""
    if not registration_ids:
        return {}
    rows = await connection.fetch(
        f"SELECT p.* {EACH_BY_KEY}",
        place.provider_id,
        place.timing_partner_id,
        registration_ids,
    )
    return {row["registration_id"]: row for row in rows}


COPIED = (
    "provider_id",
    "timing_partner_id",
    *Participant._fields,
    "credentials_used",
    "fetched_at",
    "presence_at",
    "first_seen_at",
    "changed_at",
)


async def insert_new(
    connection: Connection,
    place: Place,
    people: Sequence[Participant],
    *,
    key: str,
    fetched_at: datetime,
    now: datetime,
) -> None:
    """COPY people who were never stored straight into their table."""
    head, tail = (place.provider_id, place.timing_partner_id), (key, fetched_at, fetched_at, now, now)
    await connection.copy_records_to_table(
        "participants", schema_name="hub", columns=COPIED, records=[head + each + tail for each in people]
    )


#: The whole key comes from the rows joined with, behind OFFSET 0: a planner that sees that provider and partner are
#: constants believes that they leave one row, and walks through all of the partner's people (see EACH_BY_KEY).
SAME_KEY = (
    "(p.provider_id, p.timing_partner_id, p.registration_id)"
    " = ({0}.provider_id, {0}.timing_partner_id, {0}.registration_id)"
)

_SET = ", ".join(f"{field} = i.{field}" for field in Participant._fields if field != "registration_id")


async def update_fields(
    connection: Connection,
    place: Place,
    people: Sequence[Participant],
    *,
    key: str,
    fetched_at: datetime,
    now: datetime,
) -> None:
    """Replace the fields of stored people, through a temporary table of this connection."""
    await connection.execute(
        "CREATE TEMPORARY TABLE IF NOT EXISTS incoming ON COMMIT DELETE ROWS AS SELECT "
        + ", ".join(Participant._fields)
        + " FROM participants WITH NO DATA"
    )
    await connection.copy_records_to_table("incoming", columns=Participant._fields, records=list(people))
    await connection.execute(
        f"""
        UPDATE participants p SET {_SET}, credentials_used = $3, fetched_at = $4,
            presence_at = greatest(presence_at, $4), changed_at = $5
        FROM (SELECT $1::integer AS provider_id, $2::integer AS timing_partner_id, * FROM incoming OFFSET 0) i
        WHERE {SAME_KEY.format("i")}
        """,
        place.provider_id,
        place.timing_partner_id,
        key,
        fetched_at,
        now,
    )
    await connection.execute("DELETE FROM incoming")


async def restore(
    connection: Connection, place: Place, registration_ids: list[str], *, fetched_at: datetime, now: datetime
) -> None:
    """Mark removed people as there again."""
    await connection.execute(
        f"""
        UPDATE participants p SET removed_at = NULL, removed_reason = NULL, new_registration_id = NULL,
            presence_at = $4, changed_at = $5
        FROM (SELECT $1::integer AS provider_id, $2::integer AS timing_partner_id, unnest($3::text[]) AS registration_id
            OFFSET 0) r
        WHERE {SAME_KEY.format("r")}
        """,
        place.provider_id,
        place.timing_partner_id,
        registration_ids,
        fetched_at,
        now,
    )


async def mark_removed(
    connection: Connection, place: Place, removals: Sequence[Removal], *, fetched_at: datetime, now: datetime
) -> None:
    """Mark people as gone, with the reason; their rows stay. A later reason replaces an inferred one.

    Those gone already are known to be gone as of now: a page older than that must not bring them back.
    """
    await connection.execute(
        f"""
        UPDATE participants p SET removed_at = coalesce(removed_at, $5), removed_reason = r.reason,
            new_registration_id = r.successor, presence_at = greatest(presence_at, $4),
            changed_at = CASE WHEN removed_reason IS DISTINCT FROM r.reason
                OR new_registration_id IS DISTINCT FROM r.successor THEN $5 ELSE changed_at END
        FROM (SELECT $1::integer AS provider_id, $2::integer AS timing_partner_id, *
            FROM unnest($3::text[], $6::text[], $7::text[]) AS r (registration_id, reason, successor) OFFSET 0) r
        WHERE {SAME_KEY.format("r")}
          AND (p.presence_at < $4 OR (p.removed_reason, p.new_registration_id) IS DISTINCT FROM (r.reason, r.successor))
        """,
        place.provider_id,
        place.timing_partner_id,
        [each.registration_id for each in removals],
        fetched_at,
        now,
        [each.reason for each in removals],
        [each.new_registration_id for each in removals],
    )


async def insert_removed(
    connection: Connection, place: Place, removals: Sequence[Removal], *, key: str, fetched_at: datetime, now: datetime
) -> None:
    """Keep removals of people never seen: a page older than the removal may still be on its way."""
    await connection.executemany(
        """
        INSERT INTO participants (provider_id, timing_partner_id, registration_id, race_id, event_id, first_name,
            last_name, provider_modified_at, content_hash, credentials_used, fetched_at, presence_at, first_seen_at,
            changed_at, removed_at, removed_reason, new_registration_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '', $9, $10, $10, $11, $11, $11, $12, $13) ON CONFLICT DO NOTHING
        """,
        [
            (
                place.provider_id,
                place.timing_partner_id,
                each.registration_id,
                each.race_id,
                each.event_id,
                each.first_name,
                each.last_name,
                each.provider_modified_at,
                key,
                fetched_at,
                now,
                each.reason,
                each.new_registration_id,
            )
            for each in removals
        ],
    )


async def record_changes(connection: Connection, run: RunRow, place: Place, diffs: list[Diff], now: datetime) -> int:
    """Append diffs to the change feed, to be numbered once committed; the batch's number."""
    from orjson import dumps

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
                dumps(diff["fields"]).decode(),
            )
            for ordinal, diff in enumerate(diffs)
        ],
    )
    return batch_id


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
    """Put unusable records into quarantine; the same record again is the same item, seen once more."""
    await connection.executemany(
        """
        INSERT INTO quarantine (provider_id, timing_partner_id, race_id, registration_id, run_id, type, reason,
            fingerprint, mapping_version, fetched_at, raw, first_seen_at, last_seen_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12)
        ON CONFLICT (provider_id, timing_partner_id, fingerprint) WHERE resolved_at IS NULL
        DO UPDATE SET last_seen_at = $12, times = quarantine.times + 1
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
