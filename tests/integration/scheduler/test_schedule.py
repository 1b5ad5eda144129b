"""The scheduler's loop on a real database: what is asked, promoted and given up, by however many schedulers."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson
import pytest
from prometheus_client import REGISTRY

from scheduler import open_runs, store
from scheduler.foreseeing import foreseeing, plan
from scheduler.handlers import tick
from scheduler.measuring import measure
from scheduler.settings import SchedulerSettings
from scheduler.store import PORTION
from shared.cadences import Cadences
from shared.contracts import SyncRequest
from shared.domain.budget import HOUR
from shared.domain.run import Kind, Mode, Reason, State, SyncClass
from shared.postgres import Database
from shared.postgres.schedules import RaceKey, event_times
from shared.runtime import House
from tests import fakes
from tests.builders import (
    EVENT,
    NOON,
    Tenant,
    a_partner,
    a_race,
    a_race_record,
    a_races_batch,
    a_run,
    at,
    body_of,
)

SETTINGS = SchedulerSettings(jitter=0)
CADENCES = Cadences(SETTINGS, {})


@pytest.fixture
async def tenant(database: Database) -> Tenant:
    """A partner whose discovery is an hour away."""
    tenant = await a_partner(database)
    await database.execute("UPDATE credentials SET discover_due_at = $1", NOON + timedelta(hours=1))
    return tenant


async def requests(database: Database) -> list[SyncRequest]:
    rows = await database.fetch("SELECT body FROM outbox WHERE type = 'sync.request.v1' ORDER BY outbox_id")
    bodies = [body_of(row["body"]) for row in rows]
    return [each for each in bodies if isinstance(each, SyncRequest)]


async def schedule(database: Database) -> dict[str, Any]:
    row = await database.fetchrow("SELECT * FROM race_sync")
    assert row is not None
    return dict(row)


async def state_of(database: Database, run_id: UUID) -> str:
    state: str = await database.fetchval("SELECT state FROM sync_runs WHERE run_id = $1", run_id)
    return state


# -- What is due ------------------------------------------------------------------------------------------------------


async def test_a_race_that_is_due_is_asked_for_once_and_put_off(
    database: Database, house: House, tenant: Tenant
) -> None:
    await a_race(database, tenant)
    for _ in range(2):
        await tick(house, SETTINGS)
    (request,) = await requests(database)
    assert (request.kind, request.reason, request.mode) == (Kind.RACE, Reason.FIRST, Mode.FULL)
    row = await schedule(database)
    assert (row["last_asked_at"], row["next_due_at"], row["round"]) == (NOON, at(60), 1)


@pytest.mark.parametrize(
    ("to_start", "sync_class", "wait"),
    [
        (timedelta(days=10), SyncClass.ROUTINE, timedelta(hours=1)),
        (timedelta(hours=12), SyncClass.NEAR, timedelta(minutes=15)),
        (timedelta(hours=2), SyncClass.RACEDAY, timedelta(minutes=1)),
        (timedelta(minutes=-50), SyncClass.RACEDAY, timedelta(minutes=1)),
    ],
)
async def test_the_nearer_the_start_the_nearer_the_class_and_the_next_ask(
    database: Database, house: House, tenant: Tenant, to_start: timedelta, sync_class: SyncClass, wait: timedelta
) -> None:
    await a_race(database, tenant, starts_at=NOON + to_start, cursor=at(-60), last_full_at=at(-3600))
    await tick(house, SETTINGS)
    assert [each.sync_class for each in await requests(database)] == [sync_class]
    assert (await schedule(database))["next_due_at"] == NOON + wait


async def test_a_race_whose_full_pass_was_the_first_to_lack_somebody_is_asked_for_everybody_in_its_next_round(
    database: Database, house: House, tenant: Tenant
) -> None:
    await a_race(database, tenant, starts_at=NOON + timedelta(hours=2), cursor=at(-60), last_full_at=at(-60))
    await database.execute(
        "INSERT INTO missed SELECT provider_id, timing_partner_id, race_id, gen_random_uuid(), '{7001}', $1, true"
        " FROM race_sync",
        at(-60),
    )
    await tick(house, SETTINGS)
    assert [(each.mode, each.removals) for each in await requests(database)] == [(Mode.FULL, True)]


async def test_a_race_that_is_over_falls_to_a_slow_tail_and_then_stops(
    database: Database, house: House, clock: fakes.ManualClock, tenant: Tenant
) -> None:
    await a_race(database, tenant, starts_at=NOON - timedelta(hours=2), cursor=at(-60), last_full_at=at(-3600))
    await tick(house, SETTINGS)
    assert [each.sync_class for each in await requests(database)] == [SyncClass.ROUTINE]
    assert (await schedule(database))["next_due_at"] == NOON + timedelta(hours=6)
    await database.execute("DELETE FROM outbox")
    await database.execute("UPDATE sync_runs SET state = 'completed'")
    clock.pass_(48 * 3600)
    await tick(house, SETTINGS)
    assert (await schedule(database))["state"] == "over"
    assert [each for each in await requests(database) if each.race_id] == []


async def test_a_virtual_event_is_not_chased_at_its_midnight_and_stays_fresh_while_people_register(
    database: Database, house: House, tenant: Tenant
) -> None:
    await a_race(database, tenant, starts_at=NOON + timedelta(hours=1), cursor=at(-60), last_full_at=at(-3600))
    await database.execute(
        "UPDATE events SET event_type = 'virtual_race', registration_closes_at = $1", NOON + timedelta(days=20)
    )
    await tick(house, SETTINGS)
    row = await schedule(database)
    assert (row["pace"], row["promised_seconds"], row["next_due_at"]) == ("long", 7200, NOON + timedelta(hours=1))
    await database.execute("UPDATE race_sync SET next_due_at = $1", NOON)
    await database.execute("UPDATE events SET starts_at = $1", NOON - timedelta(days=9))  # without an end, and not over
    await tick(house, SETTINGS)
    assert (await schedule(database))["pace"] == "long"


async def test_a_race_follows_its_own_settings_before_its_partners_and_those_before_everybodys(
    database: Database, house: House, tenant: Tenant
) -> None:
    for number, race in enumerate(("1", "2")):
        events = (str(10_000 + number),)
        await a_race(database, tenant, race, events=events, cursor=at(-60), last_full_at=at(-3600))
    other = await a_partner(database)
    await a_race(database, other, "3", events=("10003",), cursor=at(-60), last_full_at=at(-3600))
    for partner, race, settings in (
        (tenant, "", '{"interval_far_seconds": 1800, "near_hours": 48}'),
        (tenant, "2", '{"interval_far_seconds": 600}'),
        (other, "", '{"interval_far_seconds": "now and then"}'),  # by hand, and useless
    ):
        await database.execute("INSERT INTO cadences VALUES ($1, $2, $3)", partner.timing_partner_id, race, settings)
    await tick(house, SETTINGS)
    rows = await database.fetch("SELECT race_id, next_due_at FROM race_sync")
    assert {row["race_id"]: row["next_due_at"] for row in rows} == {"1": at(1800), "2": at(600), "3": at(3600)}


async def test_after_an_outage_a_race_is_asked_for_once_however_many_rounds_were_missed(
    database: Database, house: House, clock: fakes.ManualClock, tenant: Tenant
) -> None:
    """The scheduler was away for hours, and then the fetchers were: one request, and it asks from the newest cursor."""
    gun = NOON + timedelta(hours=3)
    await a_race(database, tenant, starts_at=gun, cursor=at(-60), last_full_at=at(-3600), last_asked_at=at(-7200))
    for _ in range(30):
        await tick(house, SETTINGS)
        clock.pass_(60)
    asked = [each for each in await requests(database) if each.race_id]
    assert len({each.run_id for each in asked}) == 1
    outstanding = "SELECT count(*) FROM sync_runs WHERE race_id IS NOT NULL AND state <> 'completed'"
    assert await database.fetchval(outstanding) == 1
    await database.execute("UPDATE sync_runs SET state = 'completed'")
    await database.execute("UPDATE events SET cursor_at = $1", at(1700))
    await tick(house, SETTINGS)
    assert [each.modified_after for each in await requests(database)][-1] == at(1700)
    assert await database.fetchval(outstanding) == 1


async def test_a_full_pass_is_asked_for_as_race_day_begins_and_only_once(
    database: Database, house: House, clock: fakes.ManualClock, tenant: Tenant
) -> None:
    gun = NOON + timedelta(hours=4, minutes=1)
    await a_race(database, tenant, starts_at=gun, cursor=at(-60), last_full_at=at(-3600))
    await database.execute("UPDATE race_sync SET round = 1")
    modes = []
    for _ in range(4):
        await tick(house, SETTINGS)
        mode = await database.fetchval("SELECT mode FROM sync_runs WHERE state = 'requested' AND race_id IS NOT NULL")
        if mode is not None:
            modes.append(mode)
            await database.execute("UPDATE sync_runs SET state = 'completed'")
            if mode == Mode.FULL:
                await database.execute("UPDATE race_sync SET last_full_at = $1", clock.now())
        clock.pass_(60)
    assert modes == [Mode.INCREMENTAL, Mode.FULL, Mode.INCREMENTAL, Mode.INCREMENTAL]


async def test_an_event_without_a_known_start_is_kept_fresh_and_never_chased(
    database: Database, house: House, tenant: Tenant
) -> None:
    await a_race(database, tenant, starts_at=None, cursor=at(-60), last_full_at=at(-3600))
    await tick(house, SETTINGS)
    assert [each.sync_class for each in await requests(database)] == [SyncClass.ROUTINE]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE credentials SET state = 'refused'",
        "UPDATE credentials SET state = 'disabled'",
        "UPDATE race_sync SET state = 'missing'",
        "UPDATE race_sync SET state = 'refused'",
        "UPDATE public.timing_partners SET api_access_enabled = false",
    ],
)
async def test_nothing_is_asked_under_a_key_or_for_a_race_that_is_not_in_use(
    database: Database, house: House, tenant: Tenant, statement: str
) -> None:
    await a_race(database, tenant)
    await database.execute(statement)
    await tick(house, SETTINGS)
    assert await requests(database) == []


async def test_a_new_key_is_discovered_with_once_an_hour(
    database: Database, clock: fakes.ManualClock, house: House
) -> None:
    await a_partner(database, state="new")
    for _ in range(3):
        await tick(house, SETTINGS)
    assert [(each.kind, each.reason) for each in await requests(database)] == [(Kind.DISCOVER, Reason.FIRST)]
    clock.pass_(3600)
    await database.execute("UPDATE sync_runs SET state = 'completed'")
    await tick(house, SETTINGS)
    assert len(await requests(database)) == 2


async def test_a_key_as_an_operator_inserts_it_is_sealed_and_discovered_with(database: Database, house: House) -> None:
    await database.execute(
        """
        INSERT INTO public.timing_partners (company_name) VALUES ('Invented Timing');
        INSERT INTO public.partner_provider_credentials (provider_id, timing_partner_id, principal, secret)
            VALUES (2, 1, 'a-key', 'an-invented-secret');
        """
    )
    await tick(house, SETTINGS)
    row = await database.fetchrow("SELECT secret, sealed_secret FROM public.partner_provider_credentials, credentials")
    assert row is not None
    assert row["secret"] is None
    assert b"an-invented-secret" not in row["sealed_secret"]
    assert [each.kind for each in await requests(database)] == [Kind.DISCOVER]


async def test_a_start_that_moves_or_is_cancelled_is_followed_from_the_next_discovery_on(
    database: Database, house: House, clock: fakes.ManualClock, tenant: Tenant
) -> None:
    """Earlier, later, to another day, cancelled, and on again."""
    day = "%m/%d/%Y %H:%M"
    eastern, writer = ZoneInfo("America/New_York"), fakes.a_house(database, clock)
    for hours, pace in ((200, "routine"), (3, "raceday"), (5, "near"), (50, "routine"), (None, None), (2, "raceday")):
        start = "" if hours is None else (clock.now() + timedelta(hours=hours)).astimezone(eastern).strftime(day)
        record = a_race_record(event_ids=() if hours is None else (int(EVENT),), start=start)
        run_id = await a_run(database, tenant, str(hours), state=State.RUNNING)
        await fakes.write(writer, a_races_batch(tenant, run_id, [record], fetched_at=clock.now()))
        await database.execute("UPDATE events SET cursor_at = $1", clock.now())
        await database.execute("UPDATE sync_runs SET state = 'completed'")
        await tick(house, SETTINGS)
        row = await schedule(database)
        assert (row["pace"], row["state"]) == (pace, "over" if pace is None else "active"), hours
        clock.pass_(60)


# -- Two schedulers ---------------------------------------------------------------------------------------------------


async def test_two_schedulers_never_ask_for_a_race_twice(
    database: Database, other_database: Database, tenant: Tenant
) -> None:
    number = PORTION + 50
    for race in range(number):
        await a_race(database, tenant, str(race + 1), events=(str(10_000 + race),))
    houses = [fakes.a_house(each, seed=seed) for seed, each in enumerate((database, other_database))]

    async def work(house: House) -> None:
        while await tick(house, SETTINGS):
            pass

    await asyncio.gather(*(work(house) for house in houses))
    await work(houses[0])  # what one had locked, the other passed over
    counted = Counter(each.race_id for each in await requests(database))
    assert (len(counted), set(counted.values())) == (number, {1})
    assert await database.fetchval("SELECT array_agg(DISTINCT round) FROM race_sync") == [1]


async def test_two_schedulers_promote_a_queued_run_once(
    database: Database, other_database: Database, tenant: Tenant
) -> None:
    for race in range(20):
        await a_race(database, tenant, str(race + 1), events=(str(10_000 + race),), next_due_at=at(9999))
        events = (str(10_000 + race),)
        await a_run(database, tenant, str(race + 1), state=State.QUEUED, events=events, deadline_at=None)
    houses = [fakes.a_house(each, seed=seed) for seed, each in enumerate((database, other_database))]
    await asyncio.gather(*(tick(house, SETTINGS) for house in houses))
    assert sorted(Counter(each.run_id for each in await requests(database)).values()) == [1] * 20


# -- Queued runs ------------------------------------------------------------------------------------------------------


async def test_a_queued_run_is_requested_when_its_predecessor_has_ended(
    database: Database, house: House, tenant: Tenant
) -> None:
    await a_race(database, tenant, next_due_at=at(9999))
    before = await a_run(database, tenant, state=State.FETCHED)
    queued = await a_run(database, tenant, state=State.QUEUED, mode=Mode.INCREMENTAL, deadline_at=None)
    await tick(house, SETTINGS)
    assert await state_of(database, queued) == State.QUEUED
    await database.execute("UPDATE sync_runs SET state = 'completed' WHERE run_id = $1", before)
    await database.execute("UPDATE events SET cursor_at = $1", at(-5))
    await tick(house, SETTINGS)
    assert await state_of(database, queued) == State.REQUESTED
    assert [each.modified_after for each in await requests(database)] == [at(-5)]  # the cursor as it stands now


async def test_a_run_without_budget_is_not_requested_before_its_time(
    database: Database, clock: fakes.ManualClock, house: House, tenant: Tenant
) -> None:
    await a_race(database, tenant, next_due_at=at(99_999))
    queued = await a_run(database, tenant, state=State.QUEUED, deadline_at=None, not_before=at(1800))
    clock.pass_(1799)
    await tick(house, SETTINGS)
    assert await state_of(database, queued) == State.QUEUED
    clock.pass_(1)
    await tick(house, SETTINGS)
    assert await state_of(database, queued) == State.REQUESTED


async def test_a_run_that_waited_long_for_its_budget_is_not_given_up_when_it_is_requested(
    database: Database, clock: fakes.ManualClock, house: House, tenant: Tenant
) -> None:
    """A fetcher has its ten minutes from the moment of the request, not from the ask of an hour ago."""
    await a_race(database, tenant, next_due_at=at(99_999))
    queued = await a_run(database, tenant, state=State.QUEUED, deadline_at=None, not_before=at(3600))
    clock.pass_(3600)
    for _ in range(3):
        await tick(house, SETTINGS)
        clock.pass_(1)
    assert await state_of(database, queued) == State.REQUESTED


async def test_the_nearer_class_is_requested_first(
    database: Database, house: House, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_runs, "PORTION", 2)
    order = (SyncClass.BACKFILL, SyncClass.NEAR, SyncClass.RACEDAY, SyncClass.ROUTINE)
    for number, sync_class in enumerate(order):
        race, events = str(number + 1), (str(10_000 + number),)
        await a_race(database, tenant, race, events=events, next_due_at=at(9999))
        await a_run(database, tenant, race, state=State.QUEUED, deadline_at=None, sync_class=sync_class, events=events)
    requested = []
    for _ in range(2):
        await tick(house, SETTINGS)
        requested.append({each.sync_class for each in await requests(database)})
    assert requested == [{SyncClass.RACEDAY, SyncClass.NEAR}, set(SyncClass)]


# -- Giving up --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.RUNNING, State.FETCHED])
async def test_a_run_past_its_deadline_expires_and_its_race_is_asked_for_again(
    database: Database, clock: fakes.ManualClock, house: House, tenant: Tenant, state: State
) -> None:
    await a_race(database, tenant, next_due_at=at(9999), last_asked_at=NOON, cursor=at(-60), last_full_at=at(-60))
    run_id = await a_run(database, tenant, state=state, deadline_at=at(180))
    clock.pass_(180)
    await tick(house, SETTINGS)
    assert await state_of(database, run_id) == state
    clock.pass_(1)
    await tick(house, SETTINGS)
    assert await state_of(database, run_id) == State.EXPIRED
    assert len(await requests(database)) == 1
    told = await database.fetchval("SELECT body FROM outbox WHERE type = 'sync.completed.v1'")
    assert orjson.loads(told)["data"]["outcome"] == "expired"


async def test_a_request_that_no_fetcher_began_is_sent_again(
    database: Database, clock: fakes.ManualClock, house: House, tenant: Tenant
) -> None:
    await a_race(database, tenant, next_due_at=at(9999), last_asked_at=NOON)
    run_id = await a_run(database, tenant, state=State.REQUESTED, deadline_at=None)
    clock.pass_(600)
    await tick(house, SETTINGS)
    assert await requests(database) == []
    clock.pass_(1)
    await tick(house, SETTINGS)
    assert await state_of(database, run_id) == State.REQUESTED
    assert [each.run_id for each in await requests(database)] == [run_id]
    await tick(house, SETTINGS)
    assert len(await requests(database)) == 1  # and again only after as long again


@pytest.mark.parametrize("state", [State.QUEUED, State.REQUESTED])
async def test_a_request_whose_key_was_deleted_ends_and_is_not_sent_again(
    database: Database, clock: fakes.ManualClock, house: House, tenant: Tenant, state: State
) -> None:
    await a_race(database, tenant, next_due_at=at(9999), last_asked_at=NOON)
    run_id = await a_run(database, tenant, state=state, deadline_at=None)
    await database.execute("DELETE FROM public.partner_provider_credentials")
    clock.pass_(601)
    await tick(house, SETTINGS)
    row = await database.fetchrow("SELECT state, error_code FROM sync_runs WHERE run_id = $1", run_id)
    assert row is not None
    assert tuple(row) == ("failed", "key_deleted")
    assert await requests(database) == []


@pytest.mark.parametrize("state", [State.QUEUED, State.COMPLETED, State.FAILED])
async def test_what_waits_in_the_database_or_has_ended_does_not_expire(
    database: Database, clock: fakes.ManualClock, house: House, tenant: Tenant, state: State
) -> None:
    await a_race(database, tenant, next_due_at=at(99_999))
    run_id = await a_run(database, tenant, state=state, deadline_at=None, not_before=at(50_000))
    clock.pass_(7200)
    await tick(house, SETTINGS)
    assert await state_of(database, run_id) == state


async def test_a_run_whose_fetcher_died_is_requested_again(
    database: Database, clock: fakes.ManualClock, house: House, tenant: Tenant
) -> None:
    await a_race(database, tenant, next_due_at=at(99_999))
    run_id = await a_run(database, tenant)
    await database.execute("UPDATE sync_runs SET leased_until = $1", at(180))
    clock.pass_(181)
    await tick(house, SETTINGS)
    assert await state_of(database, run_id) == State.RUNNING
    clock.pass_(3)
    await tick(house, SETTINGS)
    assert await state_of(database, run_id) == State.REQUESTED
    assert [each.run_id for each in await requests(database)] == [run_id]


# -- Many races -------------------------------------------------------------------------------------------------------


async def test_what_is_due_among_twenty_thousand_races_is_found_by_its_index(database: Database) -> None:
    await database.execute(
        """
        INSERT INTO race_sync (provider_id, timing_partner_id, race_id, credential_id, next_due_at)
        SELECT 2, 1, n::text, 1, $1::timestamptz + n * interval '1 second' FROM generate_series(1, 20000) AS n
        """,
        NOON,
    )
    await database.execute("ANALYZE race_sync")
    tenant = await a_partner(database)
    assert (tenant.timing_partner_id, tenant.credential_id) == (1, 1)
    plan = await explained(database, at(5))
    assert any("race_sync_due" in line for line in plan), plan
    assert not any("Seq Scan on race_sync" in line for line in plan), plan


async def test_the_events_of_what_is_due_and_the_next_due_moment_are_found_by_their_indexes(database: Database) -> None:
    await database.execute(
        """
        INSERT INTO events (provider_id, timing_partner_id, event_id, race_id, starts_at, is_volunteer, sub_event_ids,
            fetched_at, first_seen_at, changed_at)
        SELECT 2, 1 + n % 13, n::text, (n / 3)::text, $1, false, '{}', $1, $1, $1 FROM generate_series(1, 20000) AS n
        """,
        NOON,
    )
    await database.execute(
        "INSERT INTO race_sync (provider_id, timing_partner_id, race_id, credential_id, next_due_at)"
        " SELECT 2, 1, n::text, 1, $1::timestamptz + n * interval '1 second' FROM generate_series(1, 20000) AS n",
        NOON,
    )
    await database.execute("ANALYZE events")
    await database.execute("ANALYZE race_sync")
    plans: list[str] = []
    async with database.connection() as connection:
        explaining: Any = Explaining(connection, plans)
        await event_times(explaining, [RaceKey(2, 1, str(number)) for number in range(28)], NOON, HOUR)
        assert any("events_of_race" in line for line in plans), plans
        assert not any("Seq Scan on events" in line for line in plans), plans
        plans.clear()
        await explaining.fetch(NEXT_DUE, at(5))
    assert any("race_sync_due" in line for line in plans), plans
    assert not any("Seq Scan" in line for line in plans), plans


NEXT_DUE = "SELECT min(next_due_at) FROM race_sync WHERE state = 'active' AND next_due_at > $1"  # as in looking.py


class Explaining:
    """A connection that explains what it is asked to fetch."""

    def __init__(self, connection: Any, plans: list[str]) -> None:
        self.connection = connection
        self.plans = plans

    async def fetch(self, sql: str, *arguments: Any) -> list[Any]:
        rows = await self.connection.fetch(f"EXPLAIN {sql}", *arguments)
        self.plans.extend(row[0] for row in rows)
        return []


async def explained(database: Database, now: datetime) -> list[str]:
    """The plan of the statement that looks for due races, as the scheduler sends it."""
    plans: list[str] = []
    async with database.transaction() as connection:
        await store.due_races(Explaining(connection, plans), now, PORTION, CADENCES)  # type: ignore[arg-type]  # uses fetch
    return plans


async def test_what_is_due_is_taken_in_its_order(database: Database, tenant: Tenant) -> None:
    for number in (3, 1, 2):
        await a_race(database, tenant, str(number), events=(f"{EVENT}{number}",), next_due_at=at(-number))
    async with database.transaction() as connection:
        due = await store.due_races(connection, NOON, 2, CADENCES)
    assert [each.key.race_id for each in due] == ["3", "2"]


# -- What stops everybody ----------------------------------------------------------------------------------------------


async def test_a_key_of_an_unknown_platform_waits_and_stops_nobody(
    database: Database, house: House, tenant: Tenant
) -> None:
    """The former system's tables hold keys of platforms that this program does not know (yet)."""
    await database.execute(
        "INSERT INTO partner_provider_credentials (timing_partner_id, provider_id, principal, secret)"
        " VALUES ($1, 3, 'key', 'secret')",
        tenant.timing_partner_id,
    )
    await a_race(database, tenant, next_due_at=NOON)
    await tick(house, SETTINGS)
    await tick(house, SETTINGS)
    async with database.connection() as connection:
        await measure(connection, house.clock.now())
    assert len([each for each in await requests(database) if each.race_id]) == 1


