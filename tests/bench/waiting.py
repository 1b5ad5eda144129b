"""From due to asked: 500 races fall due at the same moment, two fetchers, two calls in flight."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shared.ops.demo.provider import pretend_provider
from tests.acceptance.house import Hub
from tests.bench.figures import Figure, Target, middle, spread
from tests.bench.hub import first_load, running, until_quiet
from tests.bench.place import Place

RACES, RACES_QUICK = 500, 100
#: What the provider lets an answer wait, and how many it answers at once: nobody can ask faster.
LATENCY_SECONDS, IN_FLIGHT = 0.05, 2


@dataclass(frozen=True, slots=True)
class Round:
    """When each race's first call was, and what the provider itself took for an answer: seconds."""

    called: list[float]  # after they fell due, in order
    answer: float  # on average, by the provider's own clock

    def late(self, percent: int, answer: float | None = None) -> float:
        """By how much so many of a hundred came later, at the most, than cap and provider make unavoidable."""
        late = sorted(at - number // IN_FLIGHT * (answer or self.answer) for number, at in enumerate(self.called))
        return late[min(len(late) - 1, len(late) * percent // 100)]


async def waiting(place: Place) -> list[Figure]:
    """How much later each race is asked for than cap and provider make unavoidable."""
    races = RACES_QUICK if place.is_quick else RACES
    place.say(f"inventing more than {races} races of few people ...")
    events, people = str(races * 4), str(races * 8)
    words = ("--events", events, "--future-events", events, "--future-people", people, "--people", people)
    rounds: list[Round] = []
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
                rounds.append(await _round(hub, races))
            place.say(f"waiting, round {len(rounds)} of {place.rounds}: p99 {rounds[-1].late(99):.2f} s")
    return [
        Figure(
            "due race to first call, p99, beyond the cap and the provider's own time",
            middle(rounds, lambda each: each.late(99)),
            "s",
            Target("≤", 2),
            f"{len(rounds[0].called)} races due at once, two fetchers, two calls in flight; the provider took"
            f" {1000 * middle(rounds, lambda each: each.answer):.1f} ms an answer, of which it was told to wait"
            f" {1000 * LATENCY_SECONDS:.0f} (beyond these alone"
            f" {middle(rounds, lambda each: each.late(99, LATENCY_SECONDS)):.2f} s);"
            f" p50 {middle(rounds, lambda each: each.late(50)):.2f} s; {spread([each.late(99) for each in rounds])}",
        )
    ]


async def _round(hub: Hub, races: int) -> Round:
    """Let races fall due, and wait for the first call of each."""
    before = await hub.provider.get("/audit")
    due_at = datetime.now(UTC)
    due = await hub.database.fetch(
        "UPDATE race_sync SET next_due_at = $1::timestamptz, last_asked_at = $1::timestamptz - interval '2 days',"
        " round = 6 WHERE race_id IN (SELECT race_id FROM race_sync WHERE state = 'active' LIMIT $2) RETURNING race_id",
        due_at,
        races,
    )
    await hub.database.execute("SELECT pg_notify('hub', 'due')")
    called: list[Any] = []
    async with asyncio.timeout(240):
        while len(called) < len(due):
            await asyncio.sleep(0.2)
            called = await hub.database.fetch(
                "SELECT started_at FROM sync_runs WHERE requested_at >= $1 AND started_at IS NOT NULL ORDER BY 1",
                due_at,
            )
    after = await hub.provider.get("/audit")
    return Round(
        [(row["started_at"] - due_at).total_seconds() for row in called],
        (after["busy_seconds"] - before["busy_seconds"]) / (after["calls"] - before["calls"]),
    )
