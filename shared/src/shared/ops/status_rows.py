"""What `hub status` reads: one query a fact, all at one instant that is passed in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.ops.freshness import Watched
from shared.ops.selecting import Partner, all_partners
from shared.postgres import Database
from shared.postgres.beats import living


@dataclass(frozen=True, slots=True)
class Facts:
    """The state of the whole system."""

    now: datetime
    services: dict[str, int]
    partners: Sequence[Partner]
    races: Sequence[Watched]
    refused_races: int
    budgets: Sequence[Any]
    runs: Sequence[Any]
    failures: Sequence[Any]
    quarantine: Sequence[Any]
    dead_letters: Sequence[Any]
    held: Sequence[Any]
    stops: Sequence[Any]
    outbox: int
    outbox_since: datetime | None
    newest_feed_id: int
    archive_bytes: int


async def gather(database: Database, now: datetime) -> Facts:
    """Read all of it."""
    outbox = await database.fetchrow("SELECT count(*) AS waiting, min(created_at) AS since FROM outbox")
    assert outbox is not None
    return Facts(
        now=now,
        services=await living(database, now),
        partners=await all_partners(database),
        races=await _races(database, now),
        refused_races=await database.fetchval("SELECT count(*) FROM race_sync WHERE state = 'refused'"),
        budgets=await budgets(database, now),
        runs=await database.fetch(
            "SELECT state, sync_class, count(*) AS runs, min(requested_at) AS oldest_at, min(not_before) AS next_at"
            " FROM sync_runs WHERE state IN ('queued', 'requested', 'running', 'fetched') GROUP BY 1, 2"
            " ORDER BY array_position(ARRAY['raceday', 'near', 'routine', 'backfill'], sync_class), 1"
        ),
        failures=await database.fetch(
            "SELECT coalesce(error_code, state) AS code, count(*) AS runs FROM sync_runs"
            " WHERE state IN ('failed', 'expired') AND requested_at > $1::timestamptz - interval '24 hours'"
            " GROUP BY 1 ORDER BY 2 DESC",
            now,
        ),
        quarantine=await database.fetch(
            "SELECT v.name AS provider, reason, count(*) AS rows, max(last_seen_at) AS last_at FROM quarantine"
            " JOIN public.providers v USING (provider_id) WHERE resolved_at IS NULL GROUP BY 1, 2 ORDER BY 3 DESC"
        ),
        dead_letters=await database.fetch(
            "SELECT type, reason, count(*) AS messages, max(dead_at) AS last_at FROM dead_letters"
            " WHERE resolved_at IS NULL GROUP BY 1, 2 ORDER BY 3 DESC"
        ),
        held=await database.fetch(
            "SELECT item_id, timing_partner_id AS partner_id, race_id, cardinality(registration_ids) AS people, active,"
            " held_at FROM held_removals WHERE resolved_at IS NULL ORDER BY 4 DESC"
        ),
        stops=await database.fetch(
            "SELECT v.name AS provider, s.reason, s.until FROM provider_stops s"
            " JOIN public.providers v USING (provider_id) WHERE s.until > $1",
            now,
        ),
        outbox=outbox["waiting"],
        outbox_since=outbox["since"],
        newest_feed_id=int(
            await database.fetchval("SELECT coalesce(max(feed_first + size) - 1, 0) FROM change_batches")
        ),
        archive_bytes=await database.fetchval("SELECT pg_total_relation_size('hub.raw_batches')"),
    )


async def _races(database: Database, now: datetime) -> list[Watched]:
    rows = await database.fetch(
        """
        SELECT s.timing_partner_id, s.race_id, s.last_confirmed_at, array_agg(e.starts_at) AS starts
        FROM race_sync s JOIN credentials c USING (credential_id)
        JOIN public.timing_partners p ON p.timing_partner_id = s.timing_partner_id
        JOIN events e
            ON (e.provider_id, e.timing_partner_id, e.race_id) = (s.provider_id, s.timing_partner_id, s.race_id)
        WHERE s.state = 'active' AND c.state <> 'disabled' AND coalesce(p.api_access_enabled, true)
          AND e.missing_at IS NULL
          AND coalesce(greatest(e.ends_at, e.starts_at), $1) > $1::timestamptz - interval '1 hour'
        GROUP BY 1, 2, 3
        """,
        now,
    )
    return [Watched(row["timing_partner_id"], row["race_id"], row["starts"], row["last_confirmed_at"]) for row in rows]


async def budgets(database: Database, now: datetime) -> list[Any]:
    """Each key's limit, what counts of it now, and until when it is blocked."""
    return await database.fetch(
        """
        SELECT v.name AS provider, k.fingerprint,
            coalesce(k.calls_per_hour, v.rate_limit_per_hour, 1000) AS calls_per_hour,
            (SELECT count(*) FROM calls c WHERE c.provider_id = k.provider_id AND c.fingerprint = k.fingerprint
                AND c.counts_until > $1) AS calls,
            CASE WHEN k.blocked_until > $1 THEN k.blocked_until END AS blocked_until,
            CASE WHEN k.blocked_until > $1 THEN k.block_reason END AS block_reason
        FROM provider_keys k JOIN public.providers v USING (provider_id) ORDER BY calls DESC, k.fingerprint
        """,
        now,
    )