async def test_an_event_whose_end_was_left_before_its_start_is_still_asked_for(
    database: Database, house: House, tenant: Tenant
) -> None:
    """The director moved the start, and the old end stayed."""
    await a_race(database, tenant, next_due_at=NOON)
    await database.execute("UPDATE events SET ends_at = starts_at - interval '2 days'")
    await tick(house, SETTINGS)
    assert len([each for each in await requests(database) if each.race_id]) == 1


async def test_a_request_names_only_events_that_are_still_listed(
    database: Database, house: House, tenant: Tenant
) -> None:
    await a_race(database, tenant, events=(EVENT, "2"), next_due_at=at(9999))
    run_id = await a_run(database, tenant, state=State.QUEUED, events=(EVENT, "2"), deadline_at=None)
    await database.execute("UPDATE events SET missing_at = $1 WHERE event_id = '2'", NOON)
    await tick(house, SETTINGS)
    assert [each.event_ids for each in await requests(database)] == [(EVENT,)]
    await database.execute("UPDATE sync_runs SET state = 'queued' WHERE run_id = $1", run_id)
    await database.execute("UPDATE events SET missing_at = $1", NOON)
    await tick(house, SETTINGS)
    assert await state_of(database, run_id) == State.FAILED


# -- Promises ---------------------------------------------------------------------------------------------------------


