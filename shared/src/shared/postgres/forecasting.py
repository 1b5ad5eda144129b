"""What a forecast reads: each key with its limit and its races. And what it announces: the hours that do not fit."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import ceil
from typing import Any

from shared.cadences import Cadences, PlanSettings
from shared.domain.budget import HOUR, usable_limit
from shared.domain.forecast import Hour, Load, forecast
from shared.postgres.pool import Connection
from shared.postgres.schedules import EventTime, RaceKey, event_times, hour_of, load_cadences
from shared.providers.registry import IDS, by_id

#: How far ahead is looked.
HOURS = 14 * 24


@dataclass(frozen=True, slots=True)
class KeyBudget:
    """A key, and what it has before it."""

    provider_id: int
    fingerprint: str
    limit: int
    counting: int  # calls that count now
    others_calls: int  # somebody else's with the same key,
    others_seen_at: datetime | None  # when they were last seen
    credentials: int  # lists of races to look at
    partners: tuple[int, ...]
    races: Mapping[RaceKey, Load] = field(default_factory=dict)

    def usable(self, at: datetime, reserve_share: float) -> int:
        """Calls of an hour that the schedule may use: neither the reserve nor what somebody else uses."""
        ours = usable_limit(self.limit, self.others_calls, self.others_seen_at, at)
        return max(1, ours - int(self.limit * reserve_share))


async def load_budgets(connection: Connection, settings: PlanSettings, now: datetime) -> list[KeyBudget]:
    """Every key of a platform that we know, with its races as the schedule follows them."""
    cadences = await load_cadences(connection, settings)
    keys = await connection.fetch(
        """
        SELECT k.provider_id, k.fingerprint, coalesce(k.calls_per_hour, p.rate_limit_per_hour, 1000) AS calls_per_hour,
            k.others_calls, k.others_seen_at,
            (SELECT count(*) FROM calls c WHERE (c.provider_id, c.fingerprint) = (k.provider_id, k.fingerprint)
                AND c.counts_until > $1) AS counting,
            coalesce(array_agg(o.timing_partner_id) FILTER (WHERE c.state IN ('new', 'active')
                AND coalesce(t.api_access_enabled, true)), '{}') AS partners
        FROM provider_keys k JOIN public.providers p USING (provider_id)
        LEFT JOIN credentials c USING (fingerprint)
        LEFT JOIN public.partner_provider_credentials o ON o.partner_provider_credential_id = c.credential_id
        LEFT JOIN public.timing_partners t USING (timing_partner_id)
        WHERE k.provider_id = ANY($2) AND (o.provider_id IS NULL OR o.provider_id = k.provider_id)
        GROUP BY k.provider_id, k.fingerprint, p.rate_limit_per_hour ORDER BY k.fingerprint
        """,
        now,
        list(IDS),
    )
    races = await _races(connection, cadences, now)
    return [
        KeyBudget(
            provider_id=row["provider_id"],
            fingerprint=row["fingerprint"],
            limit=row["calls_per_hour"],
            counting=row["counting"],
            others_calls=row["others_calls"],
            others_seen_at=row["others_seen_at"],
            credentials=len(row["partners"]),
            partners=tuple(sorted(set(row["partners"]))),
            races=races.get((row["provider_id"], row["fingerprint"]), {}),
        )
        for row in keys
    ]


async def _races(
    connection: Connection, cadences: Cadences, now: datetime
) -> dict[tuple[int, str], dict[RaceKey, Load]]:
    times = await event_times(connection, None, now, cadences.wanted)
    rows = await connection.fetch(
        """
        WITH crowds AS (
            SELECT provider_id, timing_partner_id, race_id, count(*) AS people FROM participants
            WHERE removed_at IS NULL GROUP BY 1, 2, 3
        )
        SELECT s.provider_id, s.timing_partner_id, s.race_id, c.fingerprint, coalesce(w.people, 0) AS people
        FROM race_sync s JOIN credentials c USING (credential_id)
        JOIN public.timing_partners p ON p.timing_partner_id = s.timing_partner_id
        LEFT JOIN crowds w ON (w.provider_id, w.timing_partner_id, w.race_id)
            = (s.provider_id, s.timing_partner_id, s.race_id)
        WHERE s.state = 'active' AND c.state IN ('new', 'active') AND coalesce(p.api_access_enabled, true)
          AND s.provider_id = ANY($1)
        """,
        list(IDS),
    )
    return await asyncio.to_thread(_loads, rows, times, cadences)  # a hundred thousand of them take seconds


def _loads(
    rows: Sequence[Any], times: Mapping[RaceKey, Sequence[EventTime]], cadences: Cadences
) -> dict[tuple[int, str], dict[RaceKey, Load]]:
    found: dict[tuple[int, str], dict[RaceKey, Load]] = {}
    for row in rows:
        key = RaceKey(row["provider_id"], row["timing_partner_id"], row["race_id"])
        if key not in times:
            continue
        cadence = cadences.of(key.timing_partner_id, key.race_id).jittered(key.place)
        spans = [each.span(cadence) for each in times[key]]
        pages = ceil(row["people"] / by_id(key.provider_id).capabilities.page_size) + 1
        found.setdefault((key.provider_id, row["fingerprint"]), {})[key] = Load(spans, cadence, pages)
    return found


def foresee(key: KeyBudget, settings: PlanSettings, now: datetime, hours: int = HOURS) -> list[Hour]:
    """The hours to come of a key, the present one first."""
    begins = hour_of(now)
    usable = [key.usable(max(now, begins + number * HOUR), settings.reserve_share) for number in range(hours)]
    steady = key.credentials * HOUR.total_seconds() / settings.discovery_seconds
    return forecast(key.races.values(), begins, hours, usable, steady)


async def announce(
    connection: Connection, planned: Sequence[tuple[KeyBudget, Sequence[Hour]]], now: datetime
) -> list[tuple[KeyBudget, Hour]]:
    """Keep the hours with race-day work or that do not fit; those that newly do not, or worse by a tenth, are returned.

    An hour that begins to fit again is kept so, too. What is past stays, so that a race can be judged by what it was
    promised.
    """
    rows = sorted(
        (
            (key.provider_id, key.fingerprint, hour)
            for key, hours in planned
            for hour in hours
            if hour.raceday_races or not hour.fits
        ),
        key=lambda each: (each[0], each[1], each[2].begins_at),
    )
    changed = await connection.fetch(
        """
        WITH planned AS (
            SELECT * FROM unnest($2::int[], $3::text[], $4::timestamptz[], $5::int[], $6::int[], $7::int[], $8::int[],
                $9::int[], $10::real[])
                AS n (provider_id, fingerprint, hour, races, raceday, other, usable, seconds, slowdown)
        ), written AS (
            INSERT INTO key_hours AS k (provider_id, fingerprint, hour, raceday_races, raceday_calls, other_calls,
                usable_calls, interval_seconds, slowdown, announced_at, planned_at)
            SELECT provider_id, fingerprint, hour, races, raceday, other, usable, seconds, slowdown,
                CASE WHEN seconds IS NOT NULL OR slowdown > 1 THEN $1::timestamptz END, $1 FROM planned
            ON CONFLICT (provider_id, fingerprint, hour) DO UPDATE SET raceday_races = excluded.raceday_races,
                raceday_calls = excluded.raceday_calls, other_calls = excluded.other_calls,
                usable_calls = excluded.usable_calls, interval_seconds = excluded.interval_seconds,
                slowdown = excluded.slowdown,
                announced_at = CASE WHEN excluded.announced_at IS NOT NULL AND excluded.slowdown <= k.slowdown * 1.1
                    AND coalesce(excluded.interval_seconds, 0) <= coalesce(k.interval_seconds, 0) * 1.1
                    THEN coalesce(k.announced_at, $1) ELSE excluded.announced_at END,
                planned_at = $1
            RETURNING provider_id, fingerprint, hour, announced_at
        )
        SELECT provider_id, fingerprint, hour FROM written WHERE announced_at = $1
        """,
        now,
        [each[0] for each in rows],
        [each[1] for each in rows],
        [hour.begins_at for _, _, hour in rows],
        [hour.raceday_races for _, _, hour in rows],
        [ceil(hour.raceday_calls) for _, _, hour in rows],
        [ceil(hour.other_calls) for _, _, hour in rows],
        [hour.usable for _, _, hour in rows],
        [None if hour.interval is None else int(hour.interval.total_seconds()) for _, _, hour in rows],
        [hour.slowdown for _, _, hour in rows],
    )
    await connection.execute("DELETE FROM key_hours WHERE hour >= $1 AND planned_at < $2", hour_of(now), now)
    new = {(row["provider_id"], row["fingerprint"], row["hour"]) for row in changed}
    return [
        (key, hour)
        for key, hours in planned
        for hour in hours
        if (key.provider_id, key.fingerprint, hour.begins_at) in new
    ]


def moved(keys: Sequence[KeyBudget], race_id: str, fingerprint: str) -> list[KeyBudget]:
    """The same world with a race's calls made with another key."""
    taken = {key: load for each in keys for key, load in each.races.items() if key.race_id == race_id}
    return [
        replace(each, races={
            **{key: load for key, load in each.races.items() if key not in taken},
            **(taken if each.fingerprint == fingerprint else {}),
        })
        for each in keys
    ]  # fmt: skip
