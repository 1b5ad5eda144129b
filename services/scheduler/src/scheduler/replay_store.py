"""What going on with a replay reads and writes; a replay's row is locked first, so that one scheduler paces it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.domain.replay import MOST_UNDERWAY, ItemOutcome, ReplayState, What
from shared.postgres import Connection

#: Unfinished items looked at in one step: those behind them wait for their turn anyway.
WINDOW = 500


@dataclass(frozen=True, slots=True)
class Replay:
    """An open replay."""

    replay_id: UUID
    what: What
    dry_run: bool
    state: ReplayState
    rate: float
    mapping_version: int | None
    paced_at: datetime


async def open_replays(connection: Connection) -> list[UUID]:
    """Those that are not over, oldest first."""
    rows = await connection.fetch("SELECT replay_id FROM replays WHERE finished_at IS NULL ORDER BY asked_at")
    return [row["replay_id"] for row in rows]


async def lock(connection: Connection, replay_id: UUID) -> Replay | None:
    """Take a replay for this transaction; None when it is over, or another scheduler has it."""
    row = await connection.fetchrow(
        "SELECT replay_id, what, dry_run, state, rate, mapping_version, paced_at FROM replays"
        " WHERE replay_id = $1 AND finished_at IS NULL FOR UPDATE SKIP LOCKED",
        replay_id,
    )
    if row is None:
        return None
    return Replay(**{**dict(row), "what": What(row["what"]), "state": ReplayState(row["state"])})


@dataclass(frozen=True, slots=True)
class Tally:
    """How many items stand how, as far as going on needs it."""

    finished: dict[str, int]  # by outcome; of the first ones only
    underway: int
    unfinished: int  # within the window


async def tally(connection: Connection, replay_id: UUID) -> Tally:
    """Count what stands at both ends: a replay of the whole archive has tens of thousands of items."""
    rows = await connection.fetch(
        """
        SELECT outcome, sent_at IS NOT NULL AS sent, count(*) AS items FROM (
            (SELECT * FROM replay_items WHERE replay_id = $1 AND finished_at IS NULL ORDER BY ordinal LIMIT $2)
            UNION ALL
            (SELECT * FROM replay_items WHERE replay_id = $1 AND finished_at IS NOT NULL ORDER BY ordinal LIMIT $3)
        ) AS ends GROUP BY 1, 2
        """,
        replay_id,
        WINDOW,
        MOST_UNDERWAY,
    )
    finished: dict[str, int] = {}
    for row in rows:
        if row["outcome"] is not None:
            finished[row["outcome"]] = finished.get(row["outcome"], 0) + row["items"]
    waiting = [row for row in rows if row["outcome"] is None]
    return Tally(finished, sum(r["items"] for r in waiting if r["sent"]), sum(r["items"] for r in waiting))


@dataclass(frozen=True, slots=True)
class Item:
    """What is sent at once: an item, or in a dry run all items of a race."""

    first: int
    last: int
    provider_id: int | None
    timing_partner_id: int | None
    race_id: str | None
    item_id: int | None
    source_run_id: UUID | None


async def sendable(connection: Connection, replay: Replay, limit: int) -> list[Item]:
    """The next items whose turn it is.

    A race's items follow one another, each sent when the one before it is finished, and a list of races stands between
    what came before and after it: so a replay of everything meets each race after it was discovered, in its own order.
    """
    if replay.dry_run:
        rows = await connection.fetch(
            """
            SELECT min(ordinal) AS first, max(ordinal) AS last, provider_id, timing_partner_id, race_id,
                NULL::bigint AS item_id, NULL::uuid AS source_run_id
            FROM replay_items WHERE replay_id = $1 AND finished_at IS NULL AND sent_at IS NULL
            GROUP BY provider_id, timing_partner_id, race_id ORDER BY 1 LIMIT $2
            """,
            replay.replay_id,
            limit,
        )
    else:
        rows = await connection.fetch(
            """
            SELECT ordinal AS first, ordinal AS last, provider_id, timing_partner_id, race_id, item_id, source_run_id
            FROM (
                SELECT *, row_number() OVER (PARTITION BY timing_partner_id, race_id ORDER BY ordinal) AS of_race,
                    row_number() OVER (PARTITION BY timing_partner_id ORDER BY ordinal) AS of_partner,
                    bool_or(race_id IS NULL) OVER (PARTITION BY timing_partner_id ORDER BY ordinal
                        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS behind_a_list
                FROM (SELECT * FROM replay_items WHERE replay_id = $1 AND finished_at IS NULL
                    ORDER BY ordinal LIMIT $3) AS near
            ) AS placed
            WHERE sent_at IS NULL AND (timing_partner_id IS NULL OR CASE WHEN race_id IS NULL THEN of_partner = 1
                ELSE of_race = 1 AND behind_a_list IS NOT TRUE END)
            ORDER BY ordinal LIMIT $2
            """,
            replay.replay_id,
            limit,
            WINDOW,
        )
    return [Item(**dict(row)) for row in rows]


@dataclass(frozen=True, slots=True)
class Sent:
    """As what an item was sent, and the run or batch that will prove it."""

    message_id: UUID | None = None
    run_id: UUID | None = None
    attempt: int | None = None
    sequence: int | None = None


async def mark_sent(connection: Connection, replay_id: UUID, item: Item, sent: Sent, now: datetime) -> None:
    """Note that an item is on its way."""
    await connection.execute(
        "UPDATE replay_items SET sent_at = $4, message_id = $5, run_id = coalesce($6, run_id),"
        " attempt = coalesce($7, attempt), sequence = coalesce($8, sequence)"
        " WHERE replay_id = $1 AND ordinal BETWEEN $2 AND $3 AND finished_at IS NULL",
        replay_id,
        item.first,
        item.last,
        now,
        sent.message_id,
        sent.run_id,
        sent.attempt,
        sent.sequence,
    )


async def finish(
    connection: Connection, replay_id: UUID, item: Item, outcome: ItemOutcome, reason: str | None, now: datetime
) -> None:
    """Finish an item."""
    await connection.execute(
        "UPDATE replay_items SET finished_at = $4, outcome = $5, reason = $6"
        " WHERE replay_id = $1 AND ordinal BETWEEN $2 AND $3 AND finished_at IS NULL",
        replay_id,
        item.first,
        item.last,
        now,
        outcome,
        reason,
    )


async def finish_proven(connection: Connection, replay_id: UUID, now: datetime) -> None:
    """Finish messages and runs by what they were to bring about, and close their dead letters.

    A batch is proven by the inbox, the end of a run by the run, a request by the run that was asked for. News that only
    wake somebody (`participants.changed`, `sync.completed`) are proven by having left.
    """
    await connection.execute(
        "UPDATE replay_items i SET run_id = r.replaced_by FROM sync_runs r WHERE i.replay_id = $1"
        " AND i.finished_at IS NULL AND r.run_id = i.run_id AND r.state = 'replaced' AND r.replaced_by IS NOT NULL",
        replay_id,
    )
    await connection.execute(
        """
        WITH proven AS (
            SELECT i.ordinal, r.state IN ('failed', 'expired', 'replaced') AS failed, coalesce(r.error, r.state) AS why
            FROM replay_items i JOIN sync_runs r USING (run_id)
            WHERE i.replay_id = $1 AND i.finished_at IS NULL AND i.sent_at IS NOT NULL AND i.message_id IS NULL
                AND r.state IN ('completed', 'failed', 'expired', 'replaced')
            UNION ALL
            SELECT i.ordinal, false, NULL FROM replay_items i JOIN dead_letters d USING (item_id)
            WHERE i.replay_id = $1 AND i.finished_at IS NULL AND i.sent_at IS NOT NULL AND i.message_id IS NOT NULL
                AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.message_id = i.message_id)
                AND CASE WHEN i.sequence IS NOT NULL THEN EXISTS (SELECT 1 FROM applied_batches b
                        WHERE (b.run_id, b.attempt, b.sequence) = (i.run_id, i.attempt, i.sequence))
                    WHEN d.type = 'sync.fetched.v1' THEN EXISTS (SELECT 1 FROM sync_runs r
                        WHERE r.run_id = i.run_id AND r.state NOT IN ('requested', 'running'))
                    ELSE true END
        ), ended AS (
            UPDATE replay_items i SET finished_at = $2, outcome = CASE WHEN failed THEN 'failed' ELSE 'done' END,
                reason = CASE WHEN failed THEN why END
            FROM proven WHERE i.replay_id = $1 AND i.ordinal = proven.ordinal RETURNING i.item_id, i.outcome
        )
        UPDATE dead_letters d SET resolved_at = $2, resolution = 'replayed' FROM ended
        WHERE d.item_id = ended.item_id AND ended.outcome = 'done' AND d.resolved_at IS NULL
        """,
        replay_id,
        now,
    )


async def forget_lost(connection: Connection, replay_id: UUID, sent_before: datetime) -> None:
    """Let items be sent again whose message is not heard of any more; safe, since a finished one is passed over."""
    await connection.execute(
        "UPDATE replay_items i SET sent_at = NULL WHERE replay_id = $1 AND finished_at IS NULL AND sent_at < $2"
        " AND message_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.message_id = i.message_id)",
        replay_id,
        sent_before,
    )


async def forget_all(connection: Connection) -> None:
    """After a restart of a process that was its own bus, what was on its way is gone."""
    await connection.execute(
        "UPDATE replay_items i SET sent_at = NULL WHERE finished_at IS NULL AND sent_at IS NOT NULL"
        " AND message_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.message_id = i.message_id)"
    )


async def skip_unsent(connection: Connection, replay_id: UUID, now: datetime) -> None:
    """A replay ended before its last item: what was not sent stays as it was."""
    await connection.execute(
        "UPDATE replay_items SET finished_at = $2, outcome = 'skipped', reason = 'the replay ended before it'"
        " WHERE replay_id = $1 AND finished_at IS NULL AND sent_at IS NULL",
        replay_id,
        now,
    )


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that a replay's items were applied under, and all of them are finished."""

    run_id: UUID
    provider_id: int
    items: int
    failed: int
    skipped: int