async def promises(database: Database, now: datetime, since: float) -> dict[str, float]:
    """What the metrics say of race-day races: behind, followed, and the time kept and broken since the last look."""

    def value(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, {"provider": "runsignup", "pace": "raceday", **labels}) or 0.0

    before = {each: value("hub_promise_seconds_total", outcome=each) for each in ("kept", "broken")}
    async with database.connection() as connection:
        await measure(connection, now, timedelta(seconds=since))
    after = {each: value("hub_promise_seconds_total", outcome=each) - before[each] for each in before}
    return {"behind": value("hub_races_behind"), "followed": value("hub_races_followed"), **after}


async def test_a_promise_is_kept_or_broken_race_by_race_and_its_time_is_counted(
    database: Database, house: House, clock: fakes.ManualClock, tenant: Tenant
) -> None:
    for number in range(3):
        events = (str(10_000 + number),)
        gun = NOON + timedelta(hours=2)
        await a_race(database, tenant, str(number + 1), events=events, starts_at=gun, cursor=at(-60), last_full_at=NOON)
    await tick(house, SETTINGS)
    await database.execute("UPDATE race_sync SET last_confirmed_at = $1", NOON)
    assert await promises(database, at(120), 15) == {"behind": 0, "followed": 3, "kept": 45, "broken": 0}
    await database.execute("UPDATE race_sync SET last_confirmed_at = $1 WHERE race_id = '1'", at(60))
    assert await promises(database, at(130), 15) == {"behind": 2, "followed": 3, "kept": 15, "broken": 30}
    await database.execute("UPDATE credentials SET state = 'disabled'")  # an operator wants nothing of it
    assert await promises(database, at(130), 15) == {"behind": 0, "followed": 0, "kept": 0, "broken": 0}


