"""When races start, and by which cadence they are followed: what the schedule, its forecast and the status read."""

import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from shared.cadences import Cadences, CadenceValues
from shared.domain.cadence import Cadence
from shared.domain.schedule import Span, span_of
from shared.postgres.pool import Connection


@dataclass(frozen=True, slots=True)
class RaceKey:
    """A partner's race at a provider."""

    provider_id: int
    timing_partner_id: int
    race_id: str

    @property
    def place(self) -> float:
        """A number from 0 to 1, fixed for the race: where among its like it stands in an interval."""
        return zlib.crc32(f"{self.timing_partner_id}:{self.race_id}".encode()) / 2**32


@dataclass(frozen=True, slots=True)
class EventTime:
    """What of an event decides when its race is asked for."""

    starts_at: datetime | None
    ends_at: datetime | None
    closes_at: datetime | None
    event_type: str | None
    timezone: str | None
    cursor_at: datetime | None

    def span(self, cadence: Cadence) -> Span:
        """As the decisions know it."""
        zone = _zone(self.timezone) if self.timezone else None
        return span_of(self.starts_at, self.ends_at, self.closes_at, self.event_type, zone, cadence)


def hour_of(moment: datetime) -> datetime:
    """The hour that an instant stands in."""
    return moment.replace(minute=0, second=0, microsecond=0)


def in_hour(cadence: Cadence, row: Any) -> Cadence:
    """A cadence as its key's hour lets it be, by what a row says of that; nulls: nobody planned it."""
    least = None if row["interval_seconds"] is None else timedelta(seconds=row["interval_seconds"])
    return cadence.stretched(least, row["slowdown"] or 1.0)


@lru_cache(maxsize=512)
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


async def event_times(
    connection: Connection, races: Sequence[RaceKey] | None, now: datetime, wanted: timedelta
) -> dict[RaceKey, list[EventTime]]:
    """The times of the listed events that ended no longer ago than ``wanted``, of some races or of all."""
    some = "unnest($3::int[], $4::int[], $5::text[]) AS k (provider_id, timing_partner_id, race_id)"
    source = "race_sync k" if races is None else some
    only = "AND k.state = 'active'" if races is None else ""
    keys: list[list[object]] = []
    if races is not None:
        keys = [
            [each.provider_id for each in races],
            [each.timing_partner_id for each in races],
            [each.race_id for each in races],
        ]
    rows = await connection.fetch(
        f"""
        SELECT e.provider_id, e.timing_partner_id, e.race_id, e.starts_at, e.ends_at, e.registration_closes_at,
            e.event_type, r.timezone, e.cursor_at
        FROM {source} JOIN events e USING (provider_id, timing_partner_id, race_id)
        LEFT JOIN races r USING (provider_id, timing_partner_id, race_id)
        WHERE e.missing_at IS NULL AND coalesce(e.last_moment_at, $1) >= $1::timestamptz - $2::interval {only}
        """,  # noqa: S608  # two constants
        now,
        wanted,
        *keys,
    )
    found: dict[RaceKey, list[EventTime]] = defaultdict(list)
    for row in rows:
        key = RaceKey(row["provider_id"], row["timing_partner_id"], row["race_id"])
        found[key].append(EventTime(*list(row.values())[3:]))
    return found


async def load_cadences(connection: Connection, base: CadenceValues) -> Cadences:
    """Everybody's cadence: the settings given, and the table's over them."""
    rows = await connection.fetch("SELECT timing_partner_id, race_id, settings FROM cadences")
    layers = {(row["timing_partner_id"], row["race_id"]): orjson.loads(row["settings"]) for row in rows}
    return Cadences(base, layers)
