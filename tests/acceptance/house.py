"""A running hub against a simulated RunSignUp, for stories: in this process, or as processes over RabbitMQ."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.domain.run import Kind, Mode, Reason, SyncClass
from shared.ops.demo.comparing import Comparison, compare
from shared.ops.demo.provider import PretendProvider, pretend_provider
from shared.postgres import Database
from shared.postgres.asks import Ask, ask
from shared.runtime.service import keep_running, open_house, services
from shared.secrets import new_key
from shared.settings import Settings, load
from tests.services import under

SERVICES = ("scheduler", "fetcher", "writer", "bib_watcher")

#: Long enough for two busy cores, short enough to notice: what a story waits for comes within seconds.
PATIENCE = 45.0

#: A race morning compressed: what is a minute outside is two seconds here.
QUICK = {"HUB_INTERVAL_RACEDAY_SECONDS": "2", "HUB_DISCOVERY_SECONDS": "3", "HUB_TICK_SECONDS": "0.3"}


async def until(true: Callable[[], Awaitable[object]], what: str, seconds: float = PATIENCE) -> None:
    """Return when it is true; fail, saying what was waited for, when it does not become so in time."""
    async with asyncio.timeout(seconds) as bound:
        try:
            while not await true():  # noqa: ASYNC110 — what is waited for happens in other processes
                await asyncio.sleep(0.1)
        except asyncio.CancelledError:
            if bound.expired():
                raise AssertionError(f"waited {seconds:.0f} s in vain: {what}") from None
            raise


#: How a service is started: its command line and environment, from its name and the hub's environment.
Command = Callable[[str, dict[str, str]], tuple[tuple[str, ...], dict[str, str]]]


def as_it_is(service: str, environment: dict[str, str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """`python -m fetcher`, in the database as its own role, and with the secret key if it needs that."""
    own = environment | {"HUB_DATABASE_URL": under(environment["HUB_DATABASE_URL"], f"hub_{service}")}
    if service in {"writer", "bib_watcher"}:
        del own["HUB_SECRET_KEY"]
    return (sys.executable, "-m", service), own


@dataclass(slots=True)
class Hub:
    """The hub as an operator and a provider see it."""

    database: Database
    provider: PretendProvider
    keys: dict[str, int] = field(default_factory=dict)  # key: timing partner
    processes: dict[str, list[asyncio.subprocess.Process]] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    logs: Path | None = None
    secret_key: str = ""  # of the embedded one
    command: Command = as_it_is
    metrics_ports: list[str] = field(default_factory=list)  # of every process that was ever started with one

    async def onboard(self) -> None:
        """Enter every partner of the pretend world with the SQL of the operators' handbook."""
        async with self.database.transaction("onboarding") as connection:
            for each in await self.provider.partners():
                partner = await connection.fetchval(
                    "INSERT INTO public.timing_partners (company_name) VALUES ($1) RETURNING timing_partner_id",
                    each.name,
                )
                await connection.execute(
                    "INSERT INTO partner_provider_credentials (timing_partner_id, provider_id, principal, secret,"
                    " credential_type) VALUES ($1, 2, $2, $3, $4)",
                    partner,
                    each.key,
                    each.secret,
                    each.form,
                )
                self.keys[each.key] = partner

    async def all_there(self) -> bool:
        """Every process that was started is at work, and so has declared its queues."""
        return await self.count("SELECT count(*) FROM service_beats") >= sum(map(len, self.processes.values()))

    async def loaded(self) -> bool:
        """Every key was discovered with and every race fully loaded once."""
        row = await self.database.fetchrow(
            "SELECT (SELECT count(*) FROM credentials WHERE last_discovered_at IS NULL) AS blind,"
            " (SELECT count(*) FROM credentials) AS keys,"
            " (SELECT count(*) FROM race_sync WHERE last_full_at IS NULL AND state = 'active') AS unloaded"
        )
        return row is not None and row["keys"] == len(self.keys) and not row["blind"] and not row["unloaded"]

    async def ask_for_everything(self, mode: Mode = Mode.INCREMENTAL) -> None:
        """What `hub sync --wait` does, without the looks."""
        import datetime

        now = datetime.datetime.now(datetime.UTC)
        runs = []
        async with self.database.transaction("asking") as connection:
            for row in await connection.fetch(
                "SELECT * FROM race_sync WHERE state IN ('active', 'refused') ORDER BY timing_partner_id, race_id"
            ):
                run = await ask(connection, wish(row, mode), now)
                if run is not None:
                    runs.append(run)

        async def all_ended() -> bool:
            return not await self.database.fetchval(
                "SELECT count(*) FROM sync_runs WHERE requested_at >= $1 AND reason = 'operator'"
                " AND state IN ('queued', 'requested', 'running', 'fetched')",
                now,
            )

        await until(all_ended, "the operator's runs to end")

    async def compare(self, scope: str = "future") -> Comparison:
        """Everybody of every future (or all) event against the provider's truth."""
        found = Comparison()
        await compare(self.database, self.provider, self.keys, found, scope=scope)
        if (
            found.surplus and scope == "future"
        ):  # an event that was moved into the past is not compared, so its people are not too many
            rows = await self.database.fetch(
                "SELECT registration_id FROM participants WHERE registration_id = ANY($1) AND event_id = ANY($2)",
                found.surplus,
                [each["event_id"] for key in self.keys async for each in self.provider.lines("/truth/events", key=key)],
            )
            found.surplus = sorted(row["registration_id"] for row in rows)
        return found

    async def differing_events(self) -> list[str]:
        """Events on the provider's list that are not stored, or begin or end otherwise."""
        wrong = []
        for key, timing_partner_id in self.keys.items():
            stored = {
                row["event_id"]: row
                for row in await self.database.fetch(
                    "SELECT * FROM events WHERE timing_partner_id = $1 AND missing_at IS NULL", timing_partner_id
                )
            }
            async for each in self.provider.lines("/truth/events", key=key):
                row = stored.get(each["event_id"])
                times = [row and row[name] and row[name].isoformat() for name in ("starts_at", "ends_at")]
                if each["listed"] and times != (theirs := [each["starts_at"], each["ends_at"]]):
                    wrong.append(f"{each['event_id']} of race {each['race_id']}: {times}, the provider has {theirs}")
        return wrong

    async def has_every_event(self) -> bool:
        """Whether every event is stored with its start and end."""
        return not await self.differing_events()

    async def is_identical(self) -> None:
        """Ask for everything, then everybody must be identical and no rolling hour over budget."""
        await self.ask_for_everything()
        found = await self.compare()
        assert found.compared > 0
        assert (found.missing, found.surplus, found.different) == ([], [], {})
        assert (await self.provider.get("/audit"))["quota_violations"] == 0

    async def count(self, statement: str, *arguments: Any) -> int:
        """A number from the database."""
        number: int = await self.database.fetchval(statement, *arguments)
        return number

    async def start(self, service: str, copies: int = 1) -> None:
        """Start a service as a process of its own."""
        for _ in range(copies):
            assert self.logs is not None
            line, environment = self.command(service, self.environment)
            with (self.logs / f"{service}.log").open("ab") as log:
                process = await asyncio.create_subprocess_exec(*line, env=environment, stdout=log, stderr=log)
            if port := environment.get("HUB_METRICS_PORT"):
                self.metrics_ports.append(port)
            self.processes.setdefault(service, []).append(process)

    async def kill(self, service: str) -> None:
        """kill -9 the oldest process of a service."""
        process = self.processes[service].pop(0)
        with suppress(ProcessLookupError):  # it may have ended by itself just now
            process.kill()
        await process.wait()

    async def supervise(self) -> None:
        """Start again whatever ends by itself, as compose and Kubernetes do; until cancelled."""
        while True:
            for service, copies in list(self.processes.items()):
                for process in [each for each in copies if each.returncode is not None]:
                    copies.remove(process)
                    await self.start(service)
            await asyncio.sleep(0.5)

    async def stop(self, service: str) -> int:
        """SIGTERM the oldest process of a service; its exit code."""
        process = self.processes[service].pop(0)
        process.send_signal(signal.SIGTERM)
        return await process.wait()