async def test_a_nearer_pace_breaks_no_promise_by_beginning(
    database: Database, house: House, clock: fakes.ManualClock, tenant: Tenant
) -> None:
    await a_race(database, tenant, starts_at=NOON + timedelta(hours=4, minutes=1), cursor=at(-60), last_full_at=NOON)
    await tick(house, SETTINGS)
    await database.execute("UPDATE race_sync SET last_confirmed_at = $1", at(-600))
    clock.pass_(61)
    await tick(house, SETTINGS)  # race day has begun, and what is known is eleven minutes old
    assert (await promises(database, at(70), 15))["behind"] == 0
    assert (await promises(database, at(61 + 121), 15))["behind"] == 1


async def test_a_first_load_that_does_not_come_breaks_its_promise_however_often_it_is_asked_for(
    database: Database, house: House, clock: fakes.ManualClock, tenant: Tenant
) -> None:
    await a_race(database, tenant, starts_at=NOON + timedelta(hours=2))
    for seconds, behind in ((0, 0), (120, 0), (121, 1), (600, 1)):
        clock.at = at(seconds)
        await database.execute("UPDATE sync_runs SET state = 'failed'")
        await tick(house, SETTINGS)
        assert (await promises(database, clock.now(), 15))["behind"] == behind, seconds


