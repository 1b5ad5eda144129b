"""Feeding backfills: a plan's row says what is wanted, the tables say what is missing, a few runs at a time bring it.

What is asked for next, partner by partner: each key's races since the beginning, each race's events of all years, and,
once the plan was started, the people of past events that were never loaded. Nothing is remembered beside the tables, so
whatever dies, the next tick goes on. Pausing is a state of the row; the runs rest, and go on at their page.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from scheduler.handlers import SOURCE
from scheduler.settings import SchedulerSettings
from shared.domain.run import Kind, Mode, Reason, SyncClass
from shared.postgres import Connection
from shared.postgres.asks import Ask, ask
from shared.postgres.backfills import MISSING
from shared.postgres.pool import notify
from shared.providers.registry import IDS, by_id
from shared.runtime import House

#: A run that expired is asked for again, so often; one that was refused is listed as failed at once.
EXPIRED_TRIES = 3
#: Runs of a key that wait for budget already: more would wait with them.
WAITING = 2
#: Asked for a partner at once: another one's key may be free.
AT_ONCE = 2
#: Which backfills ask for more: started, or planned and not known yet.
HUNGRY = "(state = 'running' OR state = 'planned' AND listed_at IS NULL)"
#: A past event was wanted for as long as anybody remembers.
EVER = timedelta(days=36500)


@dataclass(frozen=True, slots=True)
class Step:
    """What a backfill asks for next."""

    kind: Kind
    provider_id: int
    credential_id: int
    race_id: str | None = None
    event_ids: tuple[str, ...] = ()


async def feed(house: House, settings: SchedulerSettings, now: datetime) -> None:
    """Let every open backfill ask for what it misses next, as far as there is room; end those that miss nothing."""
    if not await house.database.fetchval(f"SELECT 1 FROM backfills WHERE {HUNGRY} LIMIT 1"):  # noqa: S608
        return
    async with house.database.transaction("feeding backfills") as connection:
        room = settings.backfill_runs - await connection.fetchval(
            "SELECT count(*) FROM sync_runs WHERE state IN ('requested', 'running', 'fetched') AND reason = 'backfill'"
        )
        rows = await connection.fetch(
            f"SELECT * FROM backfills WHERE {HUNGRY} ORDER BY fed_at NULLS FIRST, backfill_id"  # noqa: S608
            " FOR UPDATE SKIP LOCKED"
        )
        for row in rows:
            if room <= 0:
                return
            steps = await _next_steps(connection, row, now, settings, min(room, AT_ONCE))
            # The operator's clock may be milliseconds ahead of ours: what is asked before the backfill began would
            # not be known as its own (TRIED), and be asked for again.
            asked_at = max(now, row["created_at"])
            for step in steps:
                await ask(connection, _wish(house, settings, row["timing_partner_id"], step), asked_at)
            room -= len(steps)
            if steps:
                await connection.execute(
                    "UPDATE backfills SET fed_at = $2 WHERE backfill_id = $1", row["backfill_id"], now
                )
            elif not await _is_waiting(connection, row):
                await _settle(connection, row, now, timedelta(hours=settings.after_start_hours))


def _wish(house: House, settings: SchedulerSettings, partner_id: int, step: Step) -> Ask:
    return Ask(
        run_id=house.new_id(),
        kind=step.kind,
        provider=by_id(step.provider_id).name,
        provider_id=step.provider_id,
        timing_partner_id=partner_id,
        credential_id=step.credential_id,
        source=SOURCE,
        reason=Reason.BACKFILL,
        sync_class=SyncClass.BACKFILL,
        mode=Mode.FULL,
        race_id=step.race_id,
        event_ids=step.event_ids,
        deadline_seconds=settings.deadline(SyncClass.BACKFILL, Mode.FULL),
        tail=EVER,
    )


#: What this backfill tried already, by key or race: still open, or in vain. $1 the partner, $2 since when.
TRIED = """
    SELECT race_id, credential_id, kind,
        bool_or(state IN ('queued', 'requested', 'running', 'fetched')) AS open,
        bool_or(state = 'completed') AS done,
        bool_or(state = 'failed') OR count(*) FILTER (WHERE state = 'expired') >= $3 AS vain
    FROM sync_runs WHERE timing_partner_id = $1 AND reason = 'backfill' AND requested_at >= $2 GROUP BY 1, 2, 3
"""

#: Keys that calls go out with, and that do not wait for budget already.
USABLE = """
    SELECT c.credential_id, k.provider_id FROM credentials c
    JOIN public.partner_provider_credentials k ON k.partner_provider_credential_id = c.credential_id
    JOIN public.timing_partners p USING (timing_partner_id)
    WHERE k.timing_partner_id = $1 AND c.state = 'active' AND coalesce(p.api_access_enabled, true)
      AND k.provider_id = ANY($4) AND (SELECT count(*) FROM sync_runs q WHERE q.state = 'queued'
        AND q.reason = 'backfill' AND q.credential_id = c.credential_id) < $5
