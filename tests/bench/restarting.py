"""From SIGTERM to working again: each service stopped and started, its readiness asked for as Kubernetes does."""

import asyncio
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from statistics import median

from shared.ops.demo.provider import pretend_provider
from tests import services
from tests.acceptance.house import SERVICES
from tests.bench.figures import Figure, Target, middle, spread
from tests.bench.hub import environment_of
from tests.bench.place import Place


async def restarting(place: Place) -> list[Figure]:
    """Every service once a round, over RabbitMQ; a round counts as its slowest one."""
    rounds: list[dict[str, float]] = []
    async with pretend_provider("--world", "small") as provider:
        for _ in range(place.rounds):
            async with place.amqp_url() as amqp_url, place.database_url() as database_url:
                environment = environment_of(provider, database_url, amqp_url)
                rounds.append({service: await _restart(service, environment, place) for service in SERVICES})
            place.say(f"restarting, round {len(rounds)} of {place.rounds}: {max(rounds[-1].values()):.1f} s")
    return [
        Figure(
            "restart of a service, SIGTERM to working again",
            middle(rounds, lambda each: max(each.values())),
            "s",
            Target("≤", 3),
            "the slowest of the four; "
            + ", ".join(f"{name} {median(each[name] for each in rounds):.1f}" for name in SERVICES)
            + f"; {spread([max(each.values()) for each in rounds])}",
        )
    ]


async def _restart(service: str, environment: Mapping[str, str], place: Place) -> float:
    port = services.free_port()
    environment = {**environment, "HUB_METRICS_PORT": str(port)}
    process = await _start(service, environment, place)
    try:
        await _ready(port)
        began = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        await process.wait()
        process = await _start(service, environment, place)
        await _ready(port)
        return time.perf_counter() - began
    finally:
        process.kill()
        await process.wait()


async def _start(service: str, environment: Mapping[str, str], place: Place) -> asyncio.subprocess.Process:
    with (place.folder / f"{service}.log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", service, env=environment, cwd=place.folder, stdout=log, stderr=log
        )


async def _ready(port: int) -> None:
    """Wait until the service says that it works."""
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(_is_ready, port):  # noqa: ASYNC110 — it happens in another process
            await asyncio.sleep(0.02)


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