async def test_what_waits_for_the_broker_grows_old_and_what_waits_for_calls_does_not(
    database: Database, house: House, clock: fakes.ManualClock, tenant: Tenant
) -> None:
    async def oldest() -> float | None:
        async with database.connection() as connection:
            await measure(connection, clock.now())
        return REGISTRY.get_sample_value("hub_outbox_oldest_seconds")

    await a_race(database, tenant, next_due_at=NOON)
    await tick(house, SETTINGS)
    clock.pass_(200)
    assert await oldest() == 200
    await database.execute("DELETE FROM outbox")  # as the relay does with what the broker took
    await database.execute("UPDATE sync_runs SET state = 'queued', not_before = $1", clock.now() + HOUR)
    assert await oldest() == 0


# -- Hours that do not fit --------------------------------------------------------------------------------------------


async def crowded(database: Database, tenant: Tenant, gun: datetime, races: int = 40) -> None:
    """Many races with one start on one key."""
    for number in range(races):
        events = (str(10_000 + number),)
        await a_race(database, tenant, str(number + 1), events=events, starts_at=gun, cursor=at(-60), last_full_at=NOON)


async def test_an_hour_that_does_not_fit_is_announced_days_ahead_and_stretches_every_race_alike(
    database: Database, house: House, clock: fakes.ManualClock, tenant: Tenant
) -> None:
    gun = NOON + timedelta(days=3)
    await crowded(database, tenant, gun)
    for _ in range(2):  # safe to repeat
        await plan(house, SETTINGS, clock.now())
        clock.pass_(60)
    rows = await database.fetch("SELECT * FROM key_hours ORDER BY hour")
    assert len(rows) == 5
    assert all(row["announced_at"] == NOON and 210 <= row["interval_seconds"] <= 260 for row in rows)
    async with database.connection() as connection:
        await measure(connection, clock.now())
    labels = {"provider": "runsignup", "key": tenant.fingerprint}
    assert REGISTRY.get_sample_value("hub_budget_hours_over", labels) == 5
    clock.at = gun - timedelta(minutes=30)
    await database.execute("UPDATE race_sync SET last_full_at = $1, round = 1", gun - timedelta(hours=3))
    while await tick(house, SETTINGS):
        pass
    found = await database.fetch("SELECT DISTINCT next_due_at, promised_seconds, pace FROM race_sync")
    (row,) = found
    interval = await database.fetchval("SELECT interval_seconds FROM key_hours WHERE hour = $1", gun - HOUR)
    assert (row["pace"], row["next_due_at"]) == ("raceday", clock.now() + timedelta(seconds=interval))
    assert row["promised_seconds"] == 2 * interval


