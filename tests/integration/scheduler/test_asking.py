"""At most one outstanding request per race: what becomes of an ask when there is one already."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from shared.contracts import SyncRequest
from shared.domain.run import Kind, Mode, Reason, State, SyncClass
from shared.postgres import Database
from shared.postgres.asks import Ask, ask
from tests.builders import NOON, Tenant, a_partner, a_race, a_run, an_ask, at, body_of

CURSOR = at(-60)


@pytest.fixture
async def tenant(database: Database) -> Tenant:
    """A partner with a race that was synced before."""
    tenant = await a_partner(database)
    await a_race(database, tenant, cursor=CURSOR)
    return tenant


async def asked(database: Database, wish: Ask) -> UUID | None:
    async with database.transaction() as connection:
        return await ask(connection, wish, NOON)


async def runs(database: Database) -> list[dict[str, Any]]:
    rows = await database.fetch("SELECT * FROM sync_runs WHERE state <> 'completed' ORDER BY requested_at, state")
    return [dict(row) for row in rows]


async def state_of(database: Database, run_id: UUID | None) -> str:
    state: str = await database.fetchval("SELECT state FROM sync_runs WHERE run_id = $1", run_id)
    return state


async def requests(database: Database) -> list[SyncRequest]:
    rows = await database.fetch("SELECT body FROM outbox WHERE type = 'sync.request.v1' ORDER BY outbox_id")
    bodies = [body_of(row["body"]) for row in rows]
    return [each for each in bodies if isinstance(each, SyncRequest)]


async def test_an_ask_is_a_run_and_its_message(database: Database, tenant: Tenant) -> None:
    run_id = await asked(database, an_ask(tenant))
    assert await state_of(database, run_id) == State.REQUESTED
    (request,) = await requests(database)
    assert (request.run_id, request.event_ids, request.modified_after) == (run_id, ("90011",), CURSOR)


async def test_a_race_with_an_event_never_synced_is_asked_for_in_full(database: Database, tenant: Tenant) -> None:
    await database.execute("UPDATE events SET cursor_at = NULL")
    await asked(database, an_ask(tenant, mode=Mode.INCREMENTAL))
    (request,) = await requests(database)
    assert (request.mode, request.modified_after) == (Mode.FULL, None)


async def test_a_request_uses_the_smallest_of_its_events_cursors(database: Database) -> None:
    tenant = await a_partner(database)
    await a_race(database, tenant, events=("1", "2"), cursor=CURSOR)
    await database.execute("UPDATE events SET cursor_at = $1 WHERE event_id = '2'", at(-600))
    await asked(database, an_ask(tenant))
    assert [each.modified_after for each in await requests(database)] == [at(-600)]


async def test_a_race_that_is_over_is_not_asked_for(database: Database, tenant: Tenant) -> None:
    await database.execute("UPDATE events SET starts_at = $1", NOON - timedelta(hours=50))
    assert await asked(database, an_ask(tenant)) is None
    assert await requests(database) == []


async def test_events_that_left_the_list_or_are_over_are_not_asked_for(database: Database) -> None:
    tenant = await a_partner(database)
    await a_race(database, tenant, events=("1", "2", "3", "10"), cursor=CURSOR)
    await database.execute("UPDATE events SET starts_at = $1 WHERE event_id = '2'", NOON - timedelta(hours=50))
    await database.execute("UPDATE events SET missing_at = $1 WHERE event_id = '3'", NOON)
    await asked(database, an_ask(tenant))
    assert [each.event_ids for each in await requests(database)] == [("1", "10")]


async def test_a_second_ask_joins_the_first(database: Database, tenant: Tenant) -> None:
    first = await asked(database, an_ask(tenant, removals=True))
    assert await asked(database, an_ask(tenant)) == first
    assert len(await requests(database)) == 1


@pytest.mark.parametrize(
    ("stronger", "joined"),
    [
        ({"mode": Mode.FULL}, (Mode.FULL, SyncClass.NEAR, False)),
        ({"sync_class": SyncClass.RACEDAY}, (Mode.INCREMENTAL, SyncClass.RACEDAY, False)),
        ({"removals": True, "sync_class": SyncClass.BACKFILL}, (Mode.INCREMENTAL, SyncClass.NEAR, True)),
    ],
)
async def test_a_stronger_or_nearer_ask_replaces_a_request_and_satisfies_both(
    database: Database, tenant: Tenant, stronger: dict[str, Any], joined: tuple[Mode, SyncClass, bool]
) -> None:
    first = await asked(database, an_ask(tenant, sync_class=SyncClass.NEAR))
    second = await asked(database, an_ask(tenant, **{"sync_class": SyncClass.NEAR, **stronger}))
    assert await state_of(database, first) == State.REPLACED
    assert await database.fetchval("SELECT replaced_by FROM sync_runs WHERE run_id = $1", first) == second
    request = (await requests(database))[-1]
    assert (request.mode, request.sync_class, request.removals) == joined


@pytest.mark.parametrize("waits", [State.QUEUED, State.REQUESTED])
@pytest.mark.parametrize("comes", [Reason.SCHEDULE, Reason.FOLLOW_UP])
async def test_what_is_planned_and_a_follow_up_are_one_planned_request(
    database: Database, tenant: Tenant, waits: State, comes: Reason
) -> None:
    """A follow-up may have to wait for as long as a budget is short: what was due must not wait with it."""
    goes = Reason.FOLLOW_UP if comes is Reason.SCHEDULE else Reason.SCHEDULE
    first = await asked(database, an_ask(tenant, reason=goes, removals=goes is Reason.FOLLOW_UP))
    await database.execute("UPDATE sync_runs SET state = $1", waits)
    second = await asked(database, an_ask(tenant, reason=comes, removals=comes is Reason.FOLLOW_UP))
    assert await state_of(database, first) == State.REPLACED
    request = (await requests(database))[-1]
    assert (request.run_id, request.reason, request.removals) == (second, Reason.SCHEDULE, True)


async def test_an_ask_for_more_events_replaces_a_request_for_fewer(database: Database) -> None:
    tenant = await a_partner(database)
    await a_race(database, tenant, events=("1", "2"), cursor=CURSOR)
    await asked(database, an_ask(tenant, event_ids=("1",)))
    await asked(database, an_ask(tenant, event_ids=("2",)))
    assert [each.event_ids for each in await requests(database)] == [("1",), ("1", "2")]


async def test_a_scheduled_ask_is_content_with_a_run_under_way(database: Database, tenant: Tenant) -> None:
    running = await a_run(database, tenant, mode=Mode.FULL)
    assert await asked(database, an_ask(tenant, sync_class=SyncClass.RACEDAY)) == running


async def test_a_stronger_ask_waits_for_a_weaker_run_under_way(database: Database, tenant: Tenant) -> None:
    await a_run(database, tenant, mode=Mode.INCREMENTAL)
    queued = await asked(database, an_ask(tenant, mode=Mode.FULL))
    assert await state_of(database, queued) == State.QUEUED
    assert await requests(database) == []


@pytest.mark.parametrize("state", [State.RUNNING, State.FETCHED])
async def test_an_ask_that_needs_a_fresh_look_waits_for_the_run_under_way(
    database: Database, tenant: Tenant, state: State
) -> None:
    running = await a_run(database, tenant, mode=Mode.FULL, state=state)
    queued = await asked(database, an_ask(tenant, needs_fresh=True))
    assert queued != running
    assert await state_of(database, queued) == State.QUEUED


async def test_those_who_wait_behind_a_run_are_one_run(database: Database, tenant: Tenant) -> None:
    await a_run(database, tenant, mode=Mode.INCREMENTAL)
    first = await asked(database, an_ask(tenant, needs_fresh=True))
    assert await asked(database, an_ask(tenant, needs_fresh=True)) == first
    stronger = await asked(database, an_ask(tenant, mode=Mode.FULL, removals=True))
    assert await state_of(database, first) == State.REPLACED
    assert await state_of(database, stronger) == State.QUEUED
    assert sorted(each["state"] for each in await runs(database)) == ["queued", "replaced", "running"]


async def test_a_run_put_back_after_its_first_calls_does_not_satisfy_a_fresh_ask(
    database: Database, tenant: Tenant
) -> None:
    old = await a_run(database, tenant, mode=Mode.FULL, state=State.QUEUED, not_before=at(600), deadline_at=None)
    await database.execute("UPDATE sync_runs SET started_at = $1", at(-60))
    fresh = await asked(database, an_ask(tenant, needs_fresh=True, reason=Reason.OPERATOR))
    assert fresh != old
    assert await state_of(database, old) == State.REPLACED
    assert (await requests(database))[-1].mode is Mode.FULL  # what the old one was to bring, the new one brings


async def test_a_nearer_ask_does_not_wait_for_the_budget_that_a_farther_one_waits_for(
    database: Database, tenant: Tenant
) -> None:
    await a_run(database, tenant, mode=Mode.INCREMENTAL, state=State.QUEUED, not_before=at(600), deadline_at=None)
    nearer = await asked(database, an_ask(tenant, sync_class=SyncClass.RACEDAY))
    assert await state_of(database, nearer) == State.REQUESTED


async def test_a_person_who_asks_again_does_not_wait_for_the_calls_that_were_lacking_then(
    database: Database, tenant: Tenant
) -> None:
    """The first ask was put off for an hour, then more calls were allowed."""
    first = await asked(database, an_ask(tenant, reason=Reason.OPERATOR, needs_fresh=True))
    await database.execute("UPDATE sync_runs SET state = 'queued', not_before = $1", NOON + timedelta(hours=1))
    assert await asked(database, an_ask(tenant)) == first
    assert (await runs(database))[0]["not_before"] == NOON + timedelta(hours=1)
    assert await asked(database, an_ask(tenant, reason=Reason.OPERATOR, needs_fresh=True)) == first
    assert (await runs(database))[0]["not_before"] is None


async def test_two_who_ask_at_once_get_one_run(database: Database, other_database: Database, tenant: Tenant) -> None:
    asks = [asked((database, other_database)[number % 2], an_ask(tenant)) for number in range(6)]
    assert len(set(await asyncio.gather(*asks))) == 1
    assert len(await requests(database)) == 1


async def test_discoveries_of_one_key_are_one_run_too(database: Database, other_database: Database) -> None:
    tenant = await a_partner(database)
    asks = [asked((database, other_database)[number % 2], an_ask(tenant, None, mode=Mode.FULL)) for number in range(6)]
    assert len(set(await asyncio.gather(*asks))) == 1


async def test_another_bib_of_a_race_is_another_subject(database: Database, tenant: Tenant) -> None:
    found = {await asked(database, an_ask(tenant, kind=Kind.BIB, bib=bib)) for bib in ("1", "2", "1")}
    assert len(found) == 2


async def test_who_asks_again_and_again_is_asked_for_once_and_once_more_after_a_moment(
    database: Database, tenant: Tenant
) -> None:
    """A finger on the key at the start line: what it pays is bounded, and what it gets is never older than the ask."""

    def pressed() -> Ask:
        return an_ask(tenant, reason=Reason.OPERATOR, needs_fresh=True, spacing=timedelta(seconds=5))

    first = await asked(database, pressed())
    assert await state_of(database, first) == State.REQUESTED
    await database.execute("UPDATE sync_runs SET state = 'completed', started_at = $2 WHERE run_id = $1", first, at(-2))
    again = {await asked(database, pressed()) for _ in range(10)}
    assert len(again) == 1
    (row,) = await runs(database)
    assert (row["state"], row["not_before"]) == (State.QUEUED, at(3))
    await database.execute("UPDATE sync_runs SET state = 'completed', started_at = $1", at(-6))
    assert await state_of(database, await asked(database, pressed())) == State.REQUESTED
