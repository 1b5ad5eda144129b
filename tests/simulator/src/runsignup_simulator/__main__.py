"""`python -m runsignup_simulator`: one JSON line when ready, then serves until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from .control import instant
from .generate import generate
from .plan import FULL, SMALL, WorldPlan
from .policy import Policy
from .rows import encoded_rows
from .server import serve
from .simulator import Simulator
from .world import World, future_events

DEFAULTS = Policy()


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="runsignup_simulator", description="A faithful stand-in for RunSignUp.")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one (default)")
    parser.add_argument("--seed", type=int, default=88)
    parser.add_argument("--world", choices=("full", "small"), default="full")
    parser.add_argument("--now", help="ISO instant that it is at the start; default: the real one")
    parser.add_argument("--mutations-per-second", type=float, default=0.0)
    parser.add_argument("--partners", type=int, help="other numbers for a benchmark's world:")
    parser.add_argument("--events", type=int)
    parser.add_argument("--future-events", type=int)
    parser.add_argument("--future-people", type=int)
    parser.add_argument("--people", type=int, help="of all events, the past ones included")
    parser.add_argument("--largest-event", type=int)
    parser.add_argument("--quota", type=int, default=DEFAULTS.quota, help="calls per credential and rolling hour")
    parser.add_argument("--in-flight", type=int, default=DEFAULTS.in_flight, help="calls at once per caller")
    parser.add_argument("--caller-required", action="store_true", help="refuse calls without caller registration")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that every answer takes")
    parser.add_argument("--gzip", action="store_true", help="pack answers for clients that accept it")
    parser.add_argument("--warm", action="store_true", help="encode all future people before reporting ready")
    return parser.parse_args(words)


def plan_from(options: argparse.Namespace) -> WorldPlan:
    base = replace(FULL if options.world == "full" else SMALL, seed=options.seed)
    names = ("partners", "events", "future_events", "future_people", "people", "largest_event")
    asked = {name: value for name in names if (value := getattr(options, name)) is not None}
    if "future_people" in asked and "people" not in asked:
        asked["people"] = asked["future_people"] + base.people - base.future_people
    return replace(base, **asked)


def warm(world: World, now: float) -> None:
    """Invents and encodes the people of the future events, so that a benchmark measures serving alone."""
    flags = frozenset(("nb",))
    for race in world.races.values():
        events = [event.event_id for event in future_events(race, now)]
        if events:
            roster = world.roster(race.race_id)
            encoded_rows(race, roster, roster.ids(events), flags)


async def run(options: argparse.Namespace) -> None:
    offset = instant(options.now) - time.time() if options.now else 0.0
    started_at = time.time() + offset
    world = generate(plan_from(options), started_at)
    policy = Policy(
        quota=options.quota,
        in_flight=options.in_flight,
        caller_required=options.caller_required,
        latency_seconds=options.latency,
    )
    simulator = Simulator(world, time.time, policy)
    simulator.offset_seconds = offset
    if options.warm:
        warm(world, started_at)
    if options.mutations_per_second:
        simulator.pace.change(options.mutations_per_second, None, None, simulator.now())
    # The world is long-lived: without it the collector has nothing to walk through again and again.
    gc.freeze()
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with serve(simulator, port=options.port, packed=options.gzip) as server:
        print(json.dumps({"url": server.url, "control": server.control_url}), flush=True)
        await stop.wait()


def main() -> int:
    options = arguments()
    try:
        asyncio.run(run(options))
    except (ValueError, OSError) as mistake:
        print(f"runsignup_simulator: {mistake}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