async def test_an_hour_that_fits_again_is_told_so_and_its_races_go_by_the_minute(
    database: Database, house: House, clock: fakes.ManualClock, tenant: Tenant
) -> None:
    await crowded(database, tenant, NOON + timedelta(minutes=30))
    await plan(house, SETTINGS, NOON)
    assert await database.fetchval("SELECT interval_seconds FROM key_hours WHERE hour = $1", NOON) > 60
    await database.execute("UPDATE provider_keys SET calls_per_hour = 5000")
    await plan(house, SETTINGS, clock.now())
    row = await database.fetchrow("SELECT interval_seconds, announced_at FROM key_hours WHERE hour = $1", NOON)
    assert row is not None
    assert tuple(row) == (None, None)


async def test_where_more_than_race_day_does_not_fit_the_slower_paces_are_promised_less_beforehand(
    database: Database, house: House, clock: fakes.ManualClock, tenant: Tenant
) -> None:
    await crowded(database, tenant, NOON + timedelta(hours=12), races=40)  # near, and no race day until eight hours on
    await database.execute("UPDATE provider_keys SET calls_per_hour = 100")
    await plan(house, SETTINGS, NOON)
    row = await database.fetchrow("SELECT * FROM key_hours WHERE hour = $1", NOON)
    assert row is not None
    assert (row["raceday_races"], row["interval_seconds"], row["announced_at"]) == (0, None, NOON)
    assert row["slowdown"] == pytest.approx((40 * (4 * 1.2 + 2 / 24) + 1) / 90, rel=0.01)
    await tick(house, SETTINGS)
    (told,) = await database.fetch("SELECT DISTINCT next_due_at, promised_seconds, pace FROM race_sync")
    waits = 15 * 60 * row["slowdown"]
    assert (told["pace"], told["promised_seconds"]) == ("near", pytest.approx(2 * waits))
    assert (told["next_due_at"] - NOON).total_seconds() == pytest.approx(waits)
    await plan(house, SETTINGS, at(300))
    assert await database.fetchval("SELECT announced_at FROM key_hours WHERE hour = $1", NOON) == NOON  # said once
    await database.execute("UPDATE provider_keys SET calls_per_hour = 1000")
    await plan(house, SETTINGS, at(600))
    assert await database.fetchval("SELECT count(*) FROM key_hours WHERE slowdown > 1") == 0


