"""One way to ask: a run's row and its message, in one transaction, at most one outstanding a subject.

Scheduler, bib-watcher and the operator's command all come through here; what they ask differs in values only.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from shared.contracts import SyncRequest, encode
from shared.domain.asking import Strength, Verdict, judge
from shared.domain.cadence import WANTED
from shared.domain.run import Kind, Mode, Reason, State, SyncClass
from shared.postgres.outbox import tell
from shared.postgres.pool import Connection, notify
from shared.postgres.runs import Ending, finish_run


@dataclass(frozen=True, slots=True)
class Ask:
    """What somebody wants synced. ``event_ids`` empty means every wanted event of the race."""

    run_id: UUID
    kind: Kind
    provider: str
    provider_id: int
    timing_partner_id: int
    credential_id: int
    source: str
    reason: Reason
    sync_class: SyncClass = SyncClass.ROUTINE
    mode: Mode = Mode.INCREMENTAL
    removals: bool = False
    race_id: str | None = None
    event_ids: tuple[str, ...] = ()
    bib: str | None = None
    deadline_seconds: int = 1800
    spacing: timedelta = timedelta(0)  # not begun sooner after the last run for the same reason began
    needs_fresh: bool = False  # only a run whose first call comes after this ask satisfies it
    tail: timedelta = WANTED  # how long after its last moment an event is still wanted

    @property
    def subject(self) -> str:
        """What at most one outstanding run may be about."""
        where = f"{self.provider_id}:{self.timing_partner_id}"
        word: str
        what: object
        match self.kind:
            case Kind.RACE:  # a backfill's events are others than those that the fresh asks for
                word, what = "backfill" if self.reason is Reason.BACKFILL else "race", self.race_id
            case Kind.BIB:
                word, what = "bib", f"{self.race_id}:{self.bib}"
            case Kind.HISTORY if self.race_id is not None:
                word, what = "history", self.race_id
            case Kind.DISCOVER | Kind.VERIFY | Kind.HISTORY:
                word, what = self.kind, f"key {self.credential_id}" if self.kind is Kind.HISTORY else self.credential_id
            case Kind.REPLAY:
                return f"replay:{self.run_id}"
        return f"{word}:{where}:{what}"


#: A full pass asks for the ranges of bibs too, a call more, of what starts so soon: twice a race, on its eve and hours
#: before its gun.
RANGES_WITHIN = timedelta(hours=25)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A race's events that are worth asking for, and where the next incremental sync of all of them starts."""

    event_ids: tuple[str, ...]
    cursor: datetime | None  # the smallest; None when one of them has none
    removals_cursor: datetime | None  # the same for removed people, of the events known before
    starting_editions: tuple[str, ...] = ()  # those with an event that starts within a day


async def wanted_events(
    connection: Connection,
    provider_id: int,
    timing_partner_id: int,
    race_id: str,
    now: datetime,
    only: tuple[str, ...] = (),
    tail: timedelta = WANTED,
) -> Wanted:
    """The race's events still on the provider's list whose last moment is not longer ago than ``tail``."""
    rows = await connection.fetch(
        """
        SELECT event_id, cursor_at, removals_cursor_at,
            CASE WHEN starts_at BETWEEN $4 AND $4::timestamptz + $7::interval THEN edition_id END AS starting_edition
        FROM events WHERE provider_id = $1 AND timing_partner_id = $2 AND race_id = $3 AND missing_at IS NULL
          AND coalesce(last_moment_at, $4) >= $4::timestamptz - $6::interval
          AND (cardinality($5::text[]) = 0 OR event_id = ANY($5))
        ORDER BY length(event_id), event_id
        """,
        provider_id,
        timing_partner_id,
        race_id,
        now,
        list(only),
        tail,
        RANGES_WITHIN,
    )
    cursors = [row["cursor_at"] for row in rows]
    known = [cursor for cursor in cursors if cursor is not None]
    return Wanted(
        event_ids=tuple(row["event_id"] for row in rows),
        cursor=min(known) if known and len(known) == len(cursors) else None,
        removals_cursor=min(
            (row["removals_cursor_at"] for row in rows if row["removals_cursor_at"] is not None), default=None
        ),
        starting_editions=tuple(sorted({row["starting_edition"] for row in rows} - {None})),
    )


