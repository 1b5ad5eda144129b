"""What the bib-watcher reads and writes."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from bib_watcher.changes import BibDiff, BibEvent, Wearer
from shared.domain.run import Reason
from shared.postgres import Connection

READER = "bib-watcher"


@dataclass(frozen=True, slots=True)
class Group:
    """Diffs of one race from one run."""

    provider_id: int
    timing_partner_id: int
    race_id: str
    run_id: UUID
    reason: Reason


async def lock_position(connection: Connection) -> int:
    """How far the feed was read; locked, so that of several watchers one reads at a time."""
    await connection.execute(
        "INSERT INTO feed_positions (reader, feed_id) VALUES ($1, 0) ON CONFLICT DO NOTHING", READER
    )
    position: int = await connection.fetchval("SELECT feed_id FROM feed_positions WHERE reader = $1 FOR UPDATE", READER)
    return position


async def move_position(connection: Connection, feed_id: int) -> None:
    """Everything up to here was acted on."""
    await connection.execute("UPDATE feed_positions SET feed_id = $2 WHERE reader = $1", READER, feed_id)


@dataclass(frozen=True, slots=True)
class Portion:
    """Some of the feed, in its order."""

    diffs: list[tuple[Group, BibDiff]]
    last_feed_id: int


async def read_feed(connection: Connection, after: int, limit: int) -> Portion | None:
    """The next whole batches of the feed, about ``limit`` diffs; None at its end. Only diffs that touch a bib come."""
    batches = await connection.fetch(
        """
        SELECT batch_id, feed_first, size FROM (
            SELECT batch_id, feed_first, size, sum(size) OVER (ORDER BY feed_first) - size AS behind
            FROM (SELECT * FROM change_batches WHERE feed_first > $1 ORDER BY feed_first LIMIT 200) AS next
        ) AS counted WHERE behind < $2 ORDER BY feed_first
        """,
        after,
        limit,
    )
    if not batches:
        return None
    rows = await connection.fetch(
        """
        SELECT b.feed_first + c.ordinal AS feed_id, c.*, b.race_id, b.run_id, b.reason
        FROM change_batches b JOIN changes c USING (batch_id)
        WHERE b.batch_id = ANY($1) AND c.touches_bib ORDER BY 1
        """,
        [row["batch_id"] for row in batches],
    )
    last = batches[-1]
    return Portion([(_group(row), _diff(row)) for row in rows], last["feed_first"] + last["size"] - 1)


def _group(row: Any) -> Group:
    return Group(row["provider_id"], row["timing_partner_id"], row["race_id"], row["run_id"], Reason(row["reason"]))


def _diff(row: Any) -> BibDiff:
    from orjson import loads

    before, after = loads(row["fields"])["bib"]
    return BibDiff(row["feed_id"], row["registration_id"], row["event_id"], before, after)


@dataclass(frozen=True, slots=True)
class RaceBibs:
    """What is known of a race's bibs now."""

    wearers: dict[str, list[Wearer]]
    users: dict[str, str | None]
    modified: dict[str, datetime | None]
    bundles: dict[str, set[str]]
    credential_id: int | None


async def race_bibs(connection: Connection, group: Group, diffs: Sequence[BibDiff]) -> RaceBibs:
    """Who wears the new bibs, whose the registrations are, and which events are bundles."""
    where = (group.provider_id, group.timing_partner_id, group.race_id)
    # OFFSET 0 keeps the planner from the primary key's first two columns here, and to its third below: on a table never
    # analyzed it takes a partner for one row, and would walk through everybody of the partner each time.
    bibs = sorted({each.after for each in diffs if each.after is not None})
    worn = await connection.fetch(
        """
        SELECT p.bib, p.registration_id, p.event_id, p.user_id FROM (
            SELECT * FROM participants WHERE timing_partner_id = $2 AND race_id = $3
                AND left(bib, 100) = ANY($5) AND bib = ANY($4) AND bib IS NOT NULL AND removed_at IS NULL OFFSET 0
        ) AS p WHERE p.provider_id = $1
        ORDER BY p.registration_id
        """,
        *where,
        bibs,
        [each[:100] for each in bibs],
    )
    people = await connection.fetch(
        """
        SELECT p.* FROM unnest($3::text[]) AS wanted (registration_id), LATERAL (
            SELECT registration_id, user_id, provider_modified_at FROM participants
            WHERE provider_id = $1 AND timing_partner_id = $2 AND registration_id = wanted.registration_id OFFSET 0
        ) AS p
        """,
        group.provider_id,
        group.timing_partner_id,
        [each.registration_id for each in diffs],
    )
    events = await connection.fetch(
        "SELECT event_id, sub_event_ids FROM events WHERE provider_id = $1 AND timing_partner_id = $2 AND race_id = $3"
        " AND cardinality(sub_event_ids) > 0",
        *where,
    )
    credential = await connection.fetchval(
        "SELECT credential_id FROM race_sync WHERE provider_id = $1 AND timing_partner_id = $2 AND race_id = $3", *where
    )
    wearers: dict[str, list[Wearer]] = defaultdict(list)
    for row in worn:
        wearers[row["bib"]].append(Wearer(row["registration_id"], row["event_id"], row["user_id"]))
    bundles: dict[str, set[str]] = defaultdict(set)
    for row in events:
        family = {row["event_id"], *row["sub_event_ids"]}
        for each in family:  # two sub-events of one bundle share bibs too
            bundles[each] |= family
    return RaceBibs(
        wearers=dict(wearers),
        users={row["registration_id"]: row["user_id"] for row in people},
        modified={row["registration_id"]: row["provider_modified_at"] for row in people},
        bundles=dict(bundles),
        credential_id=credential,
    )


async def record(
    connection: Connection, group: Group, events: Sequence[BibEvent], bibs: RaceBibs, now: datetime
) -> list[BibEvent]:
    """Append to the bib history; the events that were not there already."""
    rows = await connection.fetch(
        """
        INSERT INTO bib_history (provider_id, timing_partner_id, race_id, event_id, registration_id, kind, before,
            after, other_registration_id, feed_id, run_id, reason, provider_modified_at, detected_at)
        SELECT $1, $2, $3, e.event_id, e.registration_id, e.kind, e.before, e.after, e.other, e.feed_id, $4, $5,
            e.modified_at, $6
        FROM unnest($7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::bigint[],
            $14::timestamptz[]) AS e (event_id, registration_id, kind, before, after, other, feed_id, modified_at)
        ON CONFLICT DO NOTHING RETURNING feed_id, kind
        """,
        group.provider_id,
        group.timing_partner_id,
        group.race_id,
        group.run_id,
        group.reason,
        now,
        [each.diff.event_id for each in events],
        [each.diff.registration_id for each in events],
        [str(each.kind) for each in events],
        [each.diff.before for each in events],
        [each.diff.after for each in events],
        [each.other_registration_id for each in events],
        [each.diff.feed_id for each in events],
        [bibs.modified.get(each.diff.registration_id) for each in events],
    )
    fresh = {(row["feed_id"], row["kind"]) for row in rows}
    return [each for each in events if (each.diff.feed_id, str(each.kind)) in fresh]
