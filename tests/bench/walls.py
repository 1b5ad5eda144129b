"""One bad partner among thirteen: whether the other twelve notice."""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from statistics import median, quantiles
from typing import Any

from shared.ops.demo.provider import pretend_provider
from tests.acceptance.house import Hub
from tests.bench.figures import Figure, Target, spread
from tests.bench.hub import first_load, running
from tests.bench.place import Place

WORLD = (
    "--partners", "13", "--events", "120", "--future-events", "60", "--people", "2600", "--future-people", "2000",
    "--largest-event", "200", "--quota", "100000", "--latency", "0.02", "--warm",
)  # fmt: skip
#: Every race is asked for so often, whatever its start; and each phase lasts some of these rounds.
ROUND_SECONDS, PHASE_SECONDS = 8, 32
OFTEN = {f"HUB_INTERVAL_{pace}_SECONDS": str(ROUND_SECONDS) for pace in ("FAR", "NEAR", "RACEDAY", "LONG", "TAIL")}

#: What goes wrong with one partner's key, as the simulator's faults.
TROUBLES: Mapping[str, Mapping[str, Any]] = {
    "answers that take 30 s": {"kind": "slow", "seconds": 30},
    "a refused key": {"kind": "error_body", "code": 6},
    "an exhausted budget": {"kind": "error_body", "code": 14},
    "races whose answers are no known form": {"kind": "html_200", "endpoint": "participants"},
}


async def walls(place: Place) -> list[Figure]:
    """The age of the other partners' races, sampled: without trouble, and with each trouble, in one run."""
    found: dict[str, list[float]] = {}
    async with (
        pretend_provider(*WORLD) as provider,
        place.database_url() as database_url,
        running(provider, database_url, place.folder, settings=OFTEN) as (hub, _),
    ):
        await hub.database.execute("UPDATE public.providers SET rate_limit_per_hour = 100000 WHERE provider_id = 2")
        await first_load(hub)
        key, partner = next(iter(hub.keys.items()))
        await asyncio.sleep(ROUND_SECONDS)
        found["nothing"] = await _ages(hub, partner)
        for name, fault in TROUBLES.items():
            await provider.post("/faults", key=key, **fault)
            found[name] = await _ages(hub, partner)
            await provider.delete("/faults")
            await hub.database.execute("UPDATE provider_keys SET blocked_until = NULL, others_calls = 0")
            place.say(f"walls: {name}: p95 {_p95(found[name]):.1f} s, {_p95(found['nothing']):.1f} s without")
    usual = found.pop("nothing")
    worst = {name: _p95(ages) / _p95(usual) for name, ages in found.items()}
    return [
        Figure(
            "one bad partner of thirteen: age of the others' races, p95, against without",
            max(worst.values()),
            "times as old",
            Target("≤", 1.25),
            f"every race each {ROUND_SECONDS} s; p50 and p95 in seconds: without {_both(usual)}, "
            + ", ".join(f"{name} {_both(ages)}" for name, ages in found.items())
            + f"; {spread(list(worst.values()))}",
        )
    ]


async def _ages(hub: Hub, but: int) -> list[float]:
    """The age of each race of the other partners, four times a second."""
    ages: list[float] = []
    until = time.monotonic() + PHASE_SECONDS
    while time.monotonic() < until:
        rows = await hub.database.fetch(
            "SELECT extract(epoch FROM $2 - last_confirmed_at)::float AS age FROM race_sync"
            " WHERE timing_partner_id <> $1 AND state = 'active' AND last_confirmed_at IS NOT NULL",
            but,
            datetime.now(UTC),
        )
        ages += [row["age"] for row in rows]
        await asyncio.sleep(0.25)
    return ages


def _p95(ages: list[float]) -> float:
    return quantiles(ages, n=20)[-1]


def _both(ages: list[float]) -> str:
    return f"{median(ages):.1f}/{_p95(ages):.1f}"
