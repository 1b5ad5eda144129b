"""What is due by the schedule, and when it is looked at next, as SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.cadences import Cadences
from shared.domain.cadence import Cadence, Pace
from shared.domain.schedule import RaceState
from shared.postgres import Connection
from shared.postgres.schedules import RaceKey, event_times, hour_of, in_hour

#: Rows looked at in one transaction.
PORTION = 200

#: A key ``c`` that is in use, of a partner ``p`` who is.
IN_USE = "c.state IN ('new', 'active') AND coalesce(p.api_access_enabled, true)"


@dataclass(frozen=True, slots=True)
class DueRace:
    """A race to look at, with what the decision needs."""

    key: RaceKey
    credential_id: int
    state: RaceState
    cadence: Cadence  # its own, spread, and stretched where this hour does not fit its key's budget


async def due_races(connection: Connection, now: datetime, limit: int, cadences: Cadences) -> list[DueRace]:
    """Races to look at, locked for this transaction; another scheduler passes over them."""
    rows = await connection.fetch(
        f"""
        SELECT r.provider_id, r.timing_partner_id, r.race_id, r.credential_id, r.last_asked_at, r.last_full_at, r.round,
            h.interval_seconds, h.slowdown, coalesce(m.ask_again, false) AS lacks_somebody
        FROM race_sync r
        JOIN credentials c USING (credential_id)
        JOIN public.timing_partners p ON p.timing_partner_id = r.timing_partner_id
        LEFT JOIN key_hours h ON (h.provider_id, h.fingerprint, h.hour) = (r.provider_id, c.fingerprint, $3)
        LEFT JOIN missed m ON (m.provider_id, m.timing_partner_id, m.race_id)
            = (r.provider_id, r.timing_partner_id, r.race_id)
        WHERE r.state = 'active' AND r.next_due_at <= $1 AND {IN_USE}
        -- What is due at one instant goes mixed: a key alone would be left one of the two calls in flight.
        ORDER BY r.next_due_at, hashtext(r.race_id) LIMIT $2
        FOR UPDATE OF r SKIP LOCKED
        """,  # noqa: S608  # a constant
        now,
        limit,
        hour_of(now),
    )
    if not rows:
        return []
    keys = [RaceKey(row["provider_id"], row["timing_partner_id"], row["race_id"]) for row in rows]
    events = await event_times(connection, keys, now, cadences.wanted)
    due = []
    for key, row in zip(keys, rows, strict=True):
        cadence = in_hour(cadences.of(key.timing_partner_id, key.race_id).jittered(key.place), row)
        wanted = events.get(key, [])
        state = RaceState(
            spans=[each.span(cadence) for each in wanted],
            last_asked_at=row["last_asked_at"],
            last_full_at=row["last_full_at"],
            round=row["round"],
            has_cursor=all(each.cursor_at is not None for each in wanted),
            lacks_somebody=row["lacks_somebody"],
        )
        due.append(DueRace(key, row["credential_id"], state, cadence))
    return due


@dataclass(frozen=True, slots=True)
class Again:
    """When a race is looked at next, and its promise until then; None: it is over."""

    race: DueRace
    at: datetime | None
    pace: Pace | None
    asked: bool  # counts a round


async def look_again(connection: Connection, races: Sequence[Again], now: datetime) -> None:
    """Set what was decided of some races, in one statement."""
    await connection.execute(
        """
        UPDATE race_sync s SET next_due_at = coalesce(d.at, s.next_due_at),
            state = CASE WHEN d.at IS NULL THEN 'over' ELSE s.state END,
            last_asked_at = CASE WHEN d.asked THEN $1 ELSE s.last_asked_at END, round = s.round + d.asked::int,
            pace_since = CASE WHEN s.pace IS DISTINCT FROM d.pace THEN $1 ELSE s.pace_since END, pace = d.pace,
            promised_seconds = d.promised
        FROM unnest($2::int[], $3::int[], $4::text[], $5::timestamptz[], $6::text[], $7::real[], $8::bool[])
            AS d (provider_id, timing_partner_id, race_id, at, pace, promised, asked)
        WHERE (s.provider_id, s.timing_partner_id, s.race_id) = (d.provider_id, d.timing_partner_id, d.race_id)
        """,
        now,
        [each.race.key.provider_id for each in races],
        [each.race.key.timing_partner_id for each in races],
        [each.race.key.race_id for each in races],
        [each.at for each in races],
        [None if each.pace is None else each.pace.value for each in races],
        [None if each.pace is None else each.race.cadence.promised(each.pace).total_seconds() for each in races],
        [each.asked for each in races],
    )


@dataclass(frozen=True, slots=True)
class DueCredential:
    """A key whose list of races is to be looked at."""

    credential_id: int
    provider_id: int
    timing_partner_id: int
    is_new: bool


async def due_credentials(
    connection: Connection, now: datetime, again_at: datetime, provider_ids: list[int]
) -> list[DueCredential]:
    """Keys to discover with; each is put off in the same breath, so two schedulers never both ask.

    A key of a platform that this program does not know waits until one is installed that does.
    """
    rows = await connection.fetch(
        f"""
        WITH due AS (
            SELECT c.credential_id FROM credentials c
            JOIN public.partner_provider_credentials k ON k.partner_provider_credential_id = c.credential_id
            JOIN public.timing_partners p USING (timing_partner_id)
            WHERE c.discover_due_at <= $1 AND {IN_USE} AND k.provider_id = ANY($3)
            FOR UPDATE OF c SKIP LOCKED
        )
        UPDATE credentials c SET discover_due_at = $2 FROM due, public.partner_provider_credentials k
        WHERE c.credential_id = due.credential_id AND k.partner_provider_credential_id = c.credential_id
        RETURNING c.credential_id, k.provider_id, k.timing_partner_id, c.last_discovered_at IS NULL AS is_new
        """,  # noqa: S608  # a constant
        now,
        again_at,
        provider_ids,
    )
    return [DueCredential(**dict(row)) for row in rows]


async def clean_up(connection: Connection, now: datetime, archive_days: float) -> None:
    """Let go of what nobody can need any more."""
    await connection.execute("DELETE FROM calls WHERE counts_until < $1", now - timedelta(hours=2))
    await connection.execute("DELETE FROM key_hours WHERE hour < $1", now - timedelta(days=30))
    await connection.execute("DELETE FROM raw_batches WHERE fetched_at < $1", now - timedelta(days=archive_days))
    await connection.execute("DELETE FROM applied_batches WHERE applied_at < $1", now - timedelta(days=30))
    await connection.execute("DELETE FROM replays WHERE finished_at < $1", now - timedelta(days=30))
