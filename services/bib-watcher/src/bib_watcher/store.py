"""What the bib-watcher reads and writes."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from orjson import dumps, loads

from bib_watcher.changes import BibDiff
from bib_watcher.readiness import Batch
from shared.contracts import BibChange
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


async def take(connection: Connection, batch_ids: Sequence[int], limit: int) -> dict[int, Group]:
    """Lock the first of a race's batches, about ``limit`` bib diffs, and say whose each is; none that another has.

    The first of them is the race's lock: everybody who sees it unwatched begins with it.
    """
    rows = await connection.fetch(
        """
        SELECT b.*, (SELECT count(*) FROM changes c WHERE c.batch_id = b.batch_id AND c.touches_bib) AS bibs
        FROM change_batches b WHERE b.batch_id = ANY($1) AND b.watched_at IS NULL
        ORDER BY b.feed_first FOR NO KEY UPDATE OF b SKIP LOCKED
        """,
        batch_ids,
    )
    locked = {row["batch_id"]: row for row in rows}
    taken: dict[int, Group] = {}
    for each in batch_ids:
        if each not in locked or limit <= 0:
            break
        taken[each] = _group(locked[each])
        limit -= locked[each]["bibs"]
    return taken


async def mark_watched(connection: Connection, batch_ids: Collection[int], now: datetime) -> None:
    """These were acted on."""
    await connection.execute("UPDATE change_batches SET watched_at = $2 WHERE batch_id = ANY($1)", [*batch_ids], now)


async def read_diffs(connection: Connection, batches: Mapping[int, Group]) -> dict[Group, list[BibDiff]]:
    """The diffs of some batches that touch a bib, in the order of the feed; a run's together, as a swap may be."""
    rows = await connection.fetch(
        """
        SELECT b.batch_id, b.feed_first + c.ordinal, c.registration_id, c.event_id,
            c.fields->'bib'->>0, c.fields->'bib'->>1, c.kind = 'removed'
        FROM change_batches b JOIN changes c USING (batch_id)
        WHERE b.batch_id = ANY($1) AND c.touches_bib ORDER BY 2
        """,
        [*batches],
    )
    found: dict[int, list[BibDiff]] = {each: [] for each in batches}
    for batch_id, *fields in rows:
        found[batch_id].append(BibDiff(*fields))
    groups: dict[Group, list[BibDiff]] = {}
    for batch_id, diffs in found.items():
        if diffs:
            groups.setdefault(batches[batch_id], []).extend(diffs)
    return groups


def _group(row: Any) -> Group:
    return Group(row["provider_id"], row["timing_partner_id"], row["race_id"], row["run_id"], Reason(row["reason"]))


@dataclass(frozen=True, slots=True)
class RaceBibs:
    """What is known of a race's bibs now."""

    wearers: dict[str, list[Wearer]]
    bundles: dict[str, set[str]]
    starting: set[str]
    ranges: dict[str, list[tuple[int, int]]]
    credential_id: int | None


async def race_bibs(
    connection: Connection, group: Group, diffs: Sequence[BibDiff], now: datetime, window: tuple[timedelta, timedelta]
) -> RaceBibs:
    """Who wears the new bibs, which events are bundles, and which start within hours.

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
    credential = await connection.fetchval(
        "SELECT credential_id FROM race_sync WHERE provider_id = $1 AND timing_partner_id = $2 AND race_id = $3", *where
    )
    wearers: dict[str, list[Wearer]] = defaultdict(list)
    for row in worn:
        wearers[row["bib"]].append(Wearer(row["registration_id"], row["event_id"], row["user_id"]))
    return RaceBibs(
        wearers=dict(wearers),
        bundles=families((row["event_id"], row["sub_event_ids"]) for row in events),
        starting={row["event_id"] for row in events if row["is_starting"]},
        ranges={row["event_id"]: loads(row["bib_ranges"]) for row in events if row["bib_ranges"] is not None},
        credential_id=credential,
    )


async def record(
    connection: Connection, group: Group, changes: Sequence[BibChange], now: datetime, message_id: UUID
) -> list[tuple[BibChange, datetime | None]]:
    """Append to the bib history; what was not there already, each with the provider's time of the change, if known."""
    rows = await connection.fetch(
        """
        INSERT INTO bib_history (provider_id, timing_partner_id, race_id, event_id, registration_id, kind, before,
            after, other_registration_id, feed_id, run_id, reason, detected_at, message_id, provider_modified_at)
        SELECT $1, $2, $3, event_id, registration_id, kind, before, after, other_registration_id, feed_id, $4, $5, $6,
            $7, (
                -- When somebody left is not in their row: what is, is older, and would be taken for our latency.
                SELECT CASE WHEN removed_at IS NULL THEN provider_modified_at END FROM participants p
                WHERE provider_id = $1 AND timing_partner_id = $2 AND p.registration_id = change.registration_id
            )
        FROM jsonb_to_recordset($8) AS change (kind text, registration_id text, event_id text, before text, after text,
            other_registration_id text, feed_id bigint)
        ON CONFLICT DO NOTHING RETURNING feed_id, kind, provider_modified_at
        """,
        group.provider_id,
        group.timing_partner_id,
        group.race_id,
        group.run_id,
        group.reason,
        now,
        message_id,
        dumps(changes).decode(),
    )
    fresh = {(feed_id, kind): modified_at for feed_id, kind, modified_at in rows}
    return [(each, fresh[key]) for each in changes if (key := (each["feed_id"], each["kind"])) in fresh]