def wish(row: Mapping[str, Any], mode: Mode) -> Ask:
    """An operator's ask for a race."""
    import uuid

    return Ask(
        run_id=uuid.uuid4(),
        kind=Kind.RACE,
        provider="runsignup",
        provider_id=row["provider_id"],
        timing_partner_id=row["timing_partner_id"],
        credential_id=row["credential_id"],
        source="hub",
        reason=Reason.OPERATOR,
        sync_class=SyncClass.RACEDAY,
        mode=mode,
        removals=True,
        race_id=row["race_id"],
        needs_fresh=True,
    )


@asynccontextmanager
async def embedded_hub(database_url: str, home: Path, *world: str) -> AsyncIterator[Hub]:
    """All four services in this process, on the in-process bus."""
    async with pretend_provider(*(world or ("--world", "small"))) as provider:
        settings = load(
            Settings,
            database_url=database_url,
            amqp_url=None,
            home=home,
            runsignup_base_url=provider.url,
            secret_key=(key := new_key()),
        )
        async with open_house(settings, name="test") as house:
            running = asyncio.create_task(keep_running(house, services()))
            try:
                yield Hub(house.database, provider, secret_key=key)
            finally:
                house.stopping.set()
                await running


@asynccontextmanager
async def distributed_hub(
    database_url: str,
    amqp_url: str,
    home: Path,
    *world: str,
    start: tuple[str, ...] = SERVICES,
    environment: Mapping[str, str] | None = None,
    command: Command = as_it_is,
) -> AsyncIterator[Hub]:
    """Each service as a process, over RabbitMQ; they are killed at the end."""
    async with pretend_provider(*(world or ("--world", "small"))) as provider:
        settings = {
            **os.environ,
            **(environment or {}),
            "HUB_DATABASE_URL": database_url,
            "HUB_AMQP_URL": amqp_url,
            "HUB_RUNSIGNUP_BASE_URL": provider.url,
            "HUB_SECRET_KEY": new_key(),
            "HUB_LOG_FORMAT": "json",
            "HUB_GRACE_SECONDS": "5",
        }
        database = await Database.connect(database_url, size=4)
        hub = Hub(database, provider, environment=settings, logs=home, command=command)
        try:
            for each in start:
                await hub.start(each)
            yield hub
        finally:
            for process in [process for copies in hub.processes.values() for process in copies]:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            await database.close()
