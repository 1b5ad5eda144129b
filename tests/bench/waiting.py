"""From due to asked: 500 races fall due at the same moment, two fetchers, two calls in flight."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from shared.ops.demo.provider import pretend_provider
from shared.postgres import Database
from tests.bench.figures import Figure, Target, middle, spread
from tests.bench.hub import first_load, running, until_quiet
from tests.bench.place import Place

RACES, RACES_QUICK = 500, 100
#: What the provider takes for an answer, and how many it answers at once: nobody can ask faster.
LATENCY_SECONDS, IN_FLIGHT = 0.05, 2


async def waiting(place: Place) -> list[Figure]:
    """How much later each race is asked for than cap and provider make unavoidable."""
    races = RACES_QUICK if place.is_quick else RACES
    place.say(f"inventing more than {races} races of few people ...")
    events, people = str(races * 4), str(races * 8)
    words = ("--events", events, "--future-events", events, "--future-people", people, "--people", people)
    rounds: list[list[float]] = []
    async with pretend_provider(*words, "--largest-event", "50", "--warm") as provider:
        for _ in range(place.rounds):
            async with (
                place.amqp_url() as amqp_url,
                place.database_url() as database_url,
                running(provider, database_url, place.folder, amqp_url, fetchers=2) as (hub, processes),
            ):
                await provider.post("/config", latency_seconds=0)
                await first_load(hub)
                await until_quiet(hub.database, processes)
                await provider.post("/config", forget_quota=True, latency_seconds=LATENCY_SECONDS)
                rounds.append(await _late(hub.database, races))
            place.say(f"waiting, round {len(rounds)} of {place.rounds}: p99 {_p99(rounds[-1]):.2f} s")
    return [
        Figure(
            "due race to first call, p99, beyond the cap and the provider's own time",
            middle(rounds, _p99),
            "s",
            Target("≤", 2),
            f"{len(rounds[0])} races due at once, two fetchers, two calls in flight, {1000 * LATENCY_SECONDS:.0f} ms an"
            f" answer; p50 {middle(rounds, lambda each: each[len(each) // 2]):.2f} s;"
            f" {spread([_p99(each) for each in rounds])}",
        )
    ]


async def _late(database: Database, races: int) -> list[float]:
    """Let races fall due, and wait for the first call of each: by how many seconds they came late, in order."""
    due_at = datetime.now(UTC)
    due = await database.fetch(
        "UPDATE race_sync SET next_due_at = $1::timestamptz, last_asked_at = $1::timestamptz - interval '2 days',"
        " round = 6 WHERE race_id IN (SELECT race_id FROM race_sync WHERE state = 'active' LIMIT $2) RETURNING race_id",
        due_at,
        races,
    )
    await database.execute("SELECT pg_notify('hub', 'due')")
    called: list[Any] = []
    async with asyncio.timeout(240):
        while len(called) < len(due):
            await asyncio.sleep(0.2)
            called = await database.fetch(
                "SELECT started_at FROM sync_runs WHERE requested_at >= $1 AND started_at IS NOT NULL ORDER BY 1",
                due_at,
            )
    return sorted(
        (row["started_at"] - due_at).total_seconds() - number // IN_FLIGHT * LATENCY_SECONDS
        for number, row in enumerate(called)
    )


def _p99(ordered: list[float]) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
