"""What applying again reads and writes of a replay's items, and of what is stuck."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

import orjson

from shared.domain.replay import ItemOutcome, What
from shared.postgres import Connection, Database
from shared.postgres.pool import notify
from shared.providers.registry import by_id
from writer.store import BatchId, Place


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a replay that is to be applied."""

    replay_id: UUID
    ordinal: int
    what: What
    dry_run: bool
    place: Place
    item_id: int | None
    source: BatchId | None  # in the archive
    run_id: UUID  # which it is applied under


async def load(database: Database, replay_id: UUID, first: int, last: int) -> list[Item]:
    """Items that are not finished, in order."""
    rows = await database.fetch(
        """
        SELECT i.*, r.what, r.dry_run FROM replay_items i JOIN replays r USING (replay_id)
        WHERE replay_id = $1 AND ordinal BETWEEN $2 AND $3 AND i.finished_at IS NULL ORDER BY ordinal
        """,
        replay_id,
        first,
        last,
    )
    return [
        Item(
            row["replay_id"],
            row["ordinal"],
            What(row["what"]),
            row["dry_run"],
            Place(row["provider_id"], row["timing_partner_id"], row["race_id"] or ""),
            row["item_id"],
            BatchId(row["source_run_id"], row["source_attempt"], row["source_sequence"])
            if row["source_run_id"] is not None
            else None,
            row["run_id"] or uuid5(replay_id, "rehearsal"),
        )
        for row in rows
    ]


async def finish(connection: Connection, item: Item, outcome: ItemOutcome, reason: str | None, now: datetime) -> None:
    """Finish an item, in the transaction of its effect, and let the next one come."""
    await connection.execute(
        "UPDATE replay_items SET finished_at = $3, outcome = $4, reason = $5"
        " WHERE replay_id = $1 AND ordinal = $2 AND finished_at IS NULL",
        item.replay_id,
        item.ordinal,
        now,
        outcome,
        reason,
    )
    await notify(connection, "replay")


async def record_counts(connection: Connection, item: Item, counts: Mapping[str, int]) -> None:
    """What a rehearsal would have changed, beside its first item."""
    await connection.execute(
        "UPDATE replay_items SET counts = $3 WHERE replay_id = $1 AND ordinal = $2",
        item.replay_id,
        item.ordinal,
        orjson.dumps(counts).decode(),
    )


async def would_change(connection: Connection, run_id: UUID) -> list[tuple[str, str]]:
    """Registrations and kinds of what was written under a run, in order."""
    rows = await connection.fetch(
        "SELECT registration_id, kind FROM change_batches JOIN changes USING (batch_id) WHERE run_id = $1"
        " ORDER BY batch_id, ordinal",
        run_id,
    )
    return [(row["registration_id"], row["kind"]) for row in rows]


@dataclass(frozen=True, slots=True)
class Record:
    """A record in quarantine, as it came."""

    provider: str
    type: str
    fetched_at: datetime
    credential_id: int
    raw: Any


async def quarantined(connection: Connection, item: Item) -> Record | None:
    """The record of an item; None when it is resolved."""
    row = await connection.fetchrow(
        """
        SELECT q.provider_id, q.type, q.fetched_at, q.raw, r.credential_id
        FROM quarantine q, sync_runs r WHERE q.item_id = $1 AND q.resolved_at IS NULL AND r.run_id = $2
        """,
        item.item_id,
        item.run_id,
    )
    if row is None:
        return None
    return Record(
        by_id(row["provider_id"]).name, row["type"], row["fetched_at"], row["credential_id"], orjson.loads(row["raw"])
    )


async def settle_quarantined(connection: Connection, item: Item, now: datetime) -> str | None:
    """Close an item whose record was just applied; why not, when the record went aside again.

    Whoever put it aside last is named in it: this run, if it is as unusable as before. For another reason it is another
    item, and takes this one's place.
    """
    found = await connection.fetchrow(
        """
        SELECT o.item_id, o.reason FROM quarantine q JOIN quarantine o
            ON (o.provider_id, o.timing_partner_id, o.raw) = (q.provider_id, q.timing_partner_id, q.raw)
        WHERE q.item_id = $1 AND o.run_id = $2 AND o.resolved_at IS NULL LIMIT 1
        """,
        item.item_id,
        item.run_id,
    )
    if found is not None and found["item_id"] == item.item_id:
        return str(found["reason"])
    resolution = "replayed" if found is None else f"replayed: now item {found['item_id']}"
    await connection.execute(
        "UPDATE quarantine SET resolved_at = $2, resolution = $3 WHERE item_id = $1 AND resolved_at IS NULL",
        item.item_id,
        now,
        resolution,
    )
    return None if found is None else f"{found['reason']} (now item {found['item_id']})"


@dataclass(frozen=True, slots=True)
class Held:
    """A held removal."""

    registration_ids: list[str]
    first_call_at: datetime


async def held(connection: Connection, item: Item) -> Held | None:
    """The held removal of an item; None when it is resolved."""
    row = await connection.fetchrow(
        "SELECT registration_ids, first_call_at FROM held_removals WHERE item_id = $1 AND resolved_at IS NULL"
        " FOR UPDATE",
        item.item_id,
    )
    return None if row is None else Held(**dict(row))


async def resolve_held(connection: Connection, item: Item, resolution: str, now: datetime) -> None:
    """Close a held removal."""
    await connection.execute(
        "UPDATE held_removals SET resolved_at = $2, resolution = $3 WHERE item_id = $1", item.item_id, now, resolution
    )
