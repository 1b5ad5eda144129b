"""The limiter, in PostgreSQL: exact over all replicas and restarts.

A reservation locks the caller's registration and the key's row, reads, decides, and writes, in one transaction.
Reading comes in a statement of its own after the locks: a statement's snapshot is older than a lock that it waits for.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

from fetcher.budget import Go, Hold, Postpone, Situation, Slot, allowance, decide, rest_after
from fetcher.settings import FetcherSettings
from fetcher.sharing import heed, read_use
from shared.domain.budget import HOUR, usable_limit
from shared.domain.forecast import RACEDAY_SHARE, UNFORESEEN_SHARE
from shared.domain.run import SyncClass
from shared.postgres import Connection, Database
from shared.postgres.pool import CHANNEL, notify
from shared.postgres.schedules import hour_of

#: A waiter that did not ask again for so long is not waiting any more.
WAITS = timedelta(seconds=2)
#: What somebody else's use took from a budget grows back: it is worth another look after this.
REGROWS = timedelta(minutes=1)
#: A slot is leased for longer than a call can last, so that it is never given away under one.
MARGIN = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Wish:
    """A call somebody wants to make."""

    provider_id: int
    fingerprint: str
    caller: str
    sync_class: SyncClass
    privileged: bool
    run_id: UUID


@dataclass(frozen=True, slots=True)
class Granted:
    """A call that may go out now; it must be finished, or given back, whatever becomes of it."""

    call_id: int
    reserved_at: datetime
    was_last: bool  # no other slot was free


#: What is written together with a call; when it raises, nothing was reserved.
Going: TypeAlias = Callable[[Connection], Awaitable[None]]


async def _nothing_more(_connection: Connection) -> None:
    """A call is written alone."""


class Ledger:
    """Reserves calls and records their ends."""

    def __init__(self, database: Database, settings: FetcherSettings) -> None:
        self._database = database
        self._settings = settings
        self._call = timedelta(seconds=settings.call_seconds)

    async def reserve(self, wish: Wish, now: datetime, going: Going = _nothing_more) -> Granted | Hold | Postpone:
        """Reserve a call, or learn why not now; exact under any interleaving of replicas.

        From a call's end to the next one the slot is idle: every round trip here costs calls.
        """
        async with self._database.transaction("reserving a call") as connection:
            situation, allowed = await self._look(connection, wish, now)
            verdict = decide(situation, allowed, wish.fingerprint)
            if isinstance(verdict, Go):
                granted = await self._grant(connection, wish, verdict, now)
                await going(connection)
                return granted
            if isinstance(verdict, Hold):
                await connection.execute(
                    "INSERT INTO call_waiters (caller, fingerprint, waits_until) VALUES ($1, $2, $3)"
                    " ON CONFLICT (caller, fingerprint) DO UPDATE SET waits_until = $3",
                    wish.caller,
                    wish.fingerprint,
                    now + WAITS,
                )
            return verdict

    async def _look(self, connection: Connection, wish: Wish, now: datetime) -> tuple[Situation, int]:
        key = await connection.fetchrow(
            """
            SELECT coalesce(k.calls_per_hour, p.rate_limit_per_hour, 1000) AS calls_per_hour, k.others_calls,
                k.others_seen_at, k.blocked_until, k.block_reason, s.until AS stopped_until, s.reason AS stop_reason,
                CASE WHEN $3 OR f.planned IS NULL THEN 0 ELSE f.planned - (SELECT count(*) FROM calls
                    WHERE provider_id = $1 AND fingerprint = $2 AND counts_until > $5 AND sync_class = 'raceday')
                END AS foreseen, -- race-day calls of the coming hour that are still to be made
                pg_advisory_xact_lock(hashtextextended($6, 0)) -- the slots
            FROM provider_keys k JOIN public.providers p USING (provider_id)
            LEFT JOIN provider_stops s USING (provider_id)
            LEFT JOIN LATERAL (
                -- What race day will spend: as the forecast reckons it, where it does not fit.
                SELECT max(least(raceday_calls, greatest($7::float * usable_calls - other_calls,
                    $8::float * usable_calls)))::integer AS planned
                FROM key_hours WHERE provider_id = $1 AND fingerprint = $2
                    AND hour BETWEEN $4::timestamptz AND $4::timestamptz + interval '1 hour'
            ) AS f ON true
            WHERE k.provider_id = $1 AND k.fingerprint = $2 FOR UPDATE OF k
            """,
            wish.provider_id,
            wish.fingerprint,
            wish.privileged,
            hour_of(now),
            now,
            f"slots:{wish.caller}",
            1 - UNFORESEEN_SHARE,
            RACEDAY_SHARE,
        )
        assert key is not None, "a sealed credential has its key's row"
        limit = usable_limit(key["calls_per_hour"], key["others_calls"], key["others_seen_at"], now)
        shared = limit < key["calls_per_hour"]
        allowed = allowance(
            limit,
            self._settings.reserve_share,
            self._settings.backfill_share,
            sync_class=wish.sync_class,
            privileged=wish.privileged,
            foreseen=max(0, key["foreseen"]),
        )
        rows = await self._read(connection, wish, now, allowed)
        if len(rows) < self._settings.calls_in_flight:
            await connection.execute(
                "INSERT INTO call_slots (caller, slot, leased_until)"
                " SELECT $1, n, 'epoch' FROM generate_series(0, $2 - 1) AS n ON CONFLICT DO NOTHING",
                wish.caller,
                self._settings.calls_in_flight,
            )
            rows = await self._read(connection, wish, now, allowed)
        found = rows[0]
        stopped = key["stopped_until"] is not None and key["stopped_until"] > now
        situation = Situation(
            now=now,
            limit=limit,
            counting=found["counting"],
            frees_at=min(found["frees_at"], now + REGROWS) if shared and found["frees_at"] else found["frees_at"],
            blocked_until=key["stopped_until"] if stopped else key["blocked_until"],
            block_reason=key["stop_reason"] if stopped else key["block_reason"],
            slots=tuple(Slot(row["slot"], row["fingerprint"], row["leased_until"]) for row in rows),
            other_waits=found["other_waits"],
            others_exist=found["others_exist"],
        )
        return situation, allowed

    async def _read(self, connection: Connection, wish: Wish, now: datetime, allowed: int) -> list[Any]:
        """The slots; beside each how many of the key's calls count, whether another key without a slot waits for one,
        and whether there are other keys at all."""
        return await connection.fetch(
            """
            WITH counting AS (
                SELECT counts_until FROM calls WHERE provider_id = $5 AND fingerprint = $3 AND counts_until > $4
            )
            SELECT slot, fingerprint, leased_until,
                EXISTS (SELECT 1 FROM call_waiters w WHERE caller = $1 AND fingerprint <> $3 AND waits_until > $4
                    AND NOT EXISTS (SELECT 1 FROM call_slots s
                        WHERE s.caller = $1 AND s.fingerprint = w.fingerprint AND s.leased_until > $4)) AS other_waits,
                EXISTS (SELECT 1 FROM provider_keys k JOIN credentials c USING (fingerprint)
                    WHERE k.provider_id = $5 AND k.fingerprint <> $3 AND c.state = 'active') AS others_exist,
                (SELECT count(*) FROM counting) AS counting,
                (SELECT counts_until FROM counting ORDER BY counts_until DESC OFFSET greatest($6 - 1, 0) LIMIT 1)
                    AS frees_at
            FROM call_slots WHERE caller = $1 AND slot < $2 ORDER BY slot
            """,
            wish.caller,
            self._settings.calls_in_flight,
            wish.fingerprint,
            now,
            wish.provider_id,
            allowed,
        )

    async def _grant(self, connection: Connection, wish: Wish, go: Go, now: datetime) -> Granted:
        call_id: int = await connection.fetchval(
            """
            WITH call AS (
                INSERT INTO calls (provider_id, fingerprint, sync_class, run_id, reserved_at, counts_until)
                VALUES ($1, $2, $3, $4, $5, $6) RETURNING call_id
            ), taken AS (
                UPDATE call_slots SET fingerprint = $2, call_id = call.call_id, leased_until = $7 FROM call
                WHERE caller = $8 AND slot = $9
            ), served AS (
                DELETE FROM call_waiters WHERE caller = $8 AND fingerprint = $2
            )
            SELECT call_id FROM call
            """,
            wish.provider_id,
            wish.fingerprint,
            wish.sync_class,
            wish.run_id,
            now,
            now + self._call + MARGIN + HOUR,
            now + self._call + MARGIN,
            wish.caller,
            go.slot,
        )
        return Granted(call_id, now, go.is_last)

    async def finish(
        self, wish: Wish, granted: Granted, outcome: str, now: datetime, quota: tuple[int, int] | None = None
    ) -> None:
        """Record a call's end and free its slot; a key whose answers are slow several times running is parked.

        ``quota`` is the provider's own count, (limit, remaining), when it tells one.
        """
        slow = (now - granted.reserved_at).total_seconds() >= self._settings.slow_seconds
        async with self._database.connection("recording a call") as connection:
            await connection.execute(
                """
                WITH key AS (
                    UPDATE provider_keys SET
                        slow_answers = CASE WHEN $3 THEN slow_answers + 1 ELSE 0 END,
                        blocked_until = CASE WHEN $3 AND slow_answers + 1 >= $4 THEN greatest(blocked_until, $5)
                            ELSE blocked_until END,
                        block_reason = CASE WHEN $3 AND slow_answers + 1 >= $4 AND coalesce(blocked_until < $5, true)
                            THEN 'slow' ELSE block_reason END,
                        failures = CASE WHEN $8 = 'ok' THEN 0 ELSE failures END
                    WHERE provider_id = $1 AND fingerprint = $2
                        AND ($3 OR slow_answers > 0 OR ($8 = 'ok' AND failures > 0)) RETURNING 1
                ), call AS (
                    UPDATE calls SET finished_at = $6, counts_until = $7, outcome = $8 WHERE call_id = $9
                ), freed AS (
                    -- Behind the key, as who reserves takes them.
                    UPDATE call_slots SET leased_until = 'epoch' FROM (SELECT count(*) FROM key) AS first
                    WHERE caller = $10 AND call_id = $9
                )
                SELECT pg_notify($11, 'slot')
                """,
                wish.provider_id,
                wish.fingerprint,
                slow,
                self._settings.slow_answers,
                now + timedelta(seconds=self._settings.park_seconds),
                now,
                now + HOUR,
                outcome,
                granted.call_id,
                wish.caller,
                CHANNEL,
            )
        if quota is not None:
            async with self._database.transaction("heeding the provider's count") as connection:
                await heed(connection, wish.provider_id, wish.fingerprint, now, quota)

    async def shrink(self, wish: Wish, now: datetime) -> None:
        """The provider refused a call though our count had room: somebody else uses the key, so use less of it.

        It grows back within the hour; in the meantime every replica, the forecast and the promises reckon with it.
        """
        async with self._database.transaction("heeding a throttle") as connection:
            await heed(connection, wish.provider_id, wish.fingerprint, now, None)

    async def rest(self, wish: Wish, now: datetime) -> None:
        """A call failed on the provider's side: after some of them one after the other its key rests for a moment."""
        async with self._database.transaction("counting a failure") as connection:
            use = await read_use(connection, wish.provider_id, wish.fingerprint, now)
            failures: int = await connection.fetchval(
                "UPDATE provider_keys SET failures = failures + 1 WHERE (provider_id, fingerprint) = ($1, $2)"
                " RETURNING failures",
                wish.provider_id,
                wish.fingerprint,
            )
            if rest := rest_after(failures, use.counting, use.usable):
                await self._block(connection, wish, now + rest, "failing")

    async def give_back(self, wish: Wish, granted: Granted, now: datetime) -> None:
        """A call that was granted and did not go out: it frees its slot, and counts no more."""
        async with self._database.transaction("giving a call back") as connection:
            await connection.execute(
                "UPDATE calls SET finished_at = $2, counts_until = $2, outcome = 'unused' WHERE call_id = $1",
                granted.call_id,
                now,
            )
            await self._free(connection, wish, granted)

    async def _free(self, connection: Connection, wish: Wish, granted: Granted) -> None:
        await connection.execute(
            "UPDATE call_slots SET leased_until = 'epoch' WHERE caller = $1 AND call_id = $2",
            wish.caller,
            granted.call_id,
        )
        await notify(connection, "slot")

    async def block(self, wish: Wish, until: datetime, reason: str) -> None:
        """Let nothing of a key go out before ``until``: the provider throttled it."""
        async with self._database.connection("blocking a key") as connection:
            await self._block(connection, wish, until, reason)

    async def _block(self, connection: Connection, wish: Wish, until: datetime, reason: str) -> None:
        await connection.execute(
            "UPDATE provider_keys SET blocked_until = greatest(blocked_until, $3),"
            " block_reason = CASE WHEN blocked_until > $3 THEN block_reason ELSE $4 END"
            " WHERE provider_id = $1 AND fingerprint = $2",
            wish.provider_id,
            wish.fingerprint,
            until,
            reason,
        )

    async def stop_everything(self, provider_id: int, until: datetime, reason: str, now: datetime) -> None:
        """Let nothing go out to a provider before ``until``: our caller registration was refused."""
        await self._database.execute(
            "INSERT INTO provider_stops (provider_id, stopped_at, until, reason) VALUES ($1, $2, $3, $4)"
            " ON CONFLICT (provider_id) DO UPDATE SET stopped_at = $2, until = $3, reason = $4",
            provider_id,
            now,
            until,
            reason,
        )
