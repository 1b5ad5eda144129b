"""Each misfortune: how it strikes, how it ends, and how one knows that it struck."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import asyncpg

from shared.errors import Later
from tests import services
from tests.acceptance.house import Hub
from tests.chaos.plan import Storm, Strike
from tests.chaos.proxy import Proxy
from tests.chaos.service import SERVICES


@dataclass(slots=True)
class Ground:
    """What the storm rages over: a broker and a database server of this run's own, for some seeds."""

    broker: services.BreakableBroker
    postgres: services.WheelDatabase


@dataclass(slots=True)
class Doors:
    """A service's ways to the broker and to the database."""

    broker: Proxy
    database: Proxy


@dataclass(slots=True)
class Weather:
    """One seed on its way."""

    storm: Storm
    hub: Hub
    ground: Ground
    doors: dict[str, Doors]
    orders: Path
    database_name: str
    database_url: str  # straight, as the services' own role
    struck: list[Strike] = field(default_factory=list)
    over_budget: int = 0
    faults: dict[int, Strike] = field(default_factory=dict)

    async def strike(self, strike: Strike) -> None:
        """Let one misfortune happen and end; noted when it was seen to hurt."""
        acts: dict[str, Callable[[Strike], Awaitable[bool]]] = {
            "killed": self._killed,
            "fault": self._fault,
            "broker_killed": self._broker_killed,
            "broker_memory_alarm": self._broker_alarm,
            "broker_cut": lambda each: self._at_doors(each, Proxy.cut),
            "broker_silent": lambda each: self._at_doors(each, Proxy.hush),
            "database_cut": lambda each: self._at_doors(each, Proxy.cut),
            "database_silent": lambda each: self._at_doors(each, Proxy.hush),
            "database_restarted": self._database_restarted,
            "database_read_only": self._database_read_only,
            "database_full": self._database_full,
            "message_lost": lambda each: self._order(each.target or "fetcher.lose"),
            "budget_spent": self._budget_spent,
            "race_away": lambda each: self._mutated(each, "race_left_list", "race_returned"),
            "right_withdrawn": lambda each: self._mutated(each, "permission_revoked", "permission_restored"),
        }
        if await acts[strike.kind](strike):
            self.struck.append(strike)

    async def _killed(self, strike: Strike) -> bool:
        if "." in strike.target:
            return await self._order(strike.target)
        await self.hub.kill(strike.target)
        await asyncio.sleep(0.3)
        await self.hub.start(strike.target)
        return True

    async def _order(self, moment: str) -> bool:
        """Whoever comes to the moment first obeys; false when nobody came."""
        order = self.orders / moment
        order.touch()
        for _ in range(int(self.storm.patience / 0.05)):
            if not order.exists():
                return True
            await asyncio.sleep(0.05)
        order.unlink(missing_ok=True)
        return False

    async def _fault(self, strike: Strike) -> bool:
        made = await self.hub.provider.post("/faults", kind=strike.target, **dict(strike.details))
        self.faults[made["id"]] = strike
        return False  # only its own count says whether it struck

    async def faults_struck(self) -> None:
        """Wait until every fault has struck, then lift all of them."""
        for _ in range(int(self.storm.patience / 0.2)):
            told = {each["id"]: each for each in await self.hub.provider.get("/faults")}
            if all(told[number]["struck"] for number in self.faults):
                break
            await asyncio.sleep(0.2)
        self.struck += [strike for number, strike in self.faults.items() if told[number]["struck"]]
        await self.hub.provider.delete("/faults")

    async def _broker_killed(self, strike: Strike) -> bool:
        await self.ground.broker.kill()
        gone = not await asyncio.to_thread(self.ground.broker.answers)
        await asyncio.sleep(strike.seconds)
        await self.ground.broker.start()
        return gone

    async def _broker_alarm(self, strike: Strike) -> bool:
        await self.ground.broker.pause()
        alarmed = await asyncio.to_thread(self._is_alarmed)
        await asyncio.sleep(strike.seconds)
        await self.ground.broker.resume()
        return alarmed

    def _is_alarmed(self) -> bool:
        try:
            self.ground.broker.call("GET", "health/checks/alarms")
        except HTTPError as error:
            return error.code == HTTPStatus.SERVICE_UNAVAILABLE
        return False

    async def _at_doors(self, strike: Strike, act: Callable[[Proxy], None]) -> bool:
        doors = [self.doors[each] for each in ([strike.target] if strike.target else SERVICES)]
        them = [each.broker if strike.kind.startswith("broker") else each.database for each in doors]
        before = sum(each.hurt for each in them)
        for each in them:
            act(each)
        await asyncio.sleep(strike.seconds)
        for _ in range(int(self.storm.patience / 0.1)):  # a service that is just starting has nothing to lose yet
            if sum(each.hurt for each in them) > before:
                break
            await asyncio.sleep(0.1)
        for each in them:
            each.mend()
        return sum(each.hurt for each in them) > before

    def _reconnect(self) -> None:
        """Every service's connections to the database end, and the next ones find it as it is now."""
        for each in self.doors.values():
            each.database.cut()
            each.database.mend()

    async def _database_restarted(self, _strike: Strike) -> bool:
        await asyncio.to_thread(self.ground.postgres.restart)
        return True

    async def _database_read_only(self, strike: Strike) -> bool:
        name = f'ALTER DATABASE "{self.database_name}"'
        await services.execute(self.ground.postgres.url, f"{name} SET default_transaction_read_only = on")
        self._reconnect()  # as after a fail-over: the connections end, and the new ones find a standby
        found = await self._seen("SHOW default_transaction_read_only")
        await asyncio.sleep(strike.seconds)
        await services.execute(self.ground.postgres.url, f"{name} RESET default_transaction_read_only")
        self._reconnect()
        return found == "on"

    async def _database_full(self, strike: Strike) -> bool:
        await services.execute(self.ground.postgres.url, f'ALTER DATABASE "{self.database_name}" CONNECTION LIMIT 0')
        self._reconnect()
        found = await self._seen("SELECT 1")
        await asyncio.sleep(strike.seconds)
        await services.execute(self.ground.postgres.url, f'ALTER DATABASE "{self.database_name}" CONNECTION LIMIT -1')
        return found == "53300"

    async def _seen(self, statement: str) -> str:
        """What the services' role is told: a value, or the error's SQLSTATE."""
        try:
            connection = await asyncpg.connect(self.database_url)
        except asyncpg.PostgresError as error:
            return str(error.sqlstate)
        try:
            return str(await connection.fetchval(statement))
        finally:
            await connection.close()

    async def _budget_spent(self, strike: Strike) -> bool:
        """The busiest key has no more than two calls left; then its owner buys a thousand."""
        hub = self.hub
        spent = {key: each["calls"] for key, each in (await hub.provider.get("/audit"))["credentials"].items()}
        key = max(hub.keys, key=lambda each: spent.get(each, 0))
        place = list(hub.keys).index(key)
        mine = f"(SELECT fingerprint FROM credentials ORDER BY credential_id OFFSET {place} LIMIT 1)"
        limit = spent.get(key, 0) + 2
        await self.patiently(
            f"UPDATE provider_keys SET calls_per_hour = {limit} WHERE fingerprint = {mine} RETURNING 1"
        )
        await asyncio.sleep(strike.seconds)
        postponed = await self.patiently("SELECT count(*) FROM sync_runs WHERE error_code = 'budget'")
        told = (await hub.provider.get("/audit"))["credentials"][key]["max_in_any_hour"]
        # What was on its way to the provider when the limit was set is not held against it.
        self.over_budget += max(0, told - limit - 2)
        await self.patiently(f"UPDATE provider_keys SET calls_per_hour = NULL WHERE fingerprint = {mine} RETURNING 1")
        await self.patiently(
            "WITH freed AS (UPDATE sync_runs SET not_before = now() WHERE state = 'queued' AND not_before > now()"
            " RETURNING 1) SELECT count(*) + 1 FROM freed"
        )
        return postponed > 0

    async def patiently(self, statement: str, *arguments: object) -> int:
        """A statement's number, as soon as it has one and the database takes it; 0 when it never has."""
        for _ in range(int(self.storm.patience / 0.2)):
            with contextlib.suppress(Later):
                if number := await self.hub.database.fetchval(statement, *arguments):
                    return int(number)
            await asyncio.sleep(0.2)
        return 0

    async def _mutated(self, strike: Strike, there: str, back: str) -> bool:
        done: list[dict[str, Any]] = await self.hub.provider.post("/mutate", kind=there)
        await asyncio.sleep(strike.seconds)
        for each in done:
            key = {"key": each["key"]} if each["key"] else {}
            await self.hub.provider.post("/mutate", kind=back, race_id=each["race_id"], **key)
        return bool(done)

    def missed(self) -> list[Strike]:
        """Planned misfortunes that never struck: a storm without them proves nothing."""
        return [each for each in self.storm.strikes if each not in self.struck]
