"""From publish to handler, when nothing else is going on."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from statistics import quantiles
from uuid import uuid4

from shared.bus.inprocess import InProcessBus
from shared.bus.port import Bus, Delivery, Message
from shared.bus.topology import fetch_queues
from shared.clock import SystemClock
from shared.contracts import SyncRequest, encode
from shared.domain.run import Kind
from shared.providers.registry import PROVIDERS
from tests.bench.figures import Figure, Target, middle, spread
from tests.bench.place import Place

PROVIDER = next(iter(PROVIDERS))
MESSAGES, MESSAGES_QUICK = 500, 100
WARM_UP = 20


@dataclass(frozen=True, slots=True)
class Delays:
    """Milliseconds."""

    p50: float
    p99: float


async def messages(place: Place) -> list[Figure]:
    """Both buses, one message at a time."""
    count = MESSAGES_QUICK if place.is_quick else MESSAGES
    figures = []
    here, there = [], []
    for _ in range(place.rounds):
        bus = InProcessBus(SystemClock(), Random(88), providers=tuple(PROVIDERS))
        here.append(await _delays(bus, count))
        place.say(f"messages within the process: p50 {here[-1].p50:.2f} ms, p99 {here[-1].p99:.2f} ms")
    for _ in range(place.rounds):
        from shared.amqp.bus import AmqpBus

        async with place.amqp_url() as url:
            rabbit = await AmqpBus.connect(url, SystemClock(), tuple(PROVIDERS), Random(88))
            there.append(await _delays(rabbit, count))
        place.say(f"messages over RabbitMQ: p50 {there[-1].p50:.2f} ms, p99 {there[-1].p99:.2f} ms")
    for name, rounds, p50, p99 in (("in-process", here, 1, 5), ("RabbitMQ", there, 5, 25)):
        figures += _figures(name, rounds, count, p50, p99)
    return figures


async def _delays(bus: Bus, count: int) -> Delays:
    """Publish, wait until it was handled, rest a little, and again."""
    handled = asyncio.Event()
    arrived = 0.0

    async def handle(_delivery: Delivery) -> None:
        nonlocal arrived
        arrived = time.perf_counter()
        handled.set()

    await bus.consume(fetch_queues(PROVIDER), handle, concurrency=2)
    taken = []
    for _ in range(count + WARM_UP):
        message = _message()
        sent = time.perf_counter()
        await bus.publish([message])
        await asyncio.wait_for(handled.wait(), 30)
        handled.clear()
        taken.append(1000 * (arrived - sent))
        await asyncio.sleep(0.002)
    await bus.close()
    hundredths = quantiles(taken[WARM_UP:], n=100)
    return Delays(hundredths[49], hundredths[98])


def _message() -> Message:
    body = SyncRequest(
        run_id=uuid4(), kind=Kind.RACE, provider=PROVIDER, timing_partner_id=1, credential_id=1, race_id="501"
    )
    return encode(body, id=body.run_id, occurred_at=datetime.now(UTC), source="bench")


def _figures(name: str, rounds: Sequence[Delays], count: int, p50: float, p99: float) -> list[Figure]:
    return [
        Figure(
            f"message from publish to handler, {name}, p50",
            middle(rounds, lambda each: each.p50),
            "ms",
            Target("≤", p50),
            f"{count} messages a round, idle; {spread([each.p50 for each in rounds])}",
        ),
        Figure(
            f"message from publish to handler, {name}, p99",
            middle(rounds, lambda each: each.p99),
            "ms",
            Target("≤", p99),
            spread([each.p99 for each in rounds]),
        ),
    ]
