"""Freezing a selection into a replay, in the caller's transaction: what comes later is not part of it.

Whoever freezes does no more: the scheduler sends the items at the replay's rate, the writer (or a run) finishes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from shared.domain.replay import ReplayState, What
from shared.postgres.pool import Connection, Database, notify

#: Items a second unless said otherwise: a batch takes a writer some 50 ms, so the fresh hardly notice.
RATE = 10.0


@dataclass(frozen=True, slots=True)
class Selection:
    """Which of a shelf's open items are meant; everything at its default means all of them."""

    item_ids: tuple[int, ...] = ()
    type: str | None = None  # or its beginning
    cause: str | None = None  # a fingerprint, or its beginning
    partner_id: int | None = None
    race_id: str | None = None
    before: datetime | None = None  # last seen by then
    after: datetime | None = None


@dataclass(frozen=True, slots=True)
class Archived:
    """Which batches of the archive, or which former runs, are meant."""

    run_ids: tuple[UUID, ...] = ()
    partner_id: int | None = None
    race_id: str | None = None
    after: datetime | None = None
    only_failed: bool = False  # of runs: those that failed or expired


@dataclass(frozen=True, slots=True)
class Begun:
    """A replay that was frozen."""

    replay_id: UUID
    items: int


#: The condition on `stuck` that a selection is; $1 is the shelf.
CHOSEN = """
    shelf = $1 AND (cardinality($2::bigint[]) = 0 OR item_id = ANY($2)) AND ($3::text IS NULL OR starts_with(type, $3))
    AND ($4::text IS NULL OR starts_with(fingerprint, $4)) AND ($5::int IS NULL OR partner_id = $5)
    AND ($6::text IS NULL OR race_id = $6) AND ($7::timestamptz IS NULL OR last_at <= $7)
    AND ($8::timestamptz IS NULL OR last_at >= $8)
"""


def arguments(shelf: str, chosen: Selection) -> tuple[Any, ...]:
    """A selection as the arguments of CHOSEN."""
    return (
        shelf,
        list(chosen.item_ids),
        chosen.type,
        chosen.cause,
        chosen.partner_id,
        chosen.race_id,
        chosen.before,
        chosen.after,
    )


async def freeze_stuck(
    connection: Connection,
    what: What,
    chosen: Selection,
    *,
    replay_id: UUID,
    now: datetime,
    rate: float = RATE,
    canary: bool = True,
) -> Begun:
    """Freeze open items of a shelf, oldest first; those that a replay has in hand already are left to it."""
    await _begin(connection, replay_id, what, now, rate=rate, state=ReplayState.CANARY if canary else None)
    await connection.execute(
        f"""
        INSERT INTO replay_items (replay_id, ordinal, provider_id, timing_partner_id, race_id, item_id)
        SELECT $9, row_number() OVER (ORDER BY first_at, item_id), CASE WHEN owned THEN provider_id END,
            CASE WHEN owned THEN partner_id END, CASE WHEN owned THEN race_id END, item_id
        FROM (SELECT *, shelf <> 'dead-letters' AS owned FROM stuck WHERE {CHOSEN}) s WHERE NOT EXISTS (
            SELECT 1 FROM replay_items i JOIN replays r USING (replay_id)
            WHERE i.item_id = s.item_id AND i.finished_at IS NULL AND r.finished_at IS NULL AND r.what = $1)
        """,  # noqa: S608 — the condition is a constant
        *arguments(what, chosen),
        replay_id,
    )
    return await _frozen(connection, replay_id, now)


async def freeze_older_mapping(
    connection: Connection, provider_id: int, version: int, *, replay_id: UUID, now: datetime
) -> Begun:
    """Freeze what an older mapping could not store. They count as tried with this one: each version tries once."""
    if not await connection.fetchval(
        "SELECT EXISTS (SELECT 1 FROM quarantine WHERE resolved_at IS NULL AND provider_id = $1"
        " AND mapping_version < $2)",
        provider_id,
        version,
    ):
        return Begun(replay_id, 0)
    await _begin(connection, replay_id, What.QUARANTINE, now, state=ReplayState.RUNNING, mapping_version=version)
    await connection.execute(
        """
        WITH tried AS (
            UPDATE quarantine q SET mapping_version = $3
            WHERE resolved_at IS NULL AND provider_id = $2 AND mapping_version < $3
            RETURNING item_id, provider_id, timing_partner_id, race_id, first_seen_at
        )
        INSERT INTO replay_items (replay_id, ordinal, provider_id, timing_partner_id, race_id, item_id)
        SELECT $1, row_number() OVER (ORDER BY first_seen_at, item_id), provider_id, timing_partner_id,
            nullif(race_id, ''), item_id FROM tried
        """,
        replay_id,
        provider_id,
        version,
    )
    return await _frozen(connection, replay_id, now)


