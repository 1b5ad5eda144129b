"""The limiter, in PostgreSQL: exact over all replicas and restarts.

A reservation reads, decides, and takes what it decided on if nobody reserved a call of the key, blocked it or took the
slot since it was read; else it begins anew. So no lock is held while anybody reads or decides.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias
from uuid import UUID

from fetcher.budget import Go, Hold, Postpone, Situation, Slot, allowance, decide, is_privileged, rest_after
from fetcher.settings import FetcherSettings
from fetcher.sharing import heed, read_use
from shared.domain.budget import HOUR, usable_limit
from shared.domain.forecast import RACEDAY_SHARE, UNFORESEEN_SHARE
from shared.domain.run import Reason, SyncClass
from shared.errors import Later
from shared.postgres import Connection, Database
from shared.postgres.pool import CHANNEL, notify
from shared.postgres.schedules import hour_of

#: A waiter that did not ask again for so long is not waiting any more.
WAITS = timedelta(seconds=2)
#: What somebody else's use took from a budget grows back: it is worth another look after this.
REGROWS = timedelta(minutes=1)
#: Outcomes of calls whose answer was not read to its end. The provider may still be at work on them, and would count
#: one too many in flight (the stand-in notices such an end after 50 ms): the slot rests for a second.
GIVEN_UP, RESTS = frozenset({"cancelled", "timeout", "interrupted", "too_large", "encoding"}), timedelta(seconds=1)
#: A slot is leased for longer than a call can last, so that it is never given away under one.
MARGIN = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Wish:
    """A call somebody wants to make."""

    provider_id: int
    fingerprint: str
    caller: str
    sync_class: SyncClass
    reason: Reason
    run_id: UUID


@dataclass(frozen=True, slots=True)
class Granted:
    """A call that may go out now; it must be finished, or given back, whatever becomes of it."""

    call_id: int
    reserved_at: datetime
    was_last: bool  # no other slot was free


@dataclass(frozen=True, slots=True)
class Seen:
    """What a decision was made on."""

    situation: Situation
    allowed: int  # what the count may come to, for this class
    reservations: int  # of the key so far: while they stay the same, no more is taken than was read


#: What is written when a call goes out, behind its reservation; when it raises, nothing goes out.
Going: TypeAlias = Callable[[Connection], Awaitable[None]]


async def _nothing_more(_connection: Connection) -> None:
    """Nothing but the call itself."""


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
        async with self._database.connection("reserving a call") as connection:
            granted: Granted | None = None
            while granted is None:  # somebody else was served instead: there is progress
                seen = await self._look(connection, wish, now)
                verdict = decide(seen.situation, seen.allowed, wish.fingerprint)
                if isinstance(verdict, Hold):
                    await self._wait(connection, wish, now)
                if not isinstance(verdict, Go):
                    return verdict
                granted = await self._take(connection, wish, verdict, seen, now)
            try:
                await going(connection)
            except BaseException:
                with suppress(Later):  # it counts as a call that lasted as long as one can
                    await self.give_back(wish, granted, now)
                raise
            return granted

    async def _look(self, connection: Connection, wish: Wish, now: datetime) -> Seen:
        """One look at the key, its use, and the caller's slots, a row each."""
        privileged = is_privileged(wish.sync_class, wish.reason)
        rows = await connection.fetch(
            """
            SELECT coalesce(k.calls_per_hour, p.rate_limit_per_hour, 1000) AS calls_per_hour, k.others_calls,
                k.others_seen_at, k.blocked_until, k.block_reason, k.reservations,
                t.until AS stopped_until, t.reason AS stop_reason, s.slot, s.fingerprint AS holder, s.leased_until,
                (SELECT count(*) FROM calls WHERE provider_id = $1 AND fingerprint = $2 AND counts_until > $3)
                    AS counting,
                -- Race-day calls of the coming hour that are still to be made. What a stretched hour leaves over is for
                -- the slower paces before all: what no plan reckons with has less of it.
                CASE WHEN $4 THEN 0 ELSE coalesce((
                    SELECT max(least(raceday_calls,
                        greatest(ceil($8::float * usable_calls)::int - other_calls,
                            floor($9::float * usable_calls)::int)))
                    FROM key_hours WHERE provider_id = $1 AND fingerprint = $2
                        AND hour BETWEEN $5::timestamptz AND $5::timestamptz + interval '1 hour'
                ) - (SELECT count(*) FROM calls WHERE provider_id = $1 AND fingerprint = $2 AND counts_until > $3
                        AND sync_class = 'raceday'), 0) END AS foreseen,
                -- Another key waits for a slot and has none; there are other keys at all.
                EXISTS (SELECT 1 FROM call_waiters w WHERE caller = $6 AND fingerprint <> $2 AND waits_until > $3
                    AND NOT EXISTS (SELECT 1 FROM call_slots o
                        WHERE o.caller = $6 AND o.fingerprint = w.fingerprint AND o.leased_until > $3)) AS other_waits,
                EXISTS (SELECT 1 FROM provider_keys o JOIN credentials c USING (fingerprint)
                    WHERE o.provider_id = $1 AND o.fingerprint <> $2 AND c.state = 'active') AS others_exist
            FROM provider_keys k JOIN public.providers p USING (provider_id)
            LEFT JOIN provider_stops t USING (provider_id)
            LEFT JOIN call_slots s ON s.caller = $6 AND s.slot < $7
            WHERE k.provider_id = $1 AND k.fingerprint = $2 ORDER BY s.slot
            """,
            wish.provider_id,
            wish.fingerprint,
            now,
            privileged,
            hour_of(now),
            wish.caller,
            self._settings.calls_in_flight,
            1.0 if wish.reason.is_spare else 1 - UNFORESEEN_SHARE,
            RACEDAY_SHARE,
        )
        assert rows, "a sealed credential has its key's row"
        if len(rows) < self._settings.calls_in_flight or rows[0]["slot"] is None:
            await self._make_slots(connection, wish.caller)
            return await self._look(connection, wish, now)
        key = rows[0]
        limit = usable_limit(key["calls_per_hour"], key["others_calls"], key["others_seen_at"], now)
        allowed = allowance(
            limit,
            self._settings.reserve_share,
            self._settings.backfill_share,
            sync_class=wish.sync_class,
            privileged=privileged,
            foreseen=max(0, key["foreseen"]),
        )
        frees_at = None
        if key["counting"] >= allowed:
            frees_at = await self._frees_at(connection, wish, now, allowed)
            if frees_at is not None and limit < key["calls_per_hour"]:
                frees_at = min(frees_at, now + REGROWS)
        stopped = key["stopped_until"] is not None and key["stopped_until"] > now
        situation = Situation(
            now=now,
            limit=limit,
            counting=key["counting"],
            frees_at=frees_at,
            blocked_until=key["stopped_until"] if stopped else key["blocked_until"],
            block_reason=key["stop_reason"] if stopped else key["block_reason"],
            slots=tuple(Slot(row["slot"], row["holder"], row["leased_until"]) for row in rows),
            other_waits=key["other_waits"],
            others_exist=key["others_exist"],
        )
        return Seen(situation, allowed, key["reservations"])

    async def _make_slots(self, connection: Connection, caller: str) -> None:
        await connection.execute(
            "INSERT INTO call_slots (caller, slot, leased_until)"
            " SELECT $1, n, 'epoch' FROM generate_series(0, $2 - 1) AS n ON CONFLICT DO NOTHING",
            caller,
            self._settings.calls_in_flight,
        )

    async def _frees_at(self, connection: Connection, wish: Wish, now: datetime, allowed: int) -> datetime | None:
        """When enough of a key's calls stop counting for one more."""
        found: datetime | None = await connection.fetchval(
            "SELECT counts_until FROM calls WHERE provider_id = $1 AND fingerprint = $2 AND counts_until > $3"
            " ORDER BY counts_until DESC OFFSET $4 LIMIT 1",
            wish.provider_id,
            wish.fingerprint,
            now,
            max(0, allowed - 1),
        )
        return found

    async def _wait(self, connection: Connection, wish: Wish, now: datetime) -> None:
        """Say that a key waits for a slot."""
        await connection.execute(
            "INSERT INTO call_waiters (caller, fingerprint, waits_until) VALUES ($1, $2, $3)"
            " ON CONFLICT (caller, fingerprint) DO UPDATE SET waits_until = $3",
            wish.caller,
            wish.fingerprint,
            now + WAITS,
        )

    async def _take(self, connection: Connection, wish: Wish, go: Go, seen: Seen, now: datetime) -> Granted | None:
        """Take the call if all is as it was seen; None: it is not."""
        call_id: int | None = await connection.fetchval(
            """
            WITH key AS (
                UPDATE provider_keys SET reservations = reservations + 1
                WHERE provider_id = $1 AND fingerprint = $2 AND reservations = $10
                    AND coalesce(blocked_until <= $5, true) RETURNING 1
            ), free AS (
                SELECT slot FROM key CROSS JOIN call_slots s
                WHERE caller = $8 AND slot = $9 AND leased_until <= $5 FOR UPDATE OF s
            ), call AS (
                INSERT INTO calls (provider_id, fingerprint, sync_class, run_id, reserved_at, counts_until)
                SELECT $1, $2, $3, $4, $5, $6 FROM free RETURNING call_id
            ), taken AS (
                UPDATE call_slots SET fingerprint = $2, call_id = call.call_id, leased_until = $7 FROM call
                WHERE caller = $8 AND slot = $9
            ), served AS (
                DELETE FROM call_waiters WHERE caller = $8 AND fingerprint = $2 AND EXISTS (SELECT FROM call)
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
            seen.reservations,
        )
        return None if call_id is None else Granted(call_id, now, go.is_last)

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
                    UPDATE call_slots SET leased_until = coalesce($12::timestamptz, 'epoch')
                    FROM (SELECT count(*) FROM key) AS first
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
                now + RESTS if outcome in GIVEN_UP else None,
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
