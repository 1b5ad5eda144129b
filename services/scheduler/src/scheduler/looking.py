"""What there is to do, and when there will be more: one statement, where a tick has a dozen.

Most looks find nothing. What is due soon is waited for to the moment; the interval between two looks is for what
nobody could foresee.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from scheduler.open_runs import RESTS
from scheduler.store import IN_USE
from shared.postgres import Connection
from shared.providers.registry import IDS


@dataclass(frozen=True, slots=True)
class Look:
    """What there is to do now; some of it may turn out to be nobody's just yet. By default: whatever there may be."""

    keys: bool = True  # secrets that stand in clear
    discoveries: bool = True
    races: bool = True
    runs: bool = True  # to request, to request again, or to give up
    backfills: bool = True
    next_at: datetime | None = None  # when the next of what is known now falls due

    @property
    def is_idle(self) -> bool:
        """There is nothing to do."""
        return not (self.keys or self.discoveries or self.races or self.runs or self.backfills)

    def wait_seconds(self, now: datetime, most: float) -> float:
        """How long to wait, unless something is heard before."""
        if self.next_at is None:
            return most
        return min(most, max(0.0, (self.next_at - now).total_seconds()))


async def look(connection: Connection, now: datetime, *, unheard: timedelta, grace: timedelta) -> Look:
    """Look, and lock nothing. ``unheard`` and ``grace``: when a request is sent again, and a lease is given up."""
    row = await connection.fetchrow(
        f"""
        WITH in_use AS (
            SELECT c.credential_id, CASE WHEN k.provider_id = ANY($4) THEN c.discover_due_at END AS discover_due_at
            FROM credentials c
            JOIN public.partner_provider_credentials k ON k.partner_provider_credential_id = c.credential_id
            JOIN public.timing_partners p USING (timing_partner_id) WHERE {IN_USE}
        ), open AS (
            SELECT CASE r.state WHEN 'queued' THEN coalesce(not_before, $1)
                WHEN 'requested' THEN least(coalesce(sent_at, requested_at) + $2, deadline_at)
                WHEN 'running' THEN least(leased_until + $3, deadline_at)
                ELSE coalesce(deadline_at, requested_at + interval '1 day') END AS at
            FROM sync_runs r WHERE r.state IN ('queued', 'requested', 'running', 'fetched')
              AND NOT (r.state = 'queued' AND ({RESTS} OR EXISTS (SELECT 1 FROM sync_runs o
                WHERE o.subject = r.subject AND o.state IN ('requested', 'running', 'fetched'))))
        ), waits AS (SELECT coalesce(bool_or(at <= $1), false) AS due, min(at) FILTER (WHERE at > $1) AS next FROM open)
        SELECT EXISTS (SELECT 1 FROM public.partner_provider_credentials WHERE secret IS NOT NULL) AS keys,
            EXISTS (SELECT 1 FROM in_use WHERE discover_due_at <= $1) AS discoveries,
            -- The first by its index: EXISTS, planned for any moment, would read a hundred thousand rows each time.
            coalesce((SELECT next_due_at FROM race_sync WHERE state = 'active'
                AND credential_id = ANY(ARRAY(SELECT credential_id FROM in_use))
                ORDER BY next_due_at LIMIT 1) <= $1, false) AS races,
            waits.due AS runs,
            EXISTS (SELECT 1 FROM backfills WHERE state = 'running' OR state = 'planned' AND listed_at IS NULL)
                AS backfills,
            least(
                (SELECT min(discover_due_at) FROM in_use WHERE discover_due_at > $1),
                (SELECT min(next_due_at) FROM race_sync WHERE state = 'active' AND next_due_at > $1),
                waits.next
            ) AS next_at
        FROM waits
        """,  # noqa: S608  # constants
        now,
        unheard,
        grace,
        list(IDS),
    )
    assert row is not None, "an aggregate has a row"
    return Look(**dict(row))
