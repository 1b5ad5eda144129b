"""What the bib-watcher reads and writes."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from orjson import loads

from bib_watcher.changes import BibDiff, BibEvent
from bib_watcher.readiness import Batch
from shared.domain.bibs import Wearer, families
from shared.domain.cadence import WANTED
from shared.domain.run import FINAL, Reason
from shared.postgres import Connection

#: Batches looked at in one round. While they are more than this, a race may wait for others' runs, until those settle.
MOST_UNWATCHED = 1000


@dataclass(frozen=True, slots=True)
class Group:
    """Diffs of one race from one run."""

    provider_id: int
    timing_partner_id: int
    race_id: str
    run_id: UUID
    reason: Reason


async def unwatched(connection: Connection, settled_at: datetime) -> list[Batch]:
    """The oldest numbered batches that nobody has acted on, in the order of the feed.

    Settled are those written by ``settled_at``, and those whose run is over and has no diffs without a number. (All in
    one snapshot: a run that is seen to be over is seen with everything it wrote.)
    """
    rows = await connection.fetch(
        """
        SELECT n.batch_id, n.provider_id, n.timing_partner_id, n.race_id,
            n.written_at <= $1 OR (
                coalesce((SELECT r.state = ANY($2) FROM sync_runs r WHERE r.run_id = n.run_id), true)
                AND n.run_id <> ALL(ARRAY(SELECT u.run_id FROM change_batches u WHERE u.feed_first IS NULL))
            ) AS is_settled
        FROM (SELECT * FROM change_batches WHERE watched_at IS NULL AND feed_first IS NOT NULL
            ORDER BY feed_first LIMIT $3) AS n
        ORDER BY n.feed_first
        """,
        settled_at,
        [str(each) for each in FINAL],
        MOST_UNWATCHED,
    )
    return [
        Batch(row["batch_id"], (row["provider_id"], row["timing_partner_id"], row["race_id"]), row["is_settled"])
        for row in rows
    ]


async def take(connection: Connection, batch_ids: Sequence[int], limit: int) -> list[int]:
    """Lock the first of a race's batches, about ``limit`` bib diffs; none when another watcher has them.

    The first of them is the race's lock: everybody who sees it unwatched begins with it.
    """
    rows = await connection.fetch(
        """
        SELECT b.batch_id, (SELECT count(*) FROM changes c WHERE c.batch_id = b.batch_id AND c.touches_bib) AS bibs
        FROM change_batches b WHERE b.batch_id = ANY($1) AND b.watched_at IS NULL
        ORDER BY b.feed_first FOR NO KEY UPDATE OF b SKIP LOCKED
        """,
        batch_ids,
    )
    locked: dict[int, int] = {row["batch_id"]: row["bibs"] for row in rows}
    taken: list[int] = []
    for each in batch_ids:
        if each not in locked or limit <= 0:
            break
        taken.append(each)
        limit -= locked[each]
    return taken


async def mark_watched(connection: Connection, batch_ids: Sequence[int], now: datetime) -> None:
    """These were acted on."""
    await connection.execute("UPDATE change_batches SET watched_at = $2 WHERE batch_id = ANY($1)", batch_ids, now)


async def read_diffs(connection: Connection, batch_ids: Sequence[int]) -> list[tuple[Group, BibDiff]]:
    """The diffs of some batches that touch a bib, in the order of the feed."""
    rows = await connection.fetch(
        """
        SELECT b.feed_first + c.ordinal AS feed_id, c.*, b.race_id, b.run_id, b.reason
        FROM change_batches b JOIN changes c USING (batch_id)
        WHERE b.batch_id = ANY($1) AND c.touches_bib ORDER BY 1
        """,
        batch_ids,
    )
    return [(_group(row), _diff(row)) for row in rows]


def _group(row: Any) -> Group:
    return Group(row["provider_id"], row["timing_partner_id"], row["race_id"], row["run_id"], Reason(row["reason"]))


def _diff(row: Any) -> BibDiff:
    before, after = loads(row["fields"])["bib"]
    return BibDiff(row["feed_id"], row["registration_id"], row["event_id"], before, after, row["kind"] == "removed")


@dataclass(frozen=True, slots=True)
class RaceBibs:
    """What is known of a race's bibs now."""

    wearers: dict[str, list[Wearer]]
    users: dict[str, str | None]
    modified: dict[str, datetime | None]
    bundles: dict[str, set[str]]
    starting: set[str]
    ranges: dict[str, list[tuple[int, int]]]
    credential_id: int | None


