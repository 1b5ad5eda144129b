"""A fetcher, and a provider that answers by a script."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import format_datetime
from typing import Any
from uuid import UUID

import orjson

from fetcher.calling import Caller
from fetcher.gate import Gate
from fetcher.handlers import on_sync_request
from fetcher.ledger import Ledger
from fetcher.settings import FetcherSettings
from shared.bus.port import Delivery, Message
from shared.contracts import ParticipantsFetched, ParticipantsRemoved, SyncFetched
from shared.domain.run import Mode
from shared.postgres import Database
from shared.postgres.asks import ask
from shared.providers.port import Answer, Call, Consequence, Credential, ProviderFailure
from shared.runtime import House
from tests import fakes
from tests.builders import EVENT, NOON, PROVIDER, Tenant, a_race_record, an_ask

SETTINGS = FetcherSettings(page_size=50, call_attempts=1)


@dataclass
class Provider:
    """People by registration id, served as RunSignUp does; a call may be scripted to fail, or to do something first."""

    clock: fakes.ManualClock
    people: list[dict[str, Any]]
    removed: list[list[Any]] = field(default_factory=list)
    races: list[dict[str, Any]] = field(default_factory=lambda: [a_race_record()])
    bib_ranges: list[dict[str, Any]] = field(default_factory=list)
    ignores_filters: bool = False
    before: dict[int, Callable[[], object]] = field(default_factory=dict)  # by the call's number
    calls: list[dict[str, str]] = field(default_factory=list)

    async def ask(self, call: Call, credential: Credential) -> Answer:
        assert credential.secret == "invented-secret"
        self.calls.append({"path": call.path, **dict(call.parameters)})
        result = self.before.get(len(self.calls), lambda: None)()
        if asyncio.iscoroutine(result):
            await result
        headers = {"date": format_datetime(self.clock.now(), usegmt=True)}
        self.clock.pass_(1)
        return Answer(200, headers, orjson.dumps(self._answer(call.path, self.calls[-1])))

    def _answer(self, path: str, asked: dict[str, str]) -> Any:
        if path.endswith("races"):
            return {"races": [{"race": each} for each in self.races]}
        if path.endswith("get-bib-validation-settings"):
            return {"events": self.bib_ranges}
        if "results_per_page" not in asked:
            return {"race": self.races[0]}
        size = int(asked["results_per_page"])
        behind = 0 if self.ignores_filters else int(asked.get("after_registration_id", 0))
        since = int(asked.get("modified_after_timestamp", 0))
        if path.endswith("removed-participants"):
            gone = [
                record
                for _, record in self.removed
                if record["registration_id"] > behind and record["last_modified_ts"] >= since
            ]
            return [{"event": {"event_id": int(EVENT), "participants": gone[:size]}}]
        there = [each for each in self.people if each["registration_id"] > behind and each["last_modified"] >= since]
        return [{"event": {"event_id": int(EVENT), "participants": []}, "participants": there[:size]}]

    async def close(self) -> None:
        pass


def failing(consequence: Consequence, code: str = "http_503", retry_after: float | None = None) -> Callable[[], object]:
    def fail() -> object:
        raise ProviderFailure("scripted", consequence=consequence, code=code, retry_after=retry_after)

    return fail


async def a_request(database: Database, tenant: Tenant, **wish: Any) -> Delivery:
    """A run that was asked for, and its message."""
    async with database.transaction() as connection:
        run_id = await ask(connection, an_ask(tenant, **{"mode": Mode.FULL, **wish}), NOON)
    assert run_id is not None
    return await message_of(database, run_id)


async def message_of(database: Database, run_id: UUID) -> Delivery:
    row = await database.fetchrow(
        "SELECT * FROM outbox WHERE correlation_id = $1 ORDER BY outbox_id DESC LIMIT 1", run_id
    )
    assert row is not None
    message = Message(str(row["message_id"]), row["type"], row["routing_key"], row["body"], str(run_id))
    return Delivery(message, "fetch", 1, NOON)


@asynccontextmanager
async def fetching(
    house: House, provider: Provider, settings: FetcherSettings = SETTINGS
) -> AsyncIterator[Callable[[Delivery], Any]]:
    """A fetcher at work: hand it requests."""
    ledger = Ledger(house.database, settings)
    gate = Gate(ledger, house.clock, house.bells)
    callers = {PROVIDER.name: Caller(house, PROVIDER, provider, ledger, gate, settings)}
    opening = asyncio.create_task(gate.run())

    async def handle(delivery: Delivery) -> None:
        await on_sync_request(delivery, house=house, settings=settings, callers=callers)

    try:
        yield handle
    finally:
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)


async def fetch(house: House, provider: Provider, delivery: Delivery, settings: FetcherSettings = SETTINGS) -> None:
    async with fetching(house, provider, settings) as handle:
        await handle(delivery)


def published(house: House) -> tuple[list[tuple[int, int, int]], SyncFetched | None]:
    """(attempt, sequence, people) of each batch, and the end."""
    assert isinstance(house.bus, fakes.RecordingBus)
    bodies = house.bus.bodies
    batches = [
        (each.attempt, each.sequence, len(each.records))
        for each in bodies
        if isinstance(each, ParticipantsFetched | ParticipantsRemoved)
    ]
    ends = [each for each in bodies if isinstance(each, SyncFetched)]
    assert len(ends) < 2
    return batches, ends[0] if ends else None


async def the_run(database: Database) -> dict[str, Any]:
    row = await database.fetchrow("SELECT * FROM sync_runs ORDER BY attempt DESC")
    assert row is not None
    return dict(row)