async def ask(connection: Connection, wish: Ask, now: datetime) -> UUID | None:
    """Ask, and return the run that will satisfy the ask: a new one, or the one that waits already.

    None when there is nothing to ask for (a race without wanted events). The caller's transaction must be open; the
    subject's row is locked first, so that two askers cannot both insert.
    """
    if wish.race_id is not None:
        await connection.execute(
            "SELECT 1 FROM race_sync WHERE provider_id = $1 AND timing_partner_id = $2 AND race_id = $3 FOR UPDATE",
            wish.provider_id,
            wish.timing_partner_id,
            wish.race_id,
        )
    else:
        await connection.execute("SELECT 1 FROM credentials WHERE credential_id = $1 FOR UPDATE", wish.credential_id)
    rows = await connection.fetch(
        "SELECT run_id, state, mode, sync_class, reason, removals, event_ids, started_at, deadline_seconds"
        " FROM sync_runs WHERE subject = $1 AND state IN ('queued', 'requested', 'running', 'fetched')"
        " ORDER BY state = 'queued' DESC",
        wish.subject,
    )
    found: Wanted | None = None
    if wish.kind in {Kind.RACE, Kind.BIB}:
        assert wish.race_id is not None
        found = await wanted_events(
            connection, wish.provider_id, wish.timing_partner_id, wish.race_id, now, wish.event_ids, wish.tail
        )
        if not found.event_ids:
            return None
        mode = Mode.FULL if found.cursor is None and wish.kind is Kind.RACE else wish.mode
        wish = replace(wish, event_ids=found.event_ids, mode=mode)
    other = rows[0] if rows else None  # the queued one first: it is what a new ask can still join
    strength = Strength(wish.mode, wish.sync_class, wish.removals, wish.reason.is_spare)
    standing = strength_of(other) if other else None
    state = State(other["state"]) if other else None
    has_begun = other is not None and other["started_at"] is not None
    verdict = judge(strength, standing, state, needs_fresh=wish.needs_fresh, has_begun=has_begun)
    if other is not None and verdict is Verdict.JOIN and not set(wish.event_ids) <= set(other["event_ids"]):
        verdict = Verdict.REPLACE if state in {State.QUEUED, State.REQUESTED} else Verdict.QUEUE
    if verdict is Verdict.INSERT:
        not_before = await _not_before(connection, wish, now)
        state = State.REQUESTED if not_before is None else State.QUEUED
        return await _insert(connection, wish, state, now, not_before=not_before, found=found)
    assert other is not None
    assert standing is not None
    if verdict is Verdict.JOIN:
        if wish.reason is Reason.OPERATOR and state is State.QUEUED:
            # Put off until calls become free, when there were fewer of them: a person may know that there are more.
            sooner = await _not_before(connection, wish, now)
            await connection.execute("UPDATE sync_runs SET not_before = $2 WHERE run_id = $1", other["run_id"], sooner)
            await notify(connection, "asked")
        return UUID(str(other["run_id"]))
    if verdict is Verdict.QUEUE:
        return await _insert(connection, wish, State.QUEUED, now)
    joined = standing.joined(strength)
    events = tuple(dict.fromkeys((*other["event_ids"], *wish.event_ids)))
    wish = replace(
        wish,
        mode=joined.mode,
        sync_class=joined.sync_class,
        removals=joined.removals,
        event_ids=events,
        deadline_seconds=max(wish.deadline_seconds, other["deadline_seconds"]),
        reason=wish.reason.joined(Reason(other["reason"])),
    )
    await connection.execute("UPDATE sync_runs SET replaced_by = $2 WHERE run_id = $1", other["run_id"], wish.run_id)
    await finish_run(
        connection,
        UUID(str(other["run_id"])),
        Ending(State.REPLACED),
        provider=wish.provider,
        source=wish.source,
        message_id=uuid5(UUID(str(other["run_id"])), State.REPLACED),
        now=now,
    )
    behind = state is State.QUEUED and len(rows) > 1
    return await _insert(connection, wish, State.QUEUED if behind else State.REQUESTED, now)


def strength_of(row: Any) -> Strength:
    """What of a run's row decides whether it satisfies an ask."""
    return Strength(Mode(row["mode"]), SyncClass(row["sync_class"]), row["removals"], Reason(row["reason"]).is_spare)


async def _not_before(connection: Connection, wish: Ask, now: datetime) -> datetime | None:
    """When a run may begin that was asked for again and again; None: at once."""
    if not wish.spacing:
        return None
    last: datetime | None = await connection.fetchval(
        "SELECT max(started_at) FROM sync_runs WHERE timing_partner_id = $1 AND race_id = $2 AND subject = $3"
        " AND reason = $4 AND requested_at > $5::timestamptz - interval '1 hour'",
        wish.timing_partner_id,
        wish.race_id,
        wish.subject,
        wish.reason,
        now,
    )
    return None if last is None or last + wish.spacing <= now else last + wish.spacing