async def finished_runs(connection: Connection, provider_ids: list[int]) -> list[FinishedRun]:
    """Runs of replays that nothing more will be applied under; locked, another scheduler passes over them."""
    rows = await connection.fetch(
        """
        WITH ended AS (
            SELECT run_id, provider_id FROM sync_runs r
            WHERE kind = 'replay' AND state = 'running' AND provider_id = ANY($1)
                AND EXISTS (SELECT 1 FROM replay_items i WHERE i.run_id = r.run_id)
                AND NOT EXISTS (SELECT 1 FROM replay_items i WHERE i.run_id = r.run_id AND i.finished_at IS NULL)
            FOR UPDATE SKIP LOCKED
        )
        SELECT run_id, ended.provider_id, count(*) AS items, count(*) FILTER (WHERE outcome = 'failed') AS failed,
            count(*) FILTER (WHERE outcome = 'skipped') AS skipped
        FROM ended JOIN replay_items USING (run_id) GROUP BY 1, 2
        """,
        provider_ids,
    )
    return [FinishedRun(**dict(row)) for row in rows]


async def save(
    connection: Connection, replay_id: UUID, state: ReplayState, *, paced_at: datetime, finished_at: datetime | None
) -> None:
    """Note where a replay stands."""
    await connection.execute(
        """
        UPDATE replays SET state = $2, paced_at = $3, finished_at = $4,
            stop_reason = coalesce(stop_reason, CASE WHEN $2 = 'stopped' THEN 'the first item failed' END)
        WHERE replay_id = $1 AND (state, paced_at, finished_at) IS DISTINCT FROM ($2, $3, $4)
        """,
        replay_id,
        state,
        paced_at,
        finished_at,
    )


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter as it came."""

    body: bytes
    correlation_id: str | None


async def letter(connection: Connection, item: Item) -> Letter | None:
    """The message of an item; None when it is resolved."""
    row = await connection.fetchrow(
        "SELECT body, correlation_id FROM dead_letters WHERE item_id = $1 AND resolved_at IS NULL", item.item_id
    )
    return None if row is None else Letter(**dict(row))


async def former_run(connection: Connection, run_id: UUID) -> Any:
    """A run that is to be asked for again."""
    return await connection.fetchrow("SELECT * FROM sync_runs WHERE run_id = $1", run_id)


async def owns(connection: Connection, credential_id: int, timing_partner_id: int) -> bool:
    """Whether a key exists and is the partner's."""
    found = await connection.fetchval(
        "SELECT 1 FROM public.partner_provider_credentials"
        " WHERE partner_provider_credential_id = $1 AND timing_partner_id = $2",
        credential_id,
        timing_partner_id,
    )
    return found is not None
