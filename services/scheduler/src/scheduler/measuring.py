"""Promises as metrics: how old what is known of each class of races is, and how much of each budget is spent.

Freshness is measured from the rows, race by race, and not inferred from logs: a sync that silently stops shows here.
"""

from datetime import datetime, timedelta

from scheduler.planning import Cadence
from shared.domain.run import SyncClass
from shared.postgres import Connection
from shared.providers.registry import IDS, by_id
from shared.telemetry import metrics

#: A race is behind when it was not confirmed for so many of its intervals, and a moment for the sync itself.
INTERVALS = 2
MOMENT = timedelta(seconds=30)


async def measure(connection: Connection, cadence: Cadence, now: datetime) -> None:
    """Set the gauges from what the tables say now."""
    rows = await connection.fetch(
        """
        WITH races AS (
            SELECT s.provider_id, s.last_confirmed_at, s.next_due_at, min(e.starts_at) FILTER (
                WHERE e.starts_at > $1::timestamptz - $4::interval) AS nearest
            FROM race_sync s JOIN events e USING (provider_id, timing_partner_id, race_id)
            WHERE s.state = 'active' AND e.missing_at IS NULL
              AND coalesce(greatest(e.ends_at, e.starts_at), $1) > $1::timestamptz - $4::interval
            GROUP BY s.provider_id, s.timing_partner_id, s.race_id
        ), classed AS (
            SELECT *, CASE WHEN nearest <= $1::timestamptz + $2::interval THEN 'raceday'
                WHEN nearest <= $1::timestamptz + $3::interval THEN 'near' ELSE 'routine' END AS sync_class FROM races
        ), aged AS (
            SELECT *, extract(epoch FROM $1::timestamptz - coalesce(last_confirmed_at, next_due_at)) AS age FROM classed
        )
        SELECT provider_id, sync_class, max(age)::float AS worst, count(*) FILTER (WHERE age > CASE sync_class
            WHEN 'raceday' THEN $5::float WHEN 'near' THEN $6::float ELSE $7::float END) AS behind
        FROM aged GROUP BY 1, 2
        """,
        now,
        cadence.raceday_window,
        cadence.near_window,
        cadence.after_start,
        *((each * INTERVALS + MOMENT).total_seconds() for each in (cadence.raceday, cadence.near, cadence.far)),
    )
    metrics.freshness_seconds.clear()
    metrics.races_behind.clear()
    for row in rows:
        provider, sync_class = by_id(row["provider_id"]).name, SyncClass(row["sync_class"])
        metrics.freshness_seconds.labels(provider, sync_class).set(max(0.0, row["worst"]))
        metrics.races_behind.labels(provider, sync_class).set(row["behind"])
    budgets = await connection.fetch(
        """
        SELECT k.provider_id, k.fingerprint, coalesce(k.calls_per_hour, p.rate_limit_per_hour, 1000) AS allowed,
            (SELECT count(*) FROM calls c WHERE (c.provider_id, c.fingerprint) = (k.provider_id, k.fingerprint)
                AND c.counts_until > $1) AS spent
        FROM provider_keys k JOIN public.providers p USING (provider_id) WHERE k.provider_id = ANY($2)
        """,
        now,
        list(IDS),
    )
    for row in budgets:
        provider = by_id(row["provider_id"]).name
        metrics.budget_limit.labels(provider, row["fingerprint"]).set(row["allowed"])
        metrics.budget_spent.labels(provider, row["fingerprint"]).set(row["spent"])