async def _insert(
    connection: Connection,
    wish: Ask,
    state: State,
    now: datetime,
    *,
    not_before: datetime | None = None,
    found: Wanted | None = None,
) -> UUID:
    """Insert a run, and its message if it is to go; ``found``: its events as they were just read."""
    row, going = _row(wish), found if state is State.REQUESTED else None
    await connection.execute(
        """
        INSERT INTO sync_runs (run_id, subject, kind, provider_id, timing_partner_id, credential_id, race_id, event_ids,
            mode, removals, bib, sync_class, reason, state, requested_at, deadline_seconds, not_before, sent_at,
            modified_after, removed_after)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
        """,
        wish.run_id,
        wish.subject,
        wish.kind,
        wish.provider_id,
        wish.timing_partner_id,
        wish.credential_id,
        wish.race_id,
        list(wish.event_ids),
        wish.mode,
        wish.removals,
        wish.bib,
        wish.sync_class,
        wish.reason,
        state,
        now,
        wish.deadline_seconds,
        not_before,
        None if going is None else now,
        *((None, None) if going is None else _cursors(row, going)),
    )
    if going is not None:
        await _send(connection, wish.run_id, row, going, provider=wish.provider, source=wish.source, now=now)
    elif state is State.REQUESTED:
        await send_request(connection, wish.run_id, provider=wish.provider, source=wish.source, now=now)
    else:
        await notify(connection, "asked")
    return wish.run_id


async def send_request(connection: Connection, run_id: UUID, *, provider: str, source: str, now: datetime) -> None:
    """Put a requested run's message into the outbox, with its race's cursor as it stands now."""
    row = await connection.fetchrow("SELECT * FROM sync_runs WHERE run_id = $1", run_id)
    assert row is not None
    found = Wanted(tuple(row["event_ids"]), None, None)
    if row["kind"] == Kind.RACE:
        found = await wanted_events(
            connection,
            row["provider_id"],
            row["timing_partner_id"],
            row["race_id"],
            now,
            tuple(row["event_ids"]),
            timedelta(days=36500),  # they were wanted when they were asked for
        )
        if not found.event_ids:
            # Every event left the list, or is over, since it was asked for: the provider would refuse the request.
            ending = Ending(State.FAILED, "over", "none of its events is on the list any more")
            await finish_run(
                connection,
                run_id,
                ending,
                provider=provider,
                source=source,
                message_id=uuid5(run_id, State.FAILED),
                now=now,
            )
            return
    await connection.execute(
        "UPDATE sync_runs SET modified_after = $2, removed_after = $3, event_ids = $4, sent_at = $5 WHERE run_id = $1",
        run_id,
        *_cursors(row, found),
        list(found.event_ids),
        now,
    )
    await _send(connection, run_id, row, found, provider=provider, source=source, now=now)


def _cursors(row: Any, found: Wanted) -> tuple[datetime | None, datetime | None]:
    """From where on a run asks: for people, and for removed ones."""
    is_race = row["kind"] == Kind.RACE
    return (
        found.cursor if is_race and row["mode"] == Mode.INCREMENTAL else None,
        found.removals_cursor if is_race and row["removals"] else None,
    )


def _row(wish: Ask) -> dict[str, Any]:
    """A run's row as it has just been inserted, as far as its message needs it."""
    names = ("kind", "timing_partner_id", "credential_id", "sync_class", "reason", "mode", "removals", "race_id", "bib")
    return {**{name: getattr(wish, name) for name in names}, "deadline_seconds": wish.deadline_seconds}


async def _send(
    connection: Connection, run_id: UUID, row: Any, found: Wanted, *, provider: str, source: str, now: datetime
) -> None:
    modified_after, removed_after = _cursors(row, found)
    full_pass = row["kind"] == Kind.RACE and row["mode"] == Mode.FULL
    body = SyncRequest(
        run_id=run_id,
        kind=Kind(row["kind"]),
        provider=provider,
        timing_partner_id=row["timing_partner_id"],
        credential_id=row["credential_id"],
        sync_class=SyncClass(row["sync_class"]),
        reason=Reason(row["reason"]),
        mode=Mode(row["mode"]),
        removals=row["removals"],
        race_id=row["race_id"],
        event_ids=found.event_ids,
        edition_ids=found.starting_editions if full_pass else (),
        modified_after=modified_after,
        removed_after=removed_after,
        bib=row["bib"],
        deadline_seconds=row["deadline_seconds"],
    )
    # The run's id is the request's id too: a request sent again is the same message.
    message = encode(body, id=run_id, occurred_at=now, source=source, correlation_id=run_id)
    await tell(connection, message, now=now)
