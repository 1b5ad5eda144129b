"""The first load from end to end, and what the rounds after it cost."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from shared.domain.run import Mode
from shared.ops.demo.provider import PretendProvider, pretend_provider
from tests.acceptance.house import Hub
from tests.bench.figures import Figure, Target, middle, middle_round, number, spread
from tests.bench.hub import asked_round, first_load, running, until_quiet
from tests.bench.place import Place
from tests.bench.processes import Memory, Processes, used, watching_memory
from tests.bench.sizes import Sizes, sizes
from tests.bench.sizes import figures as size_figures

#: The most that an event has, and one more: a list that ends exactly with a full page is doubted and asked for once
#: more, by a rule of the paging, and what happens to one list in 2,500 should not happen to one in 68 here.
LARGEST_EVENT = 25_001
#: The people of the largest race that the product knows of.
LARGEST_RACE = 50_000
PEOPLE, PEOPLE_QUICK = 150_000, 30_000


@dataclass(slots=True)
class Round:
    """One first load, and what was done after it."""

    people: int = 0
    races: int = 0
    rate: float = 0.0  # people a second
    cpu: dict[str, float] = field(default_factory=dict)  # by process
    calls: dict[str, tuple[int, int]] = field(default_factory=dict)  # what: spent, fewest
    ours_a_race: float = 0.0  # seconds of our processor time a race, in a round in which nothing changed
    postgres_a_race: float = 0.0
    unchanged_rate: float = 0.0  # people a second, in a full pass in which nothing changed
    memory: Memory = field(default_factory=Memory)
    sizes: Sizes | None = None


async def embedded(place: Place) -> list[Figure]:
    """All four services in one process on the in-process bus; then rounds in which nothing changed."""
    rounds = []
    async with _world(place) as provider:
        for _ in range(place.rounds):
            async with (
                place.database_url() as database_url,
                running(provider, database_url, place.folder) as (hub, processes),
            ):
                measured = Round()
                await _first_load(hub, processes, measured)
                await _scheduled_round(hub, processes, measured, removals=False)
                await _scheduled_round(hub, processes, measured, removals=True)
                measured.unchanged_rate = measured.people / await asked_round(hub, Mode.FULL)
                measured.sizes = await sizes(hub.database, measured.people)
            rounds.append(measured)
            place.say(
                f"embedded, round {len(rounds)} of {place.rounds}: first load {measured.rate:,.0f}/s,"
                f" {1000 * measured.ours_a_race:.1f} ms a race when nothing changed"
            )
    return [
        _rate("first load, embedded", rounds),
        *_calls(rounds),
        Figure(
            "incremental round, nothing changed, our processor time",
            1000 * middle(rounds, lambda each: each.ours_a_race),
            "ms a race",
            Target("≤", 15),
            f"{rounds[0].races} races;"
            f" PostgreSQL {1000 * middle(rounds, lambda each: each.postgres_a_race):.1f} ms more; "
            + spread([1000 * each.ours_a_race for each in rounds]),
        ),
        Figure(
            "full pass, nothing changed",
            middle(rounds, lambda each: each.unchanged_rate),
            "people/s",
            Target("≥", 25_000),
            spread([each.unchanged_rate for each in rounds]),
        ),
        *size_figures([each.sizes for each in rounds if each.sizes is not None]),
    ]


async def distributed(place: Place) -> list[Figure]:
    """Each service as a process, over RabbitMQ; and the most memory that one of them takes."""
    rounds = []
    async with _world(place) as provider:
        for _ in range(place.rounds):
            async with (
                place.amqp_url() as amqp_url,
                place.database_url() as database_url,
                running(provider, database_url, place.folder, amqp_url) as (hub, processes),
            ):
                measured = Round()
                async with watching_memory(_ours(processes)) as memory:
                    await _first_load(hub, processes, measured)
                measured.memory = memory
            rounds.append(measured)
            peak = max(measured.memory.resident.values()) / 2**20
            place.say(
                f"distributed, round {len(rounds)} of {place.rounds}: first load {measured.rate:,.0f}/s,"
                f" largest service {peak:.0f} MiB"
            )
    return [_rate("first load, distributed", rounds), *_memory(rounds)]


async def largest(place: Place) -> list[Figure]:
    """The most memory that a service takes when one race has 50,000 people."""
    people = str(LARGEST_RACE)
    place.say(f"inventing a race of {LARGEST_RACE:,} people in one event ...")
    words = ("--partners", "1", "--events", "1", "--future-events", "1", "--people", people)
    async with (
        pretend_provider(*words, "--future-people", people, "--largest-event", people) as provider,
        place.database_url() as database_url,
    ):
        return await peaks(f"peak memory at a race of {LARGEST_RACE:,}", place, provider, database_url)


async def peaks(what: str, place: Place, provider: PretendProvider, database_url: str) -> list[Figure]:
    """The most memory that each service takes for a first load and a full pass after it."""
    async with (
        place.amqp_url() as amqp_url,
        running(provider, database_url, place.folder, amqp_url) as (hub, processes),
        watching_memory(_ours(processes)) as memory,
    ):
        await first_load(hub)
        await asked_round(hub, Mode.FULL)
    detail = "a first load and a full pass after it"
    return [_peak(what, role, resident / 1e6, detail) for role, resident in memory.resident.items()]


_OTHERS = ("postgres", "rabbitmq", "simulator")


def _ours(processes: Processes) -> dict[str, int]:
    """The services, by role."""
    return {role: pid for role, pid in processes.roots.items() if role not in _OTHERS}


def _peak(what: str, role: str, megabytes: float, detail: str) -> Figure:
    return Figure(f"{what}, {role.replace('_', '-')}", megabytes, "MB", Target("≤", 150), detail)


@asynccontextmanager
async def _world(place: Place) -> AsyncIterator[PretendProvider]:
    people = PEOPLE_QUICK if place.is_quick else PEOPLE
    place.say(f"inventing {people:,} people, one event of {LARGEST_EVENT:,} ...")
    words = ("--future-people", str(people), "--largest-event", str(LARGEST_EVENT), "--warm")
    async with pretend_provider(*words) as provider:
        yield provider


async def _first_load(hub: Hub, processes: Processes, into: Round) -> None:
    """From the operator's INSERT of the keys to the last person stored and told."""
    before, calls_before = processes.seconds(), await _calls_by_key(hub.provider)
    seconds = await first_load(hub)
    await until_quiet(hub.database, processes)
    into.cpu = used(before, processes.seconds())
    into.people = await hub.count("SELECT count(*) FROM participants WHERE removed_at IS NULL")
    into.races = await hub.count("SELECT count(*) FROM race_sync WHERE state = 'active' AND last_full_at IS NOT NULL")
    into.rate = into.people / seconds
    fewest = (await hub.provider.get("/fewest")).values()
    spent = sum((await _calls_by_key(hub.provider)).values()) - sum(calls_before.values())
    # One call more for each new key: a list of races answers to anybody, and proves nothing.
    into.calls["discovery and first load, with one proof of each key"] = (
        spent,
        sum(each["first_load"] + 1 for each in fewest),
    )