async def freeze_records(
    connection: Connection,
    chosen: Archived,
    *,
    replay_id: UUID,
    now: datetime,
    rate: float = RATE,
    dry_run: bool = False,
) -> Begun:
    """Freeze batches of the archive, in the order in which they were fetched (in a dry run race by race)."""
    await _begin(connection, replay_id, What.RECORDS, now, rate=rate, dry_run=dry_run)
    await connection.execute(
        """
        INSERT INTO replay_items (replay_id, ordinal, provider_id, timing_partner_id, race_id, source_run_id,
            source_attempt, source_sequence)
        SELECT $1, row_number() OVER (ORDER BY CASE WHEN $6 THEN timing_partner_id END, CASE WHEN $6 THEN race_id END,
                fetched_at, type = 'races.fetched.v1' DESC, run_id, attempt, sequence),
            provider_id, timing_partner_id, race_id, run_id, attempt, sequence
        FROM raw_batches WHERE (cardinality($2::uuid[]) = 0 OR run_id = ANY($2))
            AND ($3::int IS NULL OR timing_partner_id = $3) AND ($4::text IS NULL OR race_id = $4)
            AND ($5::timestamptz IS NULL OR fetched_at >= $5)
        """,
        replay_id,
        list(chosen.run_ids),
        chosen.partner_id,
        chosen.race_id,
        chosen.after,
        dry_run,
    )
    return await _frozen(connection, replay_id, now)


async def freeze_runs(
    connection: Connection, chosen: Archived, *, replay_id: UUID, now: datetime, rate: float = RATE
) -> Begun:
    """Freeze former runs to be asked of the provider again: each race, and each key's list of races, once.

    With a key that was deleted or disabled since, nothing can be asked: such an item would only stop the replay.
    """
    await _begin(connection, replay_id, What.RUNS, now, rate=rate)
    await connection.execute(
        """
        INSERT INTO replay_items (replay_id, ordinal, provider_id, timing_partner_id, race_id, source_run_id)
        SELECT $1, row_number() OVER (ORDER BY race_id IS NOT NULL, requested_at, run_id), provider_id,
            timing_partner_id, race_id, run_id
        FROM (
            SELECT DISTINCT ON (provider_id, timing_partner_id, kind, coalesce(race_id, credential_id::text)) *
            FROM sync_runs r WHERE kind IN ('race', 'discover') AND (cardinality($2::uuid[]) = 0 OR run_id = ANY($2))
                AND ($3::int IS NULL OR timing_partner_id = $3) AND ($4::text IS NULL OR race_id = $4)
                AND ($5::timestamptz IS NULL OR requested_at >= $5)
                AND (NOT $6 OR state IN ('failed', 'expired')) AND EXISTS (
                    SELECT 1 FROM credentials c WHERE c.credential_id = r.credential_id AND c.state <> 'disabled')
            ORDER BY provider_id, timing_partner_id, kind, coalesce(race_id, credential_id::text), requested_at DESC
        ) latest
        """,
        replay_id,
        list(chosen.run_ids),
        chosen.partner_id,
        chosen.race_id,
        chosen.after,
        chosen.only_failed,
    )
    return await _frozen(connection, replay_id, now)


async def _begin(
    connection: Connection,
    replay_id: UUID,
    what: What,
    now: datetime,
    *,
    rate: float = RATE,
    state: ReplayState | None = ReplayState.CANARY,
    dry_run: bool = False,
    mapping_version: int | None = None,
) -> None:
    await connection.execute(
        "INSERT INTO replays (replay_id, what, reason, dry_run, state, rate, mapping_version, asked_at, paced_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)",
        replay_id,
        what,
        "operator" if mapping_version is None else "mapping",
        dry_run,
        ReplayState.RUNNING if dry_run or state is None else state,
        rate,
        mapping_version,
        now,
    )


async def _frozen(connection: Connection, replay_id: UUID, now: datetime) -> Begun:
    """Count what was frozen, give each race a run of its own to be applied under, and wake the scheduler.

    A replay of nothing is none.
    """
    subjects = await connection.fetch(
        """
        SELECT r.what, r.dry_run, i.provider_id, i.timing_partner_id, i.race_id, count(*) AS items, coalesce(
            (SELECT credential_id FROM race_sync s WHERE (s.provider_id, s.timing_partner_id, s.race_id)
                = (i.provider_id, i.timing_partner_id, i.race_id)),
            (SELECT min(partner_provider_credential_id) FROM public.partner_provider_credentials k
                WHERE (k.provider_id, k.timing_partner_id) = (i.provider_id, i.timing_partner_id)), 0) AS credential_id
        FROM replay_items i JOIN replays r USING (replay_id) WHERE replay_id = $1 GROUP BY 1, 2, 3, 4, 5
        """,
        replay_id,
    )
    total: int = sum(row["items"] for row in subjects)
    if not total:
        await connection.execute("DELETE FROM replays WHERE replay_id = $1", replay_id)
        return Begun(replay_id, 0)
    if What(subjects[0]["what"]) in {What.RECORDS, What.QUARANTINE, What.REMOVALS} and not subjects[0]["dry_run"]:
        await _open_runs(connection, replay_id, subjects, now)
    await notify(connection, "replay")
    return Begun(replay_id, total)


