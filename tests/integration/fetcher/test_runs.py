"""A sync request from the claim to the end of the run, against a provider that answers by a script."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest

from fetcher import store
from fetcher.budget import REST
from fetcher.ledger import Granted, Ledger, Wish
from shared.contracts import ParticipantsFetched, ParticipantsRemoved, SyncCompleted, SyncRequest
from shared.domain.run import Kind, Mode, Reason, State, SyncClass
from shared.errors import Later, Never
from shared.postgres import Database
from shared.postgres.asks import ask
from shared.providers.port import Consequence
from shared.runtime import House
from tests import fakes
from tests.builders import NOON, PROVIDER, RACE, Tenant, a_race, a_removal_record, a_run, an_ask, at, body_of
from tests.integration.fetcher.scripted import (
    SETTINGS,
    Provider,
    a_request,
    failing,
    fetch,
    message_of,
    published,
    the_run,
)


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


async def test_nesting_that_no_message_can_carry_costs_one_field(
    database: Database, house: House, tenant: Tenant, provider: Provider
) -> None:
    deep = orjson.Fragment(b"[" * 400 + b"]" * 400)
    provider.people[3]["question_responses"] = deep
    provider.removed = [a_removal_record(6001, modified=-200), a_removal_record(6002, modified=-200)]
    provider.removed[1][1]["user"] = deep
    await database.execute("UPDATE events SET cursor_at = $1, removals_cursor_at = $1", at(-500))
    await fetch(house, provider, await a_request(database, tenant, mode=Mode.INCREMENTAL, removals=True))
    assert isinstance(house.bus, fakes.RecordingBus)
    people, gone = (
        [record for each in house.bus.bodies if isinstance(each, kind) for record in each.records]
        for kind in (ParticipantsFetched, ParticipantsRemoved)
    )
    assert [each["registration_id"] for each in people] == list(range(7000, 7120))
    assert [each["registration_id"] for _, each in gone] == [6001, 6002]


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


async def test_a_full_pass_of_what_starts_within_a_day_asks_for_the_ranges_of_its_bibs_once_an_edition(
    database: Database, house: House, tenant: Tenant, provider: Provider
) -> None:
    await a_race(database, tenant, race_id="502", events=("1", "2", "3"), starts_at=at(86_400))
    await database.execute("UPDATE events SET edition_id = CASE event_id WHEN '3' THEN '3302' ELSE '3301' END")
    await database.execute("UPDATE events SET starts_at = $1 WHERE event_id = '3'", at(30 * 3_600))
    provider.bib_ranges = [{"event_id": 1, "bib_ranges": [{"starting_bib_num": 1, "ending_bib_num": 99}]}]
    await fetch(house, provider, await a_request(database, tenant, race_id="502"))
    asked = [each for each in provider.calls if each["path"].endswith("get-bib-validation-settings")]
    assert [each["race_event_days_id"] for each in asked] == ["3301"]
    _, end = published(house)
    assert end is not None
    assert end.bib_ranges == {"1": ((1, 99),)}


@pytest.mark.parametrize(
    "failure", [failing(each) for each in Consequence if each is not Consequence.EVERYTHING], ids=lambda _: ""
)
async def test_ranges_that_cannot_be_had_hold_nothing_up(
    database: Database, house: House, tenant: Tenant, provider: Provider, failure: Callable[[], object]
) -> None:
    await database.execute("UPDATE events SET edition_id = '3301', starts_at = $1", at(3_600))
    provider.before[5] = failure
    await fetch(house, provider, await a_request(database, tenant))
    batches, end = published(house)
    assert (len(batches), len(provider.calls)) == (3, 5)
    assert end is not None
    assert (end.failure, end.bib_ranges) == (None, {})


async def test_neither_a_far_start_nor_a_pass_of_changes_asks_for_ranges(
    database: Database, house: House, tenant: Tenant, provider: Provider
) -> None:
    await database.execute("UPDATE events SET edition_id = '3301', cursor_at = $1", at(-60))
    far = body_of((await a_request(database, tenant)).message.body)
    await database.execute("UPDATE events SET starts_at = $1", at(3_600))
    changes = body_of((await a_request(database, tenant, mode=Mode.INCREMENTAL)).message.body)
    assert isinstance(far, SyncRequest)
    assert isinstance(changes, SyncRequest)
    assert far.edition_ids == changes.edition_ids == ()


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
    assert behind["reason"] == Reason.OPERATOR  # who waits no longer than for what is planned
    told = body_of(await database.fetchval("SELECT body FROM outbox WHERE type = $1", SyncCompleted.TYPE))
    assert isinstance(told, SyncCompleted)
    assert (told.run_id, told.outcome) == (run_id, State.REPLACED)


async def test_an_ask_that_queues_a_run_while_one_is_put_back_leaves_one_that_waits(
    database: Database, other_database: Database, house: House, tenant: Tenant, provider: Provider
) -> None:
    """Both would be the one that waits: whoever comes second must see what the first did."""
    await database.execute("UPDATE provider_keys SET calls_per_hour = 1")
    asked, asking = asyncio.Event(), list[asyncio.Task[None]]()

    async def ask_again() -> None:
        async with other_database.transaction() as connection:
            await ask(connection, an_ask(tenant, reason=Reason.OPERATOR, needs_fresh=True), house.clock.now())
            asked.set()
            await asyncio.sleep(0.3)  # not committed yet when the run is put back

    async def begin() -> None:
        asking.append(asyncio.create_task(ask_again()))
        await asked.wait()

    provider.before[1] = begin
    await fetch(house, provider, await a_request(database, tenant))
    await asking[0]
    rows = await database.fetch("SELECT state, mode FROM sync_runs ORDER BY state")
    assert [tuple(row.values()) for row in rows] == [(State.QUEUED, Mode.FULL), (State.REPLACED, Mode.FULL)]


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ((SyncClass.ROUTINE, Reason.SCHEDULE), (SyncClass.NEAR, Reason.SCHEDULE)),
        ((SyncClass.NEAR, Reason.FOLLOW_UP), (SyncClass.NEAR, Reason.SCHEDULE)),
    ],
)
async def test_runs_that_wait_for_budget_wait_for_one_freed_call_each(
    database: Database,
    house: House,
    tenant: Tenant,
    provider: Provider,
    first: tuple[SyncClass, Reason],
    last: tuple[SyncClass, Reason],
) -> None:
    """Twenty that all go when one call is free find it taken, and go back: nineteen messages for nothing.

    The last one does not stand in line: it is planned, or nearer.
    """
    await database.execute("UPDATE provider_keys SET calls_per_hour = 3")
    races = [str(900 + number) for number in range(4)]
    for race_id in races:
        await a_race(database, tenant, race_id, events=[f"{race_id}1"])
    ledger = Ledger(database, SETTINGS)
    wish = Wish(PROVIDER.provider_id, tenant.fingerprint, "runsignup:1", SyncClass.NEAR, Reason.OPERATOR, UUID(int=1))
    for ends in (10, 20, 30):
        granted = await ledger.reserve(wish, NOON)
        assert isinstance(granted, Granted)
        await ledger.finish(wish, granted, "ok", at(ends))
    for race_id in races:
        sync_class, reason = last if race_id == races[-1] else first
        request = await a_request(database, tenant, race_id=race_id, sync_class=sync_class, reason=reason)
        await fetch(house, provider, request)
    rows = await database.fetch("SELECT not_before FROM sync_runs ORDER BY race_id")
    assert [row["not_before"] for row in rows] == [at(3610), at(3620), at(3630), at(3610)]
    assert provider.calls == []


async def test_a_throttled_key_puts_its_run_back_until_the_provider_said(
    database: Database, house: House, tenant: Tenant, provider: Provider
) -> None:
    provider.before[1] = failing(Consequence.THROTTLED, "http_429", retry_after=90)
    await fetch(house, provider, await a_request(database, tenant))
    run = await the_run(database)
    assert (run["state"], run["error_code"], run["not_before"]) == ("queued", "throttled", at(90))


async def test_a_key_whose_calls_keep_failing_puts_its_runs_back_for_a_rest(
    database: Database, house: House, tenant: Tenant, provider: Provider
) -> None:
    await database.execute("UPDATE provider_keys SET calls_per_hour = 4")
    request = await a_request(database, tenant)
    provider.before = {number: failing(Consequence.LATER) for number in (1, 2, 3)}
    for _ in provider.before:
        with pytest.raises(Later):
            await fetch(house, provider, request)
    await fetch(house, provider, request)
    run = await the_run(database)
    assert (run["state"], run["error_code"], run["not_before"]) == ("queued", "failing", NOON + REST / 2)
    assert len(provider.calls) == 3


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
    assert await database.fetchval("SELECT failures FROM provider_keys") == 0  # it was an answer, and rests nobody


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


async def test_a_paused_backfill_stops_at_its_page_and_goes_on_there(
    database: Database, house: House, tenant: Tenant, provider: Provider
) -> None:
    await database.execute("UPDATE events SET starts_at = $1", at(-365 * 86400))
    wish = {"reason": Reason.BACKFILL, "sync_class": SyncClass.BACKFILL, "tail": timedelta(days=36500)}
    request = await a_request(database, tenant, **wish)

    async def pause() -> None:
        await database.execute(
            "INSERT INTO backfills (timing_partner_id, state, created_at) VALUES ($1, 'paused', $2)",
            tenant.timing_partner_id,
            NOON,
        )

    provider.before[2] = pause
    await fetch(house, provider, request)
    run = await the_run(database)
    assert (run["state"], run["error_code"], run["pages"]) == (State.QUEUED, "paused", 2)
    await database.execute("UPDATE backfills SET state = 'running'")
    await database.execute("UPDATE sync_runs SET state = 'requested'")
    await fetch(house, provider, request)
    assert [each.get("after_registration_id") for each in provider.calls] == [None, "7049", "7099", "7119"]
    assert published(house)[1] is not None


async def test_a_races_history_is_one_call_and_a_keys_begins_with_the_platform(
    database: Database, house: House, tenant: Tenant, provider: Provider
) -> None:
    wish = {"kind": Kind.HISTORY, "reason": Reason.BACKFILL, "sync_class": SyncClass.BACKFILL}
    await fetch(house, provider, await a_request(database, tenant, race_id=None, **wish))
    assert provider.calls[-1]["start_date"] == "2000-01-01"
    await database.execute("UPDATE sync_runs SET state = 'completed'")
    assert isinstance(house.bus, fakes.RecordingBus)
    house.bus.messages.clear()
    await fetch(house, provider, await a_request(database, tenant, **wish))
    assert provider.calls[-1]["path"] == f"/race/{RACE}"
    assert len(provider.calls) == 2
