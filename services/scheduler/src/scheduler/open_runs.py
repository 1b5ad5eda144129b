"""Runs that may go on, or have gone on for too long, as SQL."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from scheduler.store import PORTION
from shared.domain.run import Kind, Reason
from shared.postgres import Connection

#: A queued run ``r`` that rests for as long as its backfill is paused.
RESTS = """
    r.reason = 'backfill' AND EXISTS (SELECT 1 FROM backfills b
        WHERE b.timing_partner_id = r.timing_partner_id AND b.state = 'paused')
"""


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that may go on, or has gone on for too long."""

    run_id: UUID
    provider_id: int


async def promotable(connection: Connection, now: datetime) -> list[OpenRun]:
    """Queued runs whose time has come and whose predecessor has ended, nearest class first; they become requested."""
    rows = await connection.fetch(
        f"""
        WITH ready AS (
            SELECT r.run_id FROM sync_runs r
            WHERE r.state = 'queued' AND coalesce(r.not_before, $1) <= $1 AND NOT EXISTS (
                SELECT 1 FROM sync_runs o
                WHERE o.subject = r.subject AND o.state IN ('requested', 'running', 'fetched'))
              AND NOT ({RESTS})
            ORDER BY array_position(ARRAY['raceday', 'near', 'routine', 'backfill'], r.sync_class), r.requested_at
            LIMIT {PORTION} FOR UPDATE OF r SKIP LOCKED
        )
        UPDATE sync_runs r SET state = 'requested', requested_at = $1, not_before = NULL FROM ready
        WHERE r.run_id = ready.run_id
        RETURNING r.run_id, r.provider_id
        """,  # noqa: S608  # constants
        now,
    )
    return [OpenRun(row["run_id"], row["provider_id"]) for row in rows]


@dataclass(frozen=True, slots=True)
class Overdue:
    """A run that took too long, and the race it holds up."""

    run_id: UUID
    provider_id: int
    timing_partner_id: int
    race_id: str | None
    kind: str
    reason: str
    credential_id: int
    has_key: bool


#: What has no key, since it was deleted, can never be fetched: no request of it is sent again.
HAS_KEY = "EXISTS (SELECT 1 FROM credentials c WHERE c.credential_id = sync_runs.credential_id)"

#: Past its deadline; a run that began and has none (yet) counts by another instant. A replay's run ends with its items.
OVERDUE = f"""
    kind <> 'replay' AND (state IN ('requested', 'running', 'fetched') AND deadline_at < $1
        OR state IN ('running', 'fetched') AND coalesce(deadline_at, greatest(started_at, requested_at)) < $2
        OR state IN ('queued', 'requested') AND NOT {HAS_KEY})
"""


async def overdue(connection: Connection, now: datetime, begun_before: datetime) -> list[Overdue]:
    """Candidates to give up, oldest first; nothing is locked yet."""
    rows = await connection.fetch(
        "SELECT run_id, provider_id, timing_partner_id, race_id, kind, reason, credential_id,"  # noqa: S608
        f" {HAS_KEY} AS has_key FROM sync_runs WHERE {OVERDUE} ORDER BY requested_at LIMIT {PORTION}",
        now,
        begun_before,
    )
    return [Overdue(**dict(row)) for row in rows]


async def unheard(connection: Connection, sent_before: datetime) -> list[OpenRun]:
    """Requests that no fetcher began for so long: their messages may be lost, or only wait. They are sent again.

    A second message is harmless: whoever claims the run first has it.
    """
    rows = await connection.fetch(
        "SELECT run_id, provider_id FROM sync_runs"  # noqa: S608  # a constant
        " WHERE state = 'requested' AND coalesce(sent_at, requested_at) < $1"
        f" ORDER BY requested_at LIMIT {PORTION} FOR UPDATE SKIP LOCKED",
        sent_before,
    )
    return [OpenRun(row["run_id"], row["provider_id"]) for row in rows]


async def still_overdue(connection: Connection, run: Overdue, now: datetime, begun_before: datetime) -> bool:
    """Lock the run's race, as everyone does first, then the run; False when it ended or went on meanwhile."""
    await connection.execute(
        "SELECT 1 FROM race_sync WHERE provider_id = $1 AND timing_partner_id = $2 AND race_id = $3 FOR UPDATE",
        run.provider_id,
        run.timing_partner_id,
        run.race_id,
    )
    found = await connection.fetchval(
        f"SELECT 1 FROM sync_runs WHERE ({OVERDUE}) AND run_id = $3 FOR UPDATE",  # noqa: S608
        now,
        begun_before,
        run.run_id,
    )
    return found is not None


async def abandoned(connection: Connection, leased_before: datetime) -> list[OpenRun]:
    """Runs whose fetcher died: the lease ended long enough ago that it was neither renewed nor given back.

    They are requested again, and go on at the page where they were.
    """
    rows = await connection.fetch(
        f"""
        WITH dead AS (
            SELECT run_id FROM sync_runs WHERE state = 'running' AND leased_until < $1
            LIMIT {PORTION} FOR UPDATE SKIP LOCKED
        )
        UPDATE sync_runs r SET state = 'requested', leased_until = NULL FROM dead WHERE r.run_id = dead.run_id
        RETURNING r.run_id, r.provider_id
        """,  # noqa: S608  # a constant
        leased_before,
    )
    return [OpenRun(row["run_id"], row["provider_id"]) for row in rows]


async def make_due(connection: Connection, run: Overdue, at: datetime) -> None:
    """Let what a run was about be asked for again, as if its last ask had not been.

    A backfill sees in the tables itself what lacks.
    """
    if run.reason == Reason.BACKFILL:
        return
    if run.kind == Kind.DISCOVER:
        await connection.execute(
            "UPDATE credentials SET discover_due_at = least(discover_due_at, $2) WHERE credential_id = $1",
            run.credential_id,
            at,
        )
    await connection.execute(
        "UPDATE race_sync SET next_due_at = least(next_due_at, $4), last_asked_at = NULL, failures = failures + 1"
        " WHERE provider_id = $1 AND timing_partner_id = $2 AND race_id = $3",
        run.provider_id,
        run.timing_partner_id,
        run.race_id,
        at,
    )
