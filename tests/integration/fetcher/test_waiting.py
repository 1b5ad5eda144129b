"""A run that waits for a slot, or for a moment: its lease is kept, its deadline does not count."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from uuid import UUID

import pytest

from fetcher.ledger import Granted, Ledger, Wish
from shared.domain.run import Reason, SyncClass
from shared.postgres import Database
from shared.providers.port import Consequence
from shared.runtime import House
from tests import fakes
from tests.builders import NOON, PROVIDER, Tenant, at
from tests.integration.fetcher.scripted import (
    SETTINGS,
    Provider,
    a_request,
    failing,
    fetch,
    fetching,
    published,
    the_run,
)


async def occupy(database: Database, house: House) -> Callable[[], Awaitable[object]]:
    """Let a call of another key be in flight in every slot; how to end them."""
    ledger = Ledger(database, SETTINGS)
    granted: list[tuple[Wish, object]] = []
    for number in range(SETTINGS.calls_in_flight):
        key = f"theirs {number}"
        await database.execute("INSERT INTO provider_keys (provider_id, fingerprint) VALUES (2, $1)", key)
        wish = Wish(PROVIDER.provider_id, key, "runsignup:unregistered", SyncClass.NEAR, Reason.SCHEDULE, UUID(int=1))
        granted.append((wish, await ledger.reserve(wish, house.clock.now())))

    async def end() -> None:
        for wish, each in granted:
            assert isinstance(each, Granted)
            await ledger.finish(wish, each, "ok", house.clock.now())

    return end


async def eventually(database: Database, true: str, *arguments: object) -> None:
    async with asyncio.timeout(10):
        while not await database.fetchval(true, *arguments):  # noqa: ASYNC110 — it happens in the database
            await asyncio.sleep(0.005)


async def test_a_run_that_waits_for_a_slot_keeps_its_lease_and_its_deadline_does_not_count(
    database: Database, clock: fakes.ManualClock, house: House, tenant: Tenant, provider: Provider
) -> None:
    end = await occupy(database, house)
    request = await a_request(database, tenant, deadline_seconds=600)
    async with fetching(house, provider) as handle:
        handling = asyncio.create_task(handle(request))
        await eventually(database, "SELECT 1 FROM call_waiters")
        clock.pass_(50)
        await eventually(database, "SELECT leased_until = $1 FROM sync_runs", at(50 + SETTINGS.lease_seconds))
        run = await the_run(database)
        assert (run["started_at"], run["deadline_at"], run["calls"]) == (None, None, 0)
        await end()
        await handling
    run = await the_run(database)
    assert (run["started_at"], run["deadline_at"], run["calls"]) == (at(50), at(650), 4)


async def test_a_run_that_ended_while_it_waited_for_a_slot_makes_no_call_and_costs_none(
    database: Database, house: House, tenant: Tenant, provider: Provider
) -> None:
    end = await occupy(database, house)
    request = await a_request(database, tenant)
    async with fetching(house, provider) as handle:
        handling = asyncio.create_task(handle(request))
        await eventually(database, "SELECT 1 FROM call_waiters")
        await database.execute("UPDATE sync_runs SET state = 'replaced'")
        await end()
        await handling
    assert provider.calls == []
    assert published(house) == ([], None)
    ours = await database.fetch("SELECT outcome, counts_until FROM calls WHERE fingerprint = $1", tenant.fingerprint)
    assert [tuple(row.values()) for row in ours] == [("unused", NOON)]
    assert await database.fetchval("SELECT count(*) FROM call_slots WHERE leased_until > $1", NOON) == 0


async def test_a_run_whose_fetcher_died_while_it_waited_is_taken_over_after_its_lease(
    database: Database,
    other_database: Database,
    clock: fakes.ManualClock,
    house: House,
    tenant: Tenant,
    provider: Provider,
) -> None:
    await occupy(database, house)
    request = await a_request(database, tenant)
    async with fetching(house, provider) as handle:
        handling = asyncio.create_task(handle(request))
        await eventually(database, "SELECT 1 FROM call_waiters")
        handling.cancel()
        await asyncio.gather(handling, return_exceptions=True)
    clock.pass_(SETTINGS.lease_seconds + 15)  # the slots of the others are leases, too
    await fetch(fakes.a_house(other_database, clock, seed=2), provider, request)
    assert (await the_run(database))["attempt"] == 2
    assert len(provider.calls) == 4


async def test_a_throttle_that_may_be_tried_again_at_once_waits_a_moment(
    database: Database, house: House, tenant: Tenant, provider: Provider
) -> None:
    provider.before[1] = failing(Consequence.THROTTLED, "http_429", retry_after=0)
    await fetch(house, provider, await a_request(database, tenant))
    assert (await the_run(database))["not_before"] == at(5)


async def test_the_moment_before_a_second_try_comes_from_the_randomness_of_the_house(
    database: Database,
    clock: fakes.ManualClock,
    house: House,
    tenant: Tenant,
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(0.001)

    monkeypatch.setattr(clock, "sleep", sleep)
    house.random = Random(5)
    provider.before[1] = failing(Consequence.LATER)
    settings = SETTINGS.model_copy(update={"call_attempts": 2})
    await fetch(house, provider, await a_request(database, tenant), settings)
    assert published(house)[1] is not None
    assert Random(5).uniform(0, 0.5) in slept
