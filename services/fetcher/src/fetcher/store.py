"""What the fetcher reads and writes of a run."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from fetcher.budget import BUDGET
from fetcher.paging import Progress, Stage, begin
from shared.contracts import SyncRequest
from shared.domain.run import Kind, Reason, State, SyncClass
from shared.postgres import Connection, Database
from shared.postgres.asks import Ask, ask, strength_of
from shared.postgres.pool import notify
from shared.postgres.runs import Ending, finish_run


@dataclass(frozen=True, slots=True)
class Claim:
    """A run that is ours for as long as its lease lasts."""

    run_id: UUID
    attempt: int
    progress: Progress


async def claim(
    database: Database, request: SyncRequest, *, provider_id: int, now: datetime, lease: timedelta
) -> Claim | None:
    """Take a run, with a new attempt number; None when nothing is left to do for this message.

    A run that another fetcher holds is left to it: should that one die, the scheduler requests the run again.

    A request without a run (a hand-written message) is asked for like any other first.
    """
    row = await database.fetchrow(
        """
        UPDATE sync_runs SET state = 'running', attempt = attempt + 1, leased_until = $3
        WHERE run_id = $1 AND (state = 'requested' OR (state = 'running' AND coalesce(leased_until, $2) <= $2))
        RETURNING run_id, attempt, progress, kind, race_id
        """,
        request.run_id,
        now,
        now + lease,
    )
    if row is None:
        async with database.transaction("adopting a request") as connection:
            if not await connection.fetchval("SELECT 1 FROM sync_runs WHERE run_id = $1", request.run_id):
                await _adopt(connection, request, provider_id, now)  # its own message follows through the outbox
        return None
    saved, kind = orjson.loads(row["progress"]), Kind(row["kind"])
    return Claim(row["run_id"], row["attempt"], restore(saved, kind, of_race=row["race_id"] is not None))


async def _adopt(connection: Connection, request: SyncRequest, provider_id: int, now: datetime) -> None:
    wish = Ask(
        run_id=request.run_id,
        kind=request.kind,
        provider=request.provider,
        provider_id=provider_id,
        timing_partner_id=request.timing_partner_id,
        credential_id=request.credential_id,
        source="fetcher",
        reason=request.reason,
        sync_class=request.sync_class,
        mode=request.mode,
        removals=request.removals,
        race_id=request.race_id,
        event_ids=request.event_ids,
        bib=request.bib,
        deadline_seconds=request.deadline_seconds,
    )
    await ask(connection, wish, now)


def restore(saved: dict[str, Any], kind: Kind, *, of_race: bool = True) -> Progress:
    """A saved progress, or the beginning."""
    if not saved:
        return begin(kind, of_race=of_race)
    moments = {name: _moment(saved[name]) for name in ("first_call_at", "first_answer_at")}
    ranges = tuple((int(a), int(b), int(c)) for a, b, c in saved["ranges"])
    marks = tuple((int(a), int(b), int(c), int(d)) for a, b, c, d in saved.get("marks", ()))
    return Progress(**{**saved, **moments, "ranges": ranges, "marks": marks, "stage": Stage(saved["stage"])})


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


async def going(connection: Connection, claimed: Claim, seconds: int, now: datetime, leased_until: datetime) -> bool:
    """A call goes out now: it is counted, the lease is renewed, and from the first one on the deadline counts.

    False when the run is not ours any more.
    """
    tag: str = await connection.execute(
        "UPDATE sync_runs SET calls = calls + 1, started_at = coalesce(started_at, $3), leased_until = $5,"
        " deadline_at = coalesce(deadline_at, $3::timestamptz + make_interval(secs => $4))"
        " WHERE run_id = $1 AND attempt = $2 AND state = 'running'",
        claimed.run_id,
        claimed.attempt,
        now,
        float(seconds),
        leased_until,
    )
    return tag.endswith("1")


async def renew(database: Database, claimed: Claim, leased_until: datetime) -> bool:
    """Renew the lease; False when the run is not ours any more."""
    tag = await database.execute(
        "UPDATE sync_runs SET leased_until = $3 WHERE run_id = $1 AND attempt = $2 AND state = 'running'",
        claimed.run_id,
        claimed.attempt,
        leased_until,
    )
    return tag.endswith("1")


async def save(database: Database, claimed: Claim, progress: Progress, leased_until: datetime) -> bool:
    """Save how far the run has come and renew the lease; False when the run is not ours any more."""
    tag = await database.execute(
        "UPDATE sync_runs SET progress = $3, pages = $4, fetched = $5, leased_until = $6"
        " WHERE run_id = $1 AND attempt = $2 AND state = 'running'",
        claimed.run_id,
        claimed.attempt,
        orjson.dumps(asdict(progress)).decode(),
        progress.pages,
        progress.records,
        leased_until,
    )
    return tag.endswith("1")


async def is_paused(database: Database, request: SyncRequest) -> bool:
    """Whether an operator wants the partner's backfill to rest."""
    found = await database.fetchval(
        "SELECT 1 FROM backfills WHERE timing_partner_id = $1 AND state = 'paused'", request.timing_partner_id
    )
    return found is not None


