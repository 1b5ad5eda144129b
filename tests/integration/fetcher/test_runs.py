"""A sync request from the claim to the end of the run, against a provider that answers by a script."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime
from typing import Any
from uuid import UUID

import orjson
import pytest

from fetcher import store
from fetcher.calling import Caller
from fetcher.gate import Gate
from fetcher.handlers import on_sync_request
from fetcher.ledger import Ledger
from fetcher.settings import FetcherSettings
from shared.bus.port import Delivery, Message
from shared.contracts import ParticipantsFetched, ParticipantsRemoved, SyncFetched, SyncRequest
from shared.domain.run import Mode, Reason, State, SyncClass
from shared.errors import Later, Never
from shared.postgres import Database
from shared.postgres.asks import ask
from shared.providers.port import Answer, Call, Consequence, Credential, ProviderFailure
from shared.runtime import House
from tests import fakes
from tests.builders import (
    EVENT,
    NOON,
    PROVIDER,
    Tenant,
    a_participant_record,
    a_partner,
    a_race,
    a_removal_record,
    a_run,
    an_ask,
    at,
)

SETTINGS = FetcherSettings(page_size=50, call_attempts=1)


@dataclass
class Provider:
    """People by registration id, served as RunSignUp does; a call may be scripted to fail, or to do something first."""

    clock: fakes.ManualClock
    people: list[dict[str, Any]]
    removed: list[list[Any]] = field(default_factory=list)
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


@pytest.fixture
async def tenant(database: Database) -> Tenant:
    tenant = await a_partner(database)
    await a_race(database, tenant)
    return tenant


@pytest.fixture
def provider(clock: fakes.ManualClock) -> Provider:
    """A race of 120 people: three pages and the empty one."""
    return Provider(clock, [a_participant_record(7000 + number, modified=-number) for number in range(120)])


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
async def fetching(house: House, provider: Provider) -> AsyncIterator[Callable[[Delivery], Any]]:
    """A fetcher at work: hand it requests."""
    ledger = Ledger(house.database, SETTINGS)
    gate = Gate(ledger, house.clock, house.bells)
    callers = {PROVIDER.name: Caller(house, PROVIDER, provider, ledger, gate, SETTINGS)}
    opening = asyncio.create_task(gate.run())

    async def handle(delivery: Delivery) -> None:
        await on_sync_request(delivery, house=house, settings=SETTINGS, callers=callers)

    try:
        yield handle
    finally:
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)


async def fetch(house: House, provider: Provider, delivery: Delivery) -> None:
    async with fetching(house, provider) as handle:
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


async def test_a_full_pass_goes_on_until_an_empty_page(
    database: Database, house: House, tenant: Tenant, provider: Provider
) -> None:
    await fetch(house, provider, await a_request(database, tenant))
    batches, end = published(house)
    assert batches == [(1, 1, 50), (1, 2, 50), (1, 3, 20)]
    assert end is not None
    assert (end.ranges, end.pages, end.records) == (((1, 1, 3),), 4, 120)
    assert (end.first_call_at, end.first_answer_at, end.newest_modified) == (NOON, NOON, NOON)
    assert [each.get("after_registration_id") for each in provider.calls] == [None, "7049", "7099", "7119"]


async def test_presence_is_told_as_of_the_moment_each_call_was_sent(
    database: Database, house: House, tenant: Tenant, provider: Provider
) -> None:
    await fetch(house, provider, await a_request(database, tenant))
    assert isinstance(house.bus, fakes.RecordingBus)
    moments = [each.fetched_at for each in house.bus.bodies if isinstance(each, ParticipantsFetched)]
    assert moments == [at(0), at(1), at(2)]


async def test_an_incremental_pass_asks_for_what_changed_in_whole_seconds_and_ends_with_a_short_page(
    database: Database, house: House, tenant: Tenant, provider: Provider
) -> None:
    cursor = at(-10.25)
    await database.execute("UPDATE events SET cursor_at = $1", cursor)
    await fetch(house, provider, await a_request(database, tenant, mode=Mode.INCREMENTAL))
    (call,) = provider.calls
    assert call["modified_after_timestamp"] == str(int(cursor.timestamp()))
    assert published(house)[0] == [(1, 1, 12)]


async def test_those_who_left_are_asked_for_since_they_were_last_asked_for(
    database: Database, house: House, tenant: Tenant, provider: Provider
) -> None:
    """Most rounds do not ask: whoever left between two that do is found by the second."""
    await database.execute("UPDATE events SET cursor_at = $1, removals_cursor_at = $2", at(-10), at(-300))
    provider.removed = [a_removal_record(6001, modified=-200), a_removal_record(6002, modified=-400)]
    await fetch(house, provider, await a_request(database, tenant, mode=Mode.INCREMENTAL, removals=True))
    assert published(house)[0] == [(1, 1, 11), (1, 2, 1)]


async def test_a_second_attempt_goes_on_from_the_last_confirmed_page(
    database: Database, house: House, tenant: Tenant, provider: Provider
) -> None:
    request = await a_request(database, tenant)
    provider.before[3] = failing(Consequence.LATER)
    with pytest.raises(Later):
        await fetch(house, provider, request)
    assert published(house)[1] is None  # a pass that failed half-way never looks complete
    await fetch(house, provider, request)
    batches, end = published(house)
    assert batches == [(1, 1, 50), (1, 2, 50), (2, 3, 20)]
    assert end is not None
    assert end.ranges == ((1, 1, 2), (2, 3, 3))
    assert (end.first_call_at, end.first_answer_at) == (NOON, NOON)


async def test_a_page_that_was_sent_and_not_saved_is_sent_again_by_the_next_attempt_alone(
    database: Database, house: House, tenant: Tenant, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, saved, save = await a_request(database, tenant), 0, store.save

    async def save_once(*arguments: Any) -> bool:
        nonlocal saved
        saved += 1
        if saved == 2:
            raise Later("the fetcher dies between the broker's confirmation and the database's")
        return await save(*arguments)

    monkeypatch.setattr(store, "save", save_once)
    with pytest.raises(Later):
        await fetch(house, provider, request)
    await fetch(house, provider, request)
    batches, end = published(house)
    assert batches == [(1, 1, 50), (1, 2, 50), (2, 2, 50), (2, 3, 20)]
    assert end is not None
    assert end.ranges == ((1, 1, 1), (2, 2, 3))


async def test_an_end_that_was_saved_and_not_sent_is_sent_by_the_next_attempt(
    database: Database, house: House, tenant: Tenant, provider: Provider
) -> None:
    request = await a_request(database, tenant)
    await fetch(house, provider, request)
    await database.execute("UPDATE sync_runs SET state = 'requested', leased_until = NULL")  # its lease was over
    assert isinstance(house.bus, fakes.RecordingBus)
    house.bus.messages.clear()
    await fetch(house, provider, request)
    batches, end = published(house)
    assert batches == []
    assert end is not None
    assert (end.attempt, end.ranges) == (2, ((1, 1, 3),))
    assert len(provider.calls) == 4


async def test_two_fetchers_with_one_message_make_one_pass(
    database: Database, other_database: Database, house: House, tenant: Tenant, provider: Provider
) -> None:
    request = await a_request(database, tenant)
    other = fakes.a_house(other_database, provider.clock, seed=2)
    await asyncio.gather(fetch(house, provider, request), fetch(other, provider, request))
    ends = [published(each)[1] for each in (house, other)]
    assert sum(end is not None for end in ends) == 1
    assert len(provider.calls) == 4


@pytest.mark.parametrize("state", [State.REPLACED, State.EXPIRED])
async def test_a_fetcher_whose_run_has_ended_stops_and_tells_of_no_end(
    database: Database, house: House, tenant: Tenant, provider: Provider, state: State
) -> None:
    provider.before[2] = lambda: database.execute("UPDATE sync_runs SET state = $1", state)
    await fetch(house, provider, await a_request(database, tenant))
    assert published(house)[1] is None
    assert len(provider.calls) == 2


async def test_a_message_of_a_run_that_has_ended_costs_no_call(
    database: Database, house: House, tenant: Tenant, provider: Provider
) -> None:
    request = await a_request(database, tenant)
    await database.execute("UPDATE sync_runs SET state = 'completed'")
    await fetch(house, provider, request)
    assert provider.calls == []


# -- No budget is not a failure ---------------------------------------------------------------------------------------


async def test_a_run_without_budget_goes_back_into_the_database_with_what_it_has(
    database: Database, house: House, tenant: Tenant, provider: Provider
) -> None:
    await database.execute("UPDATE provider_keys SET calls_per_hour = 2")
    await fetch(house, provider, await a_request(database, tenant))
    run = await the_run(database)
    assert (run["state"], run["pages"], run["deadline_at"], run["error_code"]) == ("queued", 2, None, "budget")
    assert run["not_before"] == at(3601)  # the first call ended after a second
    assert published(house)[1] is None


async def test_a_run_put_back_half_way_has_a_deadline_again_when_it_goes_on(
    database: Database, clock: fakes.ManualClock, house: House, tenant: Tenant, provider: Provider
) -> None:
    await database.execute("UPDATE provider_keys SET calls_per_hour = 2")
    request = await a_request(database, tenant, deadline_seconds=600)
    await fetch(house, provider, request)
    clock.at = at(3700)
    await database.execute("UPDATE sync_runs SET state = 'requested', not_before = NULL")
    await fetch(house, provider, request)
    run = await the_run(database)
    assert (run["state"], run["started_at"], run["deadline_at"]) == ("running", NOON, at(4300))
    assert published(house)[1] is not None


async def test_a_run_that_is_put_back_hands_its_strength_to_the_one_that_waits_behind(
    database: Database, house: House, tenant: Tenant, provider: Provider
) -> None:
    """Only one of a race may wait: a follow-up behind a full pass must bring what the full pass was to bring."""
    await database.execute("UPDATE provider_keys SET calls_per_hour = 1")
    request = await a_request(database, tenant, removals=True, sync_class=SyncClass.NEAR, reason=Reason.OPERATOR)
    run_id = UUID(request.message.correlation_id)
    queued = await a_run(
        database, tenant, mode=Mode.INCREMENTAL, state=State.QUEUED, deadline_at=None, reason=Reason.FOLLOW_UP
    )
    await fetch(house, provider, request)
    rows = {row["run_id"]: row for row in await database.fetch("SELECT * FROM sync_runs")}
    assert (rows[run_id]["state"], rows[run_id]["replaced_by"]) == (State.REPLACED, queued)
    behind = rows[queued]
    assert (behind["mode"], behind["removals"], behind["sync_class"]) == (Mode.FULL, True, SyncClass.NEAR)


async def test_a_throttled_key_puts_its_run_back_until_the_provider_said(
    database: Database, house: House, tenant: Tenant, provider: Provider
) -> None:
    provider.before[1] = failing(Consequence.THROTTLED, "http_429", retry_after=90)
    await fetch(house, provider, await a_request(database, tenant))
    run = await the_run(database)
    assert (run["state"], run["error_code"], run["not_before"]) == ("queued", "throttled", at(90))


# -- What a failure means ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("consequence", [Consequence.NEVER, Consequence.RACE, Consequence.CREDENTIAL])
async def test_a_refusal_ends_the_run_with_its_reason(
    database: Database, house: House, tenant: Tenant, provider: Provider, consequence: Consequence
) -> None:
    provider.before[1] = failing(consequence, "error_17")
    await fetch(house, provider, await a_request(database, tenant))
    batches, end = published(house)
    assert batches == []
    assert end is not None
    assert end.failure is not None
    assert (end.failure.code, end.failure.consequence) == ("error_17", consequence)
    refused = await database.fetchval("SELECT state FROM credentials") == "refused"
    assert refused is (consequence is Consequence.CREDENTIAL)


async def test_a_refused_caller_registration_stops_all_and_costs_no_run(
    database: Database, house: House, tenant: Tenant, provider: Provider
) -> None:
    provider.before[1] = failing(Consequence.EVERYTHING, "error_6")
    await fetch(house, provider, await a_request(database, tenant))
    assert (await the_run(database))["state"] == "queued"
    assert await database.fetchval("SELECT reason FROM provider_stops") == "error_6"


async def test_an_ignored_filter_is_no_page(
    database: Database, house: House, tenant: Tenant, provider: Provider
) -> None:
    """A server that overlooks `after_registration_id` sends the same people again, for ever."""
    provider.ignores_filters = True
    with pytest.raises(Later):
        await fetch(house, provider, await a_request(database, tenant))
    assert published(house)[0] == [(1, 1, 50)]


async def test_a_key_that_is_not_in_use_is_not_called_with(
    database: Database, house: House, tenant: Tenant, provider: Provider
) -> None:
    request = await a_request(database, tenant)
    await database.execute("UPDATE credentials SET state = 'refused'")
    await fetch(house, provider, request)
    assert provider.calls == []
    end = published(house)[1]
    assert end is not None
    assert end.failure is not None


async def test_every_try_counts_as_a_call(database: Database, house: House, tenant: Tenant, provider: Provider) -> None:
    provider.before[1] = failing(Consequence.LATER)
    with pytest.raises(Later):
        await fetch(house, provider, await a_request(database, tenant))
    row = await database.fetchrow("SELECT outcome, counts_until FROM calls")
    assert row is not None
    assert tuple(row.values()) == ("http_503", NOON + timedelta(hours=1))


async def test_a_hand_written_request_is_asked_for_like_any_other(
    database: Database, house: House, tenant: Tenant, provider: Provider
) -> None:
    written = SyncRequest.model_validate(
        {
            "run_id": UUID(int=7),
            "kind": "race",
            "provider": PROVIDER.name,
            "timing_partner_id": tenant.timing_partner_id,
            "credential_id": tenant.credential_id,
            "race_id": "501",
        }
    )
    await fetch(house, provider, fakes.a_delivery(written))
    assert provider.calls == []
    await fetch(house, provider, await message_of(database, UUID(int=7)))
    assert (await the_run(database))["reason"] == Reason.INJECTED
    assert published(house)[1] is not None


async def test_a_request_of_an_unknown_key_is_never(
    database: Database, house: House, tenant: Tenant, provider: Provider
) -> None:
    request = await a_request(database, tenant)
    await database.execute("DELETE FROM credentials")
    with pytest.raises(Never, match="does not exist"):
        await fetch(house, provider, request)
