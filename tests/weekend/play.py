"""The weekend, played: the four services' own code, for some hours twice, on one bus, one PostgreSQL and one clock,
beside a provider to whom things happen.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

import asyncpg
import httpx
import orjson

from runsignup_simulator import Policy, Simulator
from runsignup_simulator.change import Change
from runsignup_simulator.model import Race
from runsignup_simulator.mutations import mutate
from runsignup_simulator.spelling import EASTERN
from runsignup_simulator.targets import Impossible
from shared.bus.inprocess import InProcessBus
from shared.bus.port import Message
from shared.contracts import BibChanged, SyncFetched
from shared.domain.cadence import Cadence, Pace
from shared.ops.demo.provider import PretendProvider
from shared.providers.port import Client
from shared.providers.registry import PROVIDERS
from shared.providers.runsignup.client import RunSignUpClient
from shared.secrets import Sealer, new_key
from shared.settings import Settings, load
from tests.acceptance.house import Hub
from tests.weekend.calendar import Calendar
from tests.weekend.clock import JumpingClock
from tests.weekend.happenings import Happening
from tests.weekend.replica import Replica, unhurried
from tests.weekend.stillness import CountedDatabase, Stillness
from tests.weekend.wire import Wire

CONNECTIONS = 16
ADDRESS = "http://127.0.0.1:1/rest"  # nobody listens there: every call goes over the wire
#: So long there are two replicas of each service, before one dies. (Two cost half as much time again as one.)
TWO_REPLICAS = timedelta(hours=3)
#: How long an answer of the provider takes, of the clock's time.
LATENCY_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Script:
    """What is played, and when."""

    seed: int
    calendar: Calendar
    happenings: list[Happening]
    loads_from: datetime  # the hub starts with an empty database
    begins: datetime
    ends: datetime
    brown_out: tuple[datetime, datetime] | None = None
    killed_at: datetime | None = None  # one of two replicas
    calls_per_hour: int = 1000
    slow: tuple[str, datetime] | None = None  # a key, whose answers take half a minute from then on
    settling: timedelta = timedelta(minutes=10)  # in which nothing happens any more; then everybody is compared


@dataclass(frozen=True, slots=True)
class Given:
    """A bib as the provider has it since then."""

    at: datetime
    race_id: int
    registration_id: int
    bib: str | None


@dataclass(frozen=True, slots=True)
class Told:
    """A bib event as it left the hub."""

    at: datetime
    race_id: int
    registration_id: int
    kind: str
    bib: str | None


@dataclass(slots=True)
class Played:
    """All that is known afterwards."""

    script: Script
    loaded_at: datetime | None = None
    races: dict[int, list[tuple[datetime, Race]]] = field(default_factory=dict)  # as the provider had them since then
    happened: dict[str, int] = field(default_factory=dict)
    given: list[Given] = field(default_factory=list)
    gone: dict[int, datetime] = field(default_factory=dict)  # registrations that left their event
    told: list[Told] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    as_of: dict[str, datetime] = field(default_factory=dict)  # run: its first call that was answered
    calls: list[tuple[datetime, str]] = field(default_factory=list)
    audit: dict[str, Any] = field(default_factory=dict)
    copies: list[tuple[int, int]] = field(default_factory=list)  # partner and race, of those that start on these days
    keys: dict[int, str] = field(default_factory=dict)  # partner: its key's fingerprint
    stretched: dict[tuple[str, datetime], float] = field(default_factory=dict)  # key and hour: announced interval
    compared: int = 0  # people, in the end
    different: int = 0
    killed: int = 0  # consumers that were at work when the replica was killed
    jumps: int = 0
    seconds: float = 0.0  # by the wall
    processor_seconds: float = 0.0  # of this process: all services, the provider and the clock, without PostgreSQL

    def promised(self, partner: int, moment: datetime) -> float | None:
        """How old a race-day race of a partner might be then, where a longer interval was announced beforehand."""
        hour = moment.replace(minute=0, second=0, microsecond=0)
        interval = self.stretched.get((self.keys[partner], hour))
        return None if interval is None else Cadence(raceday=timedelta(seconds=interval)).promised(Pace.RACEDAY).seconds


class HeardBus(InProcessBus):
    """The in-process bus; bib events are written down as they leave, and as of when each run knows its race."""

    def __init__(self, clock: JumpingClock, random: Random, played: Played) -> None:
        super().__init__(clock=clock, random=random, providers=tuple(PROVIDERS))
        self._now = clock.now
        self._told = played.told
        self._as_of = played.as_of

    async def publish(self, messages: Sequence[Message]) -> None:
        await super().publish(messages)
        for each in messages:
            if each.type == SyncFetched.TYPE:
                end = orjson.loads(each.body)["data"]
                if end["first_call_at"] is not None:
                    self._as_of[end["run_id"]] = datetime.fromisoformat(end["first_call_at"])
            elif each.type == BibChanged.TYPE:
                data = orjson.loads(each.body)["data"]
                self._told += [
                    Told(self._now(), int(data["race_id"]), int(bib["registration_id"]), bib["kind"], bib["after"])
                    for bib in data["changes"]
                ]


async def play(script: Script, database_url: str, say: Callable[[str], None]) -> Played:
    """Play it; raises what ended a service that was not to end."""
    began = time.monotonic()
    played = Played(script)
    clock = JumpingClock(script.loads_from)
    async with AsyncExitStack() as stack:
        stack.enter_context(unhurried())
        stage = await _set(stack, script, database_url, clock, played)
        await stage.join(stage.replicas[0])
        weekend = asyncio.create_task(stage.weekend(say), name="weekend")
        jumping = asyncio.create_task(clock.run(stage.stillness), name="clock")
        try:
            done, _ = await asyncio.wait([weekend, jumping, stage.failure], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (weekend, jumping, *stage.watching):
                task.cancel()
            await asyncio.gather(weekend, jumping, *stage.watching, return_exceptions=True)
            for each in stage.replicas:
                await each.kill(stage.stillness)
    played.jumps = clock.jumps
    played.seconds = time.monotonic() - began
    played.processor_seconds = time.process_time()
    return played


async def _set(
    stack: AsyncExitStack, script: Script, database_url: str, clock: JumpingClock, played: Played
) -> "Stage":
    """Build the stage; nothing on it moves yet."""
    policy = Policy(quota=script.calls_per_hour, latency_seconds=LATENCY_SECONDS)
    simulator = Simulator(script.calendar.world, lambda: clock.now().timestamp(), policy)
    database = await CountedDatabase.open(database_url, size=CONNECTIONS)
    stack.push_async_callback(database.close)
    bell = await asyncpg.connect(database_url)
    stack.push_async_callback(bell.close)
    bus = HeardBus(clock, Random(f"{script.seed}-bus"), played)
    stack.push_async_callback(bus.close)
    settings = load(Settings, database_url=database_url, runsignup_base_url=ADDRESS, secret_key=new_key())
    assert settings.secret_key is not None
    sealer = Sealer.from_text(settings.secret_key.get_secret_value())

    def open_client(_name: str, _settings: Settings, *, timeout_seconds: float) -> Client:
        wire = Wire(simulator, clock, timeout_seconds, played.calls)
        return RunSignUpClient(ADDRESS, timeout_seconds=timeout_seconds, transport=wire)

    replicas = [
        Replica(settings, clock, f"{script.seed}-{number}", (database, bus, sealer), open_client) for number in (1, 2)
    ]
    http = await stack.enter_async_context(
        httpx.AsyncClient(base_url=ADDRESS.replace("/rest", "/_sim"), transport=Wire(simulator, clock, 60.0, []))
    )
    hub = Hub(database, PretendProvider(ADDRESS, http))
    return Stage(script, played, clock, simulator, Stillness(database.statements, bell), replicas, hub)


@dataclass(slots=True)
class Stage:
    """Everything that moves while it is played."""

    script: Script
    played: Played
    clock: JumpingClock
    simulator: Simulator
    stillness: Stillness
    replicas: list[Replica]
    hub: Hub
    failure: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    watching: list["asyncio.Task[None]"] = field(default_factory=list)

    async def join(self, replica: Replica) -> None:
        """Start a replica; should one of its tasks end by itself, so does the weekend."""
        await replica.start(self.stillness)

        async def watch() -> None:
            try:
                await replica.failed()
            except Exception as error:
                if not self.failure.done():
                    self.failure.set_exception(error)

        self.watching.append(asyncio.create_task(watch(), name="watch"))

    async def weekend(self, say: Callable[[str], None]) -> None:
        """From the operator's INSERT to Sunday night."""
        script, clock = self.script, self.clock
        if script.calls_per_hour != Policy().quota:
            await self.hub.database.execute(
                "UPDATE public.providers SET rate_limit_per_hour = $1 WHERE provider_id = 2", script.calls_per_hour
            )
        await self.hub.onboard()
        while not await self.hub.loaded():
            await clock.sleep(10)
        self.played.loaded_at = clock.now()
        say(f"loaded by {clock.now():%H:%M}")
        for race in self.simulator.world.races.values():
            self.played.races[race.race_id] = [(script.loads_from, race)]
        await clock.until(script.begins)
        beside = [self._things_happen(), self._brown_out(), self._slowness(), self._death(), self._tell(say)]
        side = [asyncio.create_task(each) for each in beside]
        await clock.until(script.ends)
        for task in side:
            if task.done():
                task.result()
            task.cancel()
        await asyncio.gather(*side, return_exceptions=True)
        await clock.until(script.ends + script.settling)
        await self._collect()

    async def _things_happen(self) -> None:
        for each in self.script.happenings:
            await self.clock.until(each.at)
            with suppress(Impossible):  # somebody's bib cannot be changed when a refund took them away before
                self._write_down(mutate(self.simulator.world, each.asked, self.simulator.now()))
                self.played.happened[each.asked.kind] = self.played.happened.get(each.asked.kind, 0) + 1

    def _write_down(self, changes: list[Change]) -> None:
        now = self.clock.now()
        for change in changes:
            assert change.race_id is not None
            if change.kind == "start_moved":
                self.played.races[change.race_id].append((now, self.simulator.world.races[change.race_id]))
            elif change.kind in {"refunded", "transferred"}:
                assert change.registration_id is not None
                self.played.gone[change.registration_id] = now
            elif change.kind.startswith("bib_"):
                assert change.registration_id is not None
                bib = None if change.after is None else str(change.after)
                self.played.given.append(Given(now, change.race_id, change.registration_id, bib))

    async def _brown_out(self) -> None:
        """Half of the calls fail, the others take long."""
        if self.script.brown_out is None:
            return
        first, last = self.script.brown_out
        await self.clock.until(first)
        seconds = (last - first).total_seconds()
        for kind, probability in (("http_503", 0.4), ("page_522", 0.3), ("slow", 1.0)):
            self.simulator.faults.add(
                {"kind": kind, "probability": probability, "for_seconds": seconds, "seconds": 6.0}, self.simulator.now()
            )

    async def _slowness(self) -> None:
        """One partner's calls take half a minute each."""
        if self.script.slow is None:
            return
        key, since = self.script.slow
        await self.clock.until(since)
        self.simulator.faults.add({"kind": "slow", "key": key, "seconds": 30.0}, self.simulator.now())

    async def _death(self) -> None:
        """A second replica joins, and some hours later the first one dies in the middle of its work."""
        if self.script.killed_at is None:
            return
        await self.clock.until(self.script.killed_at - TWO_REPLICAS)
        await self.join(self.replicas[1])
        await self.clock.until(self.script.killed_at)
        victim = self.replicas[0]
        while not victim.at_work():
            await self.clock.sleep(0.05)
        self.played.killed = victim.at_work()
        await victim.kill(self.stillness)

    async def _tell(self, say: Callable[[str], None]) -> None:
        began = time.monotonic()
        while (now := self.clock.now()) < self.script.ends:
            seconds, calls = time.monotonic() - began, len(self.played.calls)
            say(f"{now.astimezone(EASTERN):%a %H:%M}  {calls:>7,} calls  {seconds:4.0f} s")
            await self.clock.sleep(min(3600.0, (self.script.ends - now).total_seconds()))

    async def _collect(self) -> None:
        rows = await self.hub.database.fetch(
            "SELECT run_id, kind, timing_partner_id, race_id, mode, removals, sync_class, reason, state, requested_at,"
            " finished_at, calls, added + updated + removed + restored AS found, error_code FROM sync_runs"
        )
        self.played.runs = [{**row, "as_of": self.played.as_of.get(str(row["run_id"]))} for row in rows]
        self.played.audit = self.simulator.audit.report()
        for row in await self.hub.database.fetch(
            "SELECT k.principal, k.timing_partner_id, c.fingerprint FROM public.partner_provider_credentials k"
            " JOIN credentials c ON c.credential_id = k.partner_provider_credential_id"
        ):
            self.played.keys[row["timing_partner_id"]] = row["fingerprint"]
            theirs = self.simulator.world.partners[row["principal"]].race_ids
            here = [race_id for race_id in self.script.calendar.race_ids if race_id in theirs]
            self.played.copies += [(row["timing_partner_id"], race_id) for race_id in here]
        for row in await self.hub.database.fetch(
            "SELECT fingerprint, hour, interval_seconds FROM key_hours"
            " WHERE interval_seconds IS NOT NULL AND announced_at < hour"
        ):
            self.played.stretched[row["fingerprint"], row["hour"]] = float(row["interval_seconds"])
        found = await self.hub.compare()
        self.played.compared = found.compared
        self.played.different = len(found.missing) + len(found.surplus) + len(found.different)