async def release(database: Database, claimed: Claim, *, code: str, message: str) -> None:
    """Let the next delivery of its message take the run; why this attempt ended is kept."""
    await database.execute(
        "UPDATE sync_runs SET state = 'requested', leased_until = NULL, error_code = $3, error = $4"
        " WHERE run_id = $1 AND attempt = $2 AND state = 'running'",
        claimed.run_id,
        claimed.attempt,
        code,
        message,
    )


async def postpone(
    database: Database,
    claimed: Claim,
    until: datetime,
    reason: str,
    *,
    provider: str,
    source: str,
    message_id: UUID,
    now: datetime,
) -> None:
    """Put the run back into the database until then: no failure, no attempt. What was fetched is kept.

    Its deadline is lifted with its state; it counts again from the next call. Only one run of a race may wait: one that
    is queued behind it takes its place, and brings what both were to bring.
    """
    async with database.transaction("postponing a run") as connection:
        await _lock_subject(connection, claimed.run_id)
        rows = await connection.fetch(
            "SELECT * FROM sync_runs WHERE run_id = $1 AND state = 'running' AND attempt = $2 OR state = 'queued'"
            " AND subject = (SELECT subject FROM sync_runs WHERE run_id = $1) ORDER BY run_id = $1 DESC FOR UPDATE",
            claimed.run_id,
            claimed.attempt,
        )
        if not rows or rows[0]["run_id"] != claimed.run_id:
            return  # it is not ours any more
        if len(rows) > 1:
            await _join(connection, rows[0], into=rows[1])
            ending = Ending(State.REPLACED)
            await finish_run(
                connection, claimed.run_id, ending, provider=provider, source=source, message_id=message_id, now=now
            )
        else:
            if reason == BUDGET:
                until = await _turn_after(connection, rows[0], until)
            await connection.execute(
                "UPDATE sync_runs SET state = 'queued', not_before = $2, leased_until = NULL, deadline_at = NULL,"
                " error_code = $3 WHERE run_id = $1",
                claimed.run_id,
                until,
                reason,
            )
        await notify(connection, "asked")


async def _lock_subject(connection: Connection, run_id: UUID) -> None:
    """Lock what every asker about the same subject locks first."""
    about = await connection.fetchrow(
        "SELECT provider_id, timing_partner_id, race_id, credential_id FROM sync_runs WHERE run_id = $1", run_id
    )
    assert about is not None, "a claimed run stays"
    if about["race_id"] is None:
        await connection.execute(
            "SELECT 1 FROM credentials WHERE credential_id = $1 FOR UPDATE", about["credential_id"]
        )
    else:
        await connection.execute(
            "SELECT 1 FROM race_sync WHERE provider_id = $1 AND timing_partner_id = $2 AND race_id = $3 FOR UPDATE",
            about["provider_id"],
            about["timing_partner_id"],
            about["race_id"],
        )


async def _turn_after(connection: Connection, mine: Any, until: datetime) -> datetime:
    """When the first call from then on stops counting that no other run of this key, as near or nearer, waits for.

    What is planned does not stand in line behind what is spare.
    One run goes for each call that is free again: a crowd would find it taken and go back, again and again.
    """
    fingerprint = await connection.fetchval(
        "SELECT k.fingerprint FROM provider_keys k JOIN credentials c USING (fingerprint)"
        " WHERE k.provider_id = $1 AND c.credential_id = $2 FOR UPDATE OF k",
        mine["provider_id"],
        mine["credential_id"],
    )
    sync_class = SyncClass(mine["sync_class"])
    found: datetime | None = await connection.fetchval(
        """
        WITH taken AS (
            SELECT r.not_before FROM sync_runs r JOIN credentials c USING (credential_id)
            WHERE r.state = 'queued' AND r.provider_id = $1 AND c.fingerprint = $2 AND r.sync_class = ANY($4)
              AND r.not_before IS NOT NULL AND r.reason <> ALL($5)
        ), freed AS (
            SELECT counts_until FROM calls WHERE provider_id = $1 AND fingerprint = $2 AND counts_until >= $3
        )
        SELECT coalesce((SELECT min(counts_until) FROM freed WHERE counts_until NOT IN (SELECT not_before FROM taken)),
            (SELECT max(counts_until) FROM freed))
        """,
        mine["provider_id"],
        fingerprint,
        until,
        [each.value for each in SyncClass if each.distance <= sync_class.distance],
        [] if Reason(mine["reason"]).is_spare else [each.value for each in Reason if each.is_spare],
    )
    return found or until


async def _join(connection: Connection, mine: Any, *, into: Any) -> None:
    """Let a queued run bring what ours was to bring, and stand in its place."""
    joined = strength_of(into).joined(strength_of(mine))
    await connection.execute(
        "UPDATE sync_runs SET mode = $2, sync_class = $3, removals = $4, event_ids = $5, deadline_seconds = $6,"
        " reason = $7 WHERE run_id = $1",
        into["run_id"],
        joined.mode,
        joined.sync_class,
        joined.removals,
        list(dict.fromkeys((*into["event_ids"], *mine["event_ids"]))),
        max(into["deadline_seconds"], mine["deadline_seconds"]),
        Reason(into["reason"]).joined(Reason(mine["reason"])),
    )
    await connection.execute("UPDATE sync_runs SET replaced_by = $2 WHERE run_id = $1", mine["run_id"], into["run_id"])