"""


async def _next_steps(
    connection: Connection, row: Any, now: datetime, settings: SchedulerSettings, limit: int
) -> Sequence[Step]:
    """The next few things to ask for: lists before histories before people."""
    known = (row["timing_partner_id"], row["created_at"], EXPIRED_TRIES, list(IDS), WAITING, limit)
    lists = await connection.fetch(
        f"""
        WITH tried AS ({TRIED}), usable AS ({USABLE})
        SELECT u.provider_id, u.credential_id FROM usable u WHERE NOT EXISTS (SELECT 1 FROM tried t
            WHERE t.kind = 'history' AND t.race_id IS NULL AND t.credential_id = u.credential_id
            AND (t.open OR t.done OR t.vain))
        ORDER BY u.credential_id LIMIT $6
        """,  # noqa: S608
        *known,
    )
    if lists:
        return [Step(Kind.HISTORY, each["provider_id"], each["credential_id"]) for each in lists]
    histories = await connection.fetch(
        f"""
        WITH tried AS ({TRIED}), usable AS ({USABLE})
        SELECT s.provider_id, s.credential_id, s.race_id FROM race_sync s JOIN usable u USING (credential_id)
        WHERE s.timing_partner_id = $1 AND s.history_at IS NULL AND NOT EXISTS (SELECT 1 FROM tried t
            WHERE t.kind = 'history' AND t.race_id = s.race_id AND (t.open OR t.vain))
        ORDER BY s.race_id LIMIT $6
        """,  # noqa: S608
        *known,
    )
    if histories or row["state"] != "running":
        return [Step(Kind.HISTORY, each["provider_id"], each["credential_id"], each["race_id"]) for each in histories]
    people = await connection.fetch(
        f"""
        WITH tried AS ({TRIED}), usable AS ({USABLE}), missing AS ({MISSING.format(partner="$1", now="$7", tail="$8")})
        SELECT m.provider_id, s.credential_id, m.race_id, array_agg(m.event_id ORDER BY m.event_id) AS event_ids
        FROM missing m JOIN race_sync s USING (provider_id, timing_partner_id, race_id)
        JOIN usable u USING (credential_id)
        WHERE NOT EXISTS (SELECT 1 FROM tried t WHERE t.race_id = m.race_id AND (t.open OR t.kind = 'race' AND t.vain))
        GROUP BY 1, 2, 3 ORDER BY 3 LIMIT $6
        """,  # noqa: S608
        *known,
        now,
        timedelta(hours=settings.after_start_hours),
    )
    return [
        Step(Kind.RACE, each["provider_id"], each["credential_id"], each["race_id"], tuple(each["event_ids"]))
        for each in people
    ]


async def _is_waiting(connection: Connection, row: Any) -> bool:
    """Whether something of it is still on its way, or a key is still to be verified."""
    found = await connection.fetchval(
        """
        SELECT EXISTS (SELECT 1 FROM sync_runs WHERE timing_partner_id = $1 AND reason = 'backfill'
                AND state IN ('queued', 'requested', 'running', 'fetched'))
            OR EXISTS (SELECT 1 FROM credentials c JOIN public.partner_provider_credentials k
                ON k.partner_provider_credential_id = c.credential_id
                WHERE k.timing_partner_id = $1 AND c.state = 'new')
        """,
        row["timing_partner_id"],
    )
    return bool(found)


async def _settle(connection: Connection, row: Any, now: datetime, tail: timedelta) -> None:
    """Nothing is left to ask for: a plan is known, what was started is over. Finished means that nothing is missing."""
    if row["listed_at"] is None:
        await connection.execute("UPDATE backfills SET listed_at = $2 WHERE backfill_id = $1", row["backfill_id"], now)
    if row["state"] == "running":
        left = await connection.fetchval(
            f"SELECT (SELECT count(*) FROM ({MISSING.format(partner='$1', now='$2', tail='$3')}) AS missing)"  # noqa: S608
            " + (SELECT count(*) FROM race_sync WHERE timing_partner_id = $1 AND history_at IS NULL)"
            " + (SELECT count(*) FROM credentials c JOIN public.partner_provider_credentials k"
            "   ON k.partner_provider_credential_id = c.credential_id"
            "   WHERE k.timing_partner_id = $1 AND c.state = 'refused')",
            row["timing_partner_id"],
            now,
            tail,
        )
        await connection.execute(
            "UPDATE backfills SET state = $2, ended_at = $3 WHERE backfill_id = $1",
            row["backfill_id"],
            "incomplete" if left else "finished",
            now,
        )
    await notify(connection, "asked")
