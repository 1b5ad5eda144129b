"""Promises as metrics: how old what is known of each class of races is, and how much of each budget is spent.

Freshness is measured from the rows, race by race, and not inferred from logs: a sync that silently stops shows here.
"""

from datetime import datetime, timedelta

from shared.domain.cadence import Pace
from shared.postgres import Connection
from shared.providers.registry import IDS, by_id
from shared.telemetry import metrics


async def measure(connection: Connection, now: datetime, since: timedelta = timedelta(0)) -> None:
    """Set the gauges from what the tables say now: each race by the promise that it was given last.

    What was never loaded is as old as its pace: a first load that fails again and again is a promise broken too.
    ``since`` the last time: for so long promises count as kept or broken, which is what an alert burns down.
    """
    rows = await connection.fetch(
        """
        WITH aged AS (
            SELECT s.provider_id, s.pace, s.promised_seconds,
                extract(epoch FROM $1 - coalesce(last_confirmed_at, pace_since)) AS age,
                extract(epoch FROM $1 - greatest(last_confirmed_at, pace_since)) AS unkept
            FROM race_sync s JOIN credentials c USING (credential_id)
            JOIN public.timing_partners p ON p.timing_partner_id = s.timing_partner_id
            WHERE s.state = 'active' AND s.pace IS NOT NULL AND c.state <> 'disabled'
              AND coalesce(p.api_access_enabled, true)
        )
        SELECT provider_id, pace, count(*) AS races, max(age)::float AS worst,
            count(*) FILTER (WHERE unkept > promised_seconds) AS behind
        FROM aged GROUP BY 1, 2
        """,
        now,
    )
    metrics.freshness_seconds.clear()
    metrics.races_behind.clear()
    metrics.races_followed.clear()
    for row in rows:
        provider, pace = by_id(row["provider_id"]).name, Pace(row["pace"])
        metrics.freshness_seconds.labels(provider, pace).set(max(0.0, row["worst"]))
        metrics.races_behind.labels(provider, pace).set(row["behind"])
        metrics.races_followed.labels(provider, pace).set(row["races"])
        kept = row["races"] - row["behind"]
        metrics.promise_seconds.labels(provider, pace, "kept").inc(kept * since.total_seconds())
        metrics.promise_seconds.labels(provider, pace, "broken").inc(row["behind"] * since.total_seconds())
    budgets = await connection.fetch(
        """
        SELECT k.provider_id, k.fingerprint, coalesce(k.calls_per_hour, p.rate_limit_per_hour, 1000) AS allowed,
            (SELECT count(*) FROM calls c WHERE (c.provider_id, c.fingerprint) = (k.provider_id, k.fingerprint)
                AND c.counts_until > $1) AS spent,
            (SELECT count(*) FROM key_hours h WHERE (h.provider_id, h.fingerprint) = (k.provider_id, k.fingerprint)
                AND h.hour >= $1 AND h.interval_seconds IS NOT NULL) AS over
        FROM provider_keys k JOIN public.providers p USING (provider_id) WHERE k.provider_id = ANY($2)
        """,
        now,
        list(IDS),
    )
    for row in budgets:
        provider = by_id(row["provider_id"]).name
        metrics.budget_limit.labels(provider, row["fingerprint"]).set(row["allowed"])
        metrics.budget_spent.labels(provider, row["fingerprint"]).set(row["spent"])
        metrics.hours_over.labels(provider, row["fingerprint"]).set(row["over"])
    await _measure_outbox(connection, now)
    await _measure_stuck(connection)


async def _measure_outbox(connection: Connection, now: datetime) -> None:
    """How long nobody has taken what is to be told: 0 when nothing waits, and requests that wait for calls are none."""
    oldest: datetime | None = await connection.fetchval("SELECT min(created_at) FROM outbox")
    metrics.outbox_oldest.set(max(0.0, (now - oldest).total_seconds()) if oldest else 0.0)


async def _measure_stuck(connection: Connection) -> None:
    """What waits for a person, for as long as it waits: a counter would fall silent while the item is still open."""
    rows = await connection.fetch(
        """
        SELECT 'quarantine' AS kind, reason, count(*) AS items FROM quarantine WHERE resolved_at IS NULL GROUP BY 2
        UNION ALL SELECT 'dead_letter', reason, count(*) FROM dead_letters WHERE resolved_at IS NULL GROUP BY 2
        UNION ALL SELECT 'held_removal', 'too_many', count(*) FROM held_removals WHERE resolved_at IS NULL
            HAVING count(*) > 0
        """
    )
    metrics.open_items.clear()
    for row in rows:
        metrics.open_items.labels(row["kind"], row["reason"]).set(row["items"])