async def race_bibs(
    connection: Connection, group: Group, diffs: Sequence[BibDiff], now: datetime, window: tuple[timedelta, timedelta]
) -> RaceBibs:
    """Who wears the new bibs, whose the registrations are, which events are bundles, and which start within hours.

    Only wearers of events still to come, or just over, count: a race is reused each year, and so are its bibs.
    """
    where = (group.provider_id, group.timing_partner_id, group.race_id)
    events = await connection.fetch(
        """
        SELECT event_id, sub_event_ids, bib_ranges,
            coalesce(last_moment_at, $4) >= $4::timestamptz - $5::interval AS is_wanted,
            coalesce(starts_at BETWEEN $4::timestamptz - $7::interval AND $4::timestamptz + $6::interval, false)
                AS is_starting
        FROM events WHERE provider_id = $1 AND timing_partner_id = $2 AND race_id = $3 AND missing_at IS NULL
        """,
        *where,
        now,
        WANTED,
        *window,
    )
    # OFFSET 0 keeps the planner from the primary key's first two columns here, and to its third below: on a table never
    # analyzed it takes a partner for one row, and would walk through everybody of the partner each time. The bibs are
    # hashed (IS TRUE keeps them from being joined): an array of 500 would be searched from its start for each person.
    bibs = sorted({each.after for each in diffs if each.after is not None})
    worn = await connection.fetch(
        """
        SELECT p.bib, p.registration_id, p.event_id, p.user_id FROM (
            SELECT provider_id, bib, registration_id, event_id, user_id FROM participants
            WHERE timing_partner_id = $2 AND race_id = $3 AND removed_at IS NULL
                AND (bib IN (SELECT unnest($4::text[]))) IS TRUE AND (event_id = ANY($5)) IS TRUE OFFSET 0
        ) AS p WHERE p.provider_id = $1
        ORDER BY p.registration_id
        """,
        *where,
        bibs,
        [row["event_id"] for row in events if row["is_wanted"]],
    )
    people = await connection.fetch(
        """
        SELECT p.* FROM unnest($3::text[]) AS wanted (registration_id), LATERAL (
            -- When somebody left is not in the row: what is, is older, and would be taken for our latency.
            SELECT registration_id, user_id, CASE WHEN removed_at IS NULL THEN provider_modified_at END AS modified_at
            FROM participants
            WHERE provider_id = $1 AND timing_partner_id = $2 AND registration_id = wanted.registration_id OFFSET 0
        ) AS p
        """,
        group.provider_id,
        group.timing_partner_id,
        [each.registration_id for each in diffs],
    )
    credential = await connection.fetchval(
        "SELECT credential_id FROM race_sync WHERE provider_id = $1 AND timing_partner_id = $2 AND race_id = $3", *where
    )
    wearers: dict[str, list[Wearer]] = defaultdict(list)
    for row in worn:
        wearers[row["bib"]].append(Wearer(row["registration_id"], row["event_id"], row["user_id"]))
    return RaceBibs(
        wearers=dict(wearers),
        users={row["registration_id"]: row["user_id"] for row in people},
        modified={row["registration_id"]: row["modified_at"] for row in people},
        bundles=families((row["event_id"], row["sub_event_ids"]) for row in events),
        starting={row["event_id"] for row in events if row["is_starting"]},
        ranges={row["event_id"]: loads(row["bib_ranges"]) for row in events if row["bib_ranges"] is not None},
        credential_id=credential,
    )


async def record(
    connection: Connection, group: Group, events: Sequence[BibEvent], bibs: RaceBibs, now: datetime, message_id: UUID
) -> list[BibEvent]:
    """Append to the bib history; the events that were not there already."""
    rows = await connection.fetch(
        """
        INSERT INTO bib_history (provider_id, timing_partner_id, race_id, event_id, registration_id, kind, before,
            after, other_registration_id, feed_id, run_id, reason, provider_modified_at, detected_at, message_id)
        SELECT $1, $2, $3, e.event_id, e.registration_id, e.kind, e.before, e.after, e.other, e.feed_id, $4, $5,
            e.modified_at, $6, $15
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
        message_id,
    )
    fresh = {(row["feed_id"], row["kind"]) for row in rows}
    return [each for each in events if (each.diff.feed_id, str(each.kind)) in fresh]