async def _open_runs(connection: Connection, replay_id: UUID, subjects: Sequence[Any], now: datetime) -> None:
    """Give each race, and each partner's lists of races, a run of its own; it ends with the last of its items."""
    names = ("provider_id", "timing_partner_id", "race_id", "credential_id")
    places = [tuple(row[name] for name in names) for row in subjects]
    run_ids = [uuid5(replay_id, ":".join(map(str, place[:3]))) for place in places]
    await connection.execute(
        """
        WITH subjects AS (
            SELECT * FROM unnest($2::uuid[], $3::int[], $4::int[], $5::text[], $6::int[])
                AS s (run_id, provider_id, timing_partner_id, race_id, credential_id)
        ), opened AS (
            INSERT INTO sync_runs (run_id, subject, kind, provider_id, timing_partner_id, credential_id, race_id, mode,
                sync_class, reason, state, requested_at, deadline_seconds)
            SELECT run_id, 'replay:' || run_id, 'replay', provider_id, timing_partner_id, credential_id, race_id,
                'incremental', 'backfill', 'injected', 'running', $7, 1 FROM subjects
        )
        UPDATE replay_items i SET run_id = s.run_id, attempt = 1, sequence = ordinal FROM subjects s
        WHERE i.replay_id = $1 AND (i.provider_id, i.timing_partner_id, coalesce(i.race_id, ''))
            = (s.provider_id, s.timing_partner_id, coalesce(s.race_id, ''))
        """,
        replay_id,
        run_ids,
        *(list(column) for column in zip(*places, strict=True)),
        now,
    )


async def cancel(connection: Connection, replay_id: UUID) -> bool:
    """Let no further item be sent; what is on its way is finished. False when nothing was left to cancel."""
    tag: str = await connection.execute(
        "UPDATE replays SET state = 'cancelled', stop_reason = 'an operator cancelled it'"
        " WHERE replay_id = $1 AND state IN ('canary', 'running')",
        replay_id,
    )
    await notify(connection, "replay")
    return tag.endswith("1")


#: Replays with how far they are; a condition and an order follow.
STANDING = """
    SELECT r.*, i.* FROM replays r, LATERAL (
        SELECT count(*) AS items, count(finished_at) AS finished, count(*) FILTER (WHERE outcome = 'done') AS done,
            count(*) FILTER (WHERE outcome = 'again') AS again, count(*) FILTER (WHERE outcome = 'failed') AS failed,
            count(*) FILTER (WHERE outcome = 'skipped') AS skipped,
            count(*) FILTER (WHERE sent_at IS NOT NULL AND finished_at IS NULL) AS underway
        FROM replay_items WHERE replay_id = r.replay_id) i
"""


async def standing(database: Database, replay_id: UUID) -> Any:
    """How far a replay is; None when there is none of this id."""
    return await database.fetchrow(f"{STANDING} WHERE r.replay_id = $1", replay_id)


async def newest(database: Database, limit: int) -> list[Any]:
    """The newest replays, newest first."""
    return await database.fetch(f"{STANDING} ORDER BY asked_at DESC LIMIT $1", limit)


async def going_on(database: Database) -> list[Any]:
    """Replays that are not over, oldest first."""
    return await database.fetch(f"{STANDING} WHERE r.finished_at IS NULL ORDER BY asked_at")


async def written(database: Database, replay_id: UUID) -> dict[str, int]:
    """What a replay changed: registrations by kind; of a dry run, what it would change."""
    rows = await database.fetch(
        """
        SELECT kind, sum(number)::int AS number FROM (
            SELECT key AS kind, value::int AS number FROM replay_items, jsonb_each_text(counts) WHERE replay_id = $1
            UNION ALL
            SELECT kind, count(*) FROM (SELECT DISTINCT c.kind, c.timing_partner_id, c.registration_id
                FROM change_batches b JOIN changes c USING (batch_id) WHERE b.run_id = ANY(ARRAY(
                    SELECT DISTINCT i.run_id FROM replay_items i JOIN replays r USING (replay_id)
                    WHERE replay_id = $1 AND r.what IN ('records', 'quarantine', 'removals')))) d GROUP BY 1
        ) counted GROUP BY 1 ORDER BY 1
        """,
        replay_id,
    )
    return {row["kind"]: row["number"] for row in rows}


async def failures(database: Database, replay_id: UUID, limit: int) -> list[Any]:
    """Items that failed, or are as unusable as before, with the reason."""
    return await database.fetch(
        "SELECT ordinal, item_id, timing_partner_id AS partner_id, race_id, outcome, reason FROM replay_items"
        " WHERE replay_id = $1 AND outcome IN ('failed', 'again') ORDER BY ordinal LIMIT $2",
        replay_id,
        limit,
    )
