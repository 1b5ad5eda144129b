"""The scheduler's tick over a hundred thousand races: a second's worth of them due, each asked for."""

import time
from datetime import timedelta
from statistics import median

from scheduler.foreseeing import plan
from scheduler.handlers import LEASE_GRACE, tick
from scheduler.looking import look
from scheduler.settings import SchedulerSettings
from shared.postgres import Database
from tests.bench.figures import Figure, Target, spread
from tests.bench.place import Place
from tests.builders import NOON, a_partner
from tests.fakes import ManualClock, a_house

RACES, RACES_QUICK = 100_000, 20_000
KEYS = 200
TICKS = 30


async def scheduler(place: Place) -> list[Figure]:
    """Half a minute of an hour over which all of them fall due."""
    races = RACES_QUICK if place.is_quick else RACES
    settings = SchedulerSettings()
    async with place.database_url() as url:
        database = await Database.connect(url, size=4, name="bench")
        try:
            place.say(f"scheduler: {races:,} races")
            await _fill(database, races)
            clock = ManualClock()
            house = a_house(database, clock)
            took, asked = [], 0
            for _ in range(TICKS):
                clock.pass_(1)
                began = time.perf_counter()
                async with database.connection() as connection:
                    seen = await look(connection, clock.now(), unheard=timedelta(minutes=10), grace=LEASE_GRACE)
                await tick(house, settings, seen)
                took.append((time.perf_counter() - began) * 1000)
            asked = await database.fetchval("SELECT count(*) FROM sync_runs")
            began = time.perf_counter()
            await plan(house, settings, clock.now())
            planned = time.perf_counter() - began
        finally:
            await database.close()
    worst = sorted(took)[round(0.95 * TICKS) - 1]
    detail = f"{asked / TICKS:.0f} of {races:,} asked for a tick; 95 % within {worst:.0f} ms; {spread(took[:5])}"
    return [
        Figure("scheduler, a tick over 100,000 races", median(took), "ms", Target("≤", 200), detail),
        Figure(
            "scheduler, 14 days of 100,000 races foreseen",
            planned,
            "s",
            None,
            f"all of {races:,} races on {KEYS} keys, in the background",
        ),
    ]


async def _fill(database: Database, races: int) -> None:
    """Races far from their start, asked for once each, due evenly over the hour to come."""
    tenants = [await a_partner(database) for _ in range(KEYS)]
    await database.execute("UPDATE credentials SET discover_due_at = $1", NOON + timedelta(days=1))
    partners = [each.timing_partner_id for each in tenants]
    async with database.transaction("filling") as connection:
        for statement in (
            """
            INSERT INTO races (provider_id, timing_partner_id, race_id, timezone, fetched_at, first_seen_at, changed_at)
            SELECT 2, ($1::int[])[1 + n % $2], n::text, 'America/Denver', $3, $3, $3 FROM generate_series(1, $4) AS n
            """,
            """
            INSERT INTO events (provider_id, timing_partner_id, event_id, race_id, starts_at, is_volunteer,
                sub_event_ids, fetched_at, first_seen_at, changed_at, cursor_at)
            SELECT 2, ($1::int[])[1 + n % $2], (n * 10 + e)::text, n::text, $3::timestamptz + interval '1 day'
                * (2 + n % 90) + interval '13 hours', false, '{}', $3, $3, $3, $3
            FROM generate_series(1, $4) AS n, generate_series(1, 3) AS e
            """,
        ):
            await connection.execute(statement, partners, KEYS, NOON, races)
        await connection.execute(
            """
            INSERT INTO race_sync (provider_id, timing_partner_id, race_id, credential_id, next_due_at, last_asked_at,
                last_full_at, last_confirmed_at, round)
            SELECT 2, ($1::int[])[1 + n % $2], n::text, ($5::int[])[1 + n % $2],
                $3::timestamptz + n * interval '1 hour' / $4, $3::timestamptz - interval '1 hour', $3, $3, 1
            FROM generate_series(1, $4) AS n
            """,
            partners,
            KEYS,
            NOON,
            races,
            [each.credential_id for each in tenants],
        )
    for table in ("races", "events", "race_sync"):
        await database.execute(f"ANALYZE {table}")