async def _scheduled_round(hub: Hub, processes: Processes, into: Round, *, removals: bool) -> None:
    """Every race falls due at once, and nobody has changed."""
    await hub.provider.post("/config", forget_quota=True)
    before, calls_before = processes.seconds(), sum((await _calls_by_key(hub.provider)).values())
    done_before = await _completed(hub)
    await hub.database.execute(
        "UPDATE race_sync SET next_due_at = next_due_at - interval '2 days',"
        " last_asked_at = last_asked_at - interval '2 days', round = $1 WHERE state = 'active'",
        5 if removals else 6,
    )
    await hub.database.execute("SELECT pg_notify('hub', 'due')")
    async with asyncio.timeout(300):
        while await _completed(hub) < done_before + into.races:  # noqa: ASYNC110 — as above
            await asyncio.sleep(0.1)
    await until_quiet(hub.database, processes)
    spent = sum((await _calls_by_key(hub.provider)).values()) - calls_before
    what = "incremental round with removed people" if removals else "incremental round"
    into.calls[what] = (spent, into.races * (2 if removals else 1))
    if not removals:
        cpu = used(before, processes.seconds())
        into.postgres_a_race = cpu.get("postgres", 0.0) / into.races
        into.ours_a_race = cpu["hub"] / into.races


async def _completed(hub: Hub) -> int:
    return await hub.count("SELECT count(*) FROM sync_runs WHERE state = 'completed'")


async def _calls_by_key(provider: PretendProvider) -> dict[str, int]:
    credentials: dict[str, Any] = (await provider.get("/audit"))["credentials"]
    return {key: each["calls"] for key, each in credentials.items()}


def _rate(name: str, rounds: Sequence[Round]) -> Figure:
    shown = middle_round(rounds, lambda each: each.rate)
    per = 100_000 / shown.people
    cpu = ", ".join(f"{role} {seconds * per:.1f}" for role, seconds in shown.cpu.items())
    return Figure(
        name,
        middle(rounds, lambda each: each.rate),
        "people/s",
        Target("≥", 9_100),
        f"{shown.people:,} people, {shown.races} races; processor seconds per 100,000: {cpu}"
        f" (sum {sum(shown.cpu.values()) * per:.1f}); {spread([each.rate for each in rounds])}",
    )


def _calls(rounds: Sequence[Round]) -> list[Figure]:
    figures = []
    for what in rounds[0].calls:
        spent, fewest = max((each.calls[what] for each in rounds), key=lambda pair: pair[0] / pair[1])
        figures.append(
            Figure(
                f"calls: {what}",
                spent / fewest,
                "of the fewest",
                Target("=", 1),
                f"{number(spent)} spent, {number(fewest)} are the fewest; the worst of {len(rounds)} rounds",
            )
        )
    return figures


def _memory(rounds: Sequence[Round]) -> list[Figure]:
    figures = []
    for role in rounds[0].memory.resident:
        resident = median(each.memory.resident[role] / 1e6 for each in rounds)
        unshared = median(each.memory.unshared[role] / 1e6 for each in rounds)
        detail = f"an event of {LARGEST_EVENT:,} people; not shared with others {unshared:.0f} MB"
        figures.append(_peak("peak memory", role, resident, detail))
    return figures
