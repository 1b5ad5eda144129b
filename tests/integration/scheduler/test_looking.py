"""What a look finds is what a tick would find to do; and when there will be more."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from scheduler.looking import Look, look
from shared.domain.run import Reason, State
from shared.postgres import Database
from tests.builders import NOON, Tenant, a_partner, a_race, a_run, at

IDLE = Look(keys=False, discoveries=False, races=False, runs=False, backfills=False)


async def seen(database: Database, now: datetime = NOON) -> Look:
    async with database.connection() as connection:
        return await look(connection, now, unheard=timedelta(minutes=10), grace=timedelta(seconds=2))


@pytest.fixture
async def tenant(database: Database) -> Tenant:
    tenant = await a_partner(database)
    await database.execute("UPDATE credentials SET discover_due_at = $1", at(3600))
    return tenant


async def test_what_falls_due_is_foreseen_to_the_moment(database: Database, tenant: Tenant) -> None:
    await a_race(database, tenant, next_due_at=at(90))
    assert await seen(database) == Look(False, False, False, False, False, next_at=at(90))
    later = await seen(database, at(90))
    assert later.races
    assert later.next_at == at(3600)
    assert (await seen(database, at(3600))).discoveries


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE credentials SET state = 'disabled'",
        "UPDATE credentials SET state = 'refused'",
        "UPDATE public.timing_partners SET api_access_enabled = false",
    ],
)
async def test_what_is_due_under_a_key_that_is_not_in_use_is_no_work(
    database: Database, tenant: Tenant, statement: str
) -> None:
    await a_race(database, tenant)
    await database.execute("UPDATE credentials SET discover_due_at = $1", NOON)
    assert (await seen(database)).races
    await database.execute(statement)
    assert (await seen(database)).is_idle


async def test_a_key_of_an_unknown_platform_is_no_work(database: Database, tenant: Tenant) -> None:
    await database.execute("UPDATE public.partner_provider_credentials SET provider_id = 3")
    assert await seen(database, at(3600)) == IDLE


async def test_what_is_queued_for_a_backfill_is_no_work_while_that_is_paused(
    database: Database, tenant: Tenant
) -> None:
    await a_run(database, tenant, state=State.QUEUED, reason=Reason.BACKFILL, not_before=at(-1))
    assert (await seen(database)).runs
    await database.execute(
        "INSERT INTO backfills (timing_partner_id, state, created_at) VALUES ($1, 'paused', $2)",
        tenant.timing_partner_id,
        NOON,
    )
    assert (await seen(database)).is_idle


async def test_a_secret_in_clear_and_an_open_backfill_are_work(database: Database, tenant: Tenant) -> None:
    await database.execute("UPDATE public.partner_provider_credentials SET secret = 'in clear'")
    await database.execute(
        "INSERT INTO backfills (timing_partner_id, state, created_at) VALUES ($1, 'planned', $2)",
        tenant.timing_partner_id,
        NOON,
    )
    found = await seen(database)
    assert (found.keys, found.backfills, found.runs) == (True, True, False)


@pytest.mark.parametrize(
    ("state", "values", "due"),
    [
        (State.RUNNING, "leased_until = '{at}', deadline_at = null", timedelta(seconds=2)),
        (State.RUNNING, "leased_until = '2030-01-01', deadline_at = '{at}'", timedelta()),
        (State.FETCHED, "deadline_at = '{at}'", timedelta()),
        (State.REQUESTED, "sent_at = '{at}', deadline_at = null", timedelta(minutes=10)),
        (State.QUEUED, "not_before = '{at}'", timedelta()),
    ],
)
async def test_a_run_is_work_when_it_is_to_be_sent_on_or_given_up(
    database: Database, tenant: Tenant, state: State, values: str, due: timedelta
) -> None:
    await a_run(database, tenant, state=state)
    await database.execute(f"UPDATE sync_runs SET {values.format(at=at(60).isoformat())}")
    assert (await seen(database)).next_at == at(60) + due
    assert not (await seen(database)).runs
    assert (await seen(database, at(60) + due)).runs


async def test_a_run_queued_behind_another_is_no_work_until_that_one_ends(database: Database, tenant: Tenant) -> None:
    await a_run(database, tenant, state=State.QUEUED, not_before=at(-1))
    first = await a_run(database, tenant, state=State.RUNNING)
    await database.execute("UPDATE sync_runs SET leased_until = $1 WHERE run_id = $2", at(600), first)
    assert not (await seen(database)).runs
    await database.execute("UPDATE sync_runs SET state = 'completed' WHERE run_id = $1", first)
    assert (await seen(database)).runs


class Planning:
    """A connection that tells how a statement would be run for any moment, as after its fifth time."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.plan: list[str] = []

    async def fetchrow(self, sql: str, *_arguments: object) -> dict[str, bool]:
        await self.connection.execute(f"SET LOCAL plan_cache_mode = force_generic_plan; PREPARE looked AS {sql}")
        rows = await self.connection.fetch("EXPLAIN EXECUTE looked (now(), '10 min', '2 s', '{2}')")
        self.plan = [row[0] for row in rows]
        return {}


async def test_what_is_due_first_of_many_races_is_found_by_its_index_however_often_it_was_looked_for(
    database: Database, tenant: Tenant
) -> None:
    await database.execute(
        "INSERT INTO race_sync (provider_id, timing_partner_id, race_id, credential_id, next_due_at)"
        " SELECT 2, $1, n::text, $2, $3::timestamptz + n * interval '1 second' FROM generate_series(1, 20000) AS n",
        tenant.timing_partner_id,
        tenant.credential_id,
        NOON,
    )
    await database.execute("ANALYZE race_sync")
    async with database.transaction() as connection:
        planning = Planning(connection)
        await look(planning, NOON, unheard=timedelta(minutes=10), grace=timedelta(seconds=2))  # type: ignore[arg-type]  # uses fetchrow
    assert any("race_sync_due" in line for line in planning.plan), planning.plan
    assert not any("Seq Scan on race_sync" in line for line in planning.plan), planning.plan


def test_nobody_waits_longer_than_the_interval_and_nobody_past_what_is_due() -> None:
    assert IDLE.wait_seconds(NOON, 5.0) == 5.0
    foreseen = Look(False, False, False, False, False, next_at=at(3))
    assert foreseen.wait_seconds(NOON, 5.0) == 3.0
    assert foreseen.wait_seconds(at(4), 5.0) == 0.0