class Unhurried(fakes.ManualClock):
    """Whoever sleeps for minutes on this clock sleeps until somebody wakes them."""

    async def sleep(self, seconds: float) -> None:
        await (asyncio.Event().wait() if seconds > 60 else super().sleep(seconds))


async def test_what_a_discovery_found_is_planned_for_at_once(database: Database, tenant: Tenant) -> None:
    house = fakes.a_house(database, Unhurried())
    working = [asyncio.create_task(each) for each in (database.listen(house.bells.ring), foreseeing(house, SETTINGS))]
    try:
        async with asyncio.timeout(20):
            for race, start in ((501, "5/12/2027 10:00"), (502, "5/14/2027 10:00")):
                run_id = await a_run(database, tenant, str(race))
                record = a_race_record(race, event_ids=(race,), start=start)
                await fakes.write(house, a_races_batch(tenant, run_id, [record]))
                hour = datetime(2027, 5, int(start[2:4]), 14, tzinfo=UTC)
                while not await database.fetchval("SELECT 1 FROM key_hours WHERE hour = $1", hour):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
    finally:
        for each in working:
            each.cancel()
        await asyncio.gather(*working, return_exceptions=True)


async def test_what_somebody_else_uses_is_reckoned_with_until_it_has_grown_back(
    database: Database, house: House, tenant: Tenant
) -> None:
    await crowded(database, tenant, NOON + timedelta(minutes=30), races=10)
    await plan(house, SETTINGS, NOON)
    assert await database.fetchval("SELECT count(interval_seconds) FROM key_hours") == 0
    await database.execute("UPDATE provider_keys SET others_calls = 700, others_seen_at = $1", NOON)
    await plan(house, SETTINGS, NOON)
    rows = await database.fetch("SELECT hour, interval_seconds FROM key_hours ORDER BY hour")
    assert [(row["hour"], row["interval_seconds"] is not None) for row in rows] == [(NOON, True), (NOON + HOUR, False)]
