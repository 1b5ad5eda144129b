"""Backfills fed tick by tick: what is asked next, how much at once, and when one is over."""

from datetime import timedelta
from typing import Any

import orjson
import pytest

from scheduler.backfilling import feed
from scheduler.handlers import forget_messages, tick
from scheduler.settings import SchedulerSettings
from shared.ops import backfill_switches as switches
from shared.postgres import Database
from shared.runtime import House
from tests.builders import NOON, Tenant, a_partner, a_race

SETTINGS = SchedulerSettings(jitter=0, backfill_runs=3)
LAST_YEAR = NOON - timedelta(days=365)


@pytest.fixture
async def tenant(database: Database) -> Tenant:
    """A partner whose one list is known, with three races of last year and one to come."""
    tenant = await a_partner(database)
    await database.execute("UPDATE credentials SET discover_due_at = $1", NOON + timedelta(days=1))
    for number in range(1, 4):
        await a_race(database, tenant, str(number), events=(f"{number}0", f"{number}1"), starts_at=LAST_YEAR)
    await a_race(database, tenant, "9", events=("90",), next_due_at=NOON + timedelta(days=1))
    return tenant


async def switch(database: Database, name: str, tenant: Tenant) -> Any:
    async with database.transaction() as connection:
        return await getattr(switches, name)(connection, tenant.timing_partner_id, NOON)


async def asked(database: Database) -> list[tuple[str, str | None, list[str]]]:
    rows = await database.fetch(
        "SELECT kind, race_id, event_ids FROM sync_runs WHERE state = 'requested' ORDER BY kind, race_id NULLS FIRST"
    )
    return [(row["kind"], row["race_id"], row["event_ids"]) for row in rows]


async def end(database: Database, state: str = "completed") -> None:
    """Let everything that was asked for end, as the writer would."""
    await database.execute(
        "UPDATE race_sync s SET history_at = $1 FROM sync_runs r WHERE r.race_id = s.race_id AND r.kind = 'history'"
        " AND r.state = 'requested' AND $2 = 'completed'",
        NOON,
        state,
    )
    await database.execute(
        "UPDATE events e SET cursor_at = $1 FROM sync_runs r WHERE e.event_id = ANY(r.event_ids) AND r.kind = 'race'"
        " AND r.state = 'requested' AND $2 = 'completed'",
        NOON,
        state,
    )
    await database.execute("UPDATE sync_runs SET state = $1, finished_at = $2 WHERE state = 'requested'", state, NOON)


async def row(database: Database) -> dict[str, Any]:
    found = await database.fetchrow("SELECT * FROM backfills ORDER BY backfill_id DESC")
    assert found is not None
    return dict(found)


async def listed(database: Database, house: House) -> None:
    """Feed until every race and event is listed."""
    for _ in range(6):
        await feed(house, SETTINGS, NOON)
        if any(kind == "race" for kind, _, _ in await asked(database)):
            return
        await end(database)


async def test_a_plan_lists_the_keys_races_then_each_races_events_and_nobody(
    database: Database, house: House, tenant: Tenant
) -> None:
    await switch(database, "plan", tenant)
    await feed(house, SETTINGS, NOON)
    assert await asked(database) == [("history", None, [])]
    await end(database)
    seen = []
    for _ in range(3):
        await feed(house, SETTINGS, NOON)
        seen += await asked(database)
        await end(database)
    assert seen == [("history", race, []) for race in ("1", "2", "3", "9")]
    await feed(house, SETTINGS, NOON)
    assert (await row(database))["listed_at"] == NOON
    assert (await row(database))["state"] == "planned"
    assert await database.fetchval("SELECT count(*) FROM sync_runs WHERE kind = 'race'") == 0


async def test_past_events_are_asked_for_a_few_races_at_once_in_the_lowest_class(
    database: Database, house: House, tenant: Tenant
) -> None:
    await switch(database, "start", tenant)
    await listed(database, house)
    for _ in range(3):
        await feed(house, SETTINGS, NOON)
    assert await asked(database) == [("race", str(number), [f"{number}0", f"{number}1"]) for number in (1, 2, 3)]
    runs = await database.fetch("SELECT DISTINCT sync_class, reason, mode FROM sync_runs WHERE kind = 'race'")
    assert [tuple(each) for each in runs] == [("backfill", "backfill", "full")]
    await end(database)
    await feed(house, SETTINGS, NOON)
    assert (await row(database))["state"] == "finished"


async def test_a_backfill_stands_beside_the_fresh_and_never_joins_it(
    database: Database, house: House, tenant: Tenant
) -> None:
    await database.execute("UPDATE events SET race_id = '9' WHERE event_id = '10'")
    await switch(database, "start", tenant)
    await listed(database, house)
    await feed(house, SETTINGS, NOON)
    await database.execute("UPDATE race_sync SET next_due_at = $1, state = 'active' WHERE race_id = '9'", NOON)
    await tick(house, SETTINGS)
    rows = await database.fetch("SELECT reason, event_ids FROM sync_runs WHERE race_id = '9' AND kind = 'race'")
    assert {each["reason"]: each["event_ids"] for each in rows}["first"] == ["90"]


async def test_what_was_refused_is_not_asked_for_again_until_another_start(
    database: Database, house: House, tenant: Tenant
) -> None:
    await switch(database, "start", tenant)
    await listed(database, house)
    await database.execute("UPDATE sync_runs SET state = 'failed' WHERE race_id = '1' AND kind = 'race'")
    for _ in range(3):
        await feed(house, SETTINGS, NOON)
        await end(database)
    await feed(house, SETTINGS, NOON)
    assert (await row(database))["state"] == "incomplete"
    await database.execute("UPDATE sync_runs SET requested_at = requested_at - interval '1 minute'")
    assert await switch(database, "start", tenant) == "started"
    await feed(house, SETTINGS, NOON)
    await end(database)  # the list, anew
    await feed(house, SETTINGS, NOON)
    assert await asked(database) == [("race", "1", ["10", "11"])]


async def test_what_expired_is_asked_for_again_three_times(database: Database, house: House, tenant: Tenant) -> None:
    await database.execute("UPDATE events SET cursor_at = $1 WHERE race_id <> '1'", NOON)
    await switch(database, "start", tenant)
    await listed(database, house)
    for _ in range(5):
        await end(database, "expired")
        await feed(house, SETTINGS, NOON)
    assert await database.fetchval("SELECT count(*) FROM sync_runs WHERE kind = 'race'") == 3
    assert (await row(database))["state"] == "incomplete"


async def test_a_paused_one_rests_until_it_is_resumed(database: Database, house: House, tenant: Tenant) -> None:
    await switch(database, "start", tenant)
    await listed(database, house)
    assert await switch(database, "pause", tenant)
    assert not await switch(database, "pause", tenant)
    for _ in range(2):
        await feed(house, SETTINGS, NOON)
        await tick(house, SETTINGS)
    assert await asked(database) == []
    assert await switch(database, "resume", tenant)
    await tick(house, SETTINGS)
    assert await asked(database) != []


async def test_a_cancelled_one_ends_its_runs(database: Database, house: House, tenant: Tenant) -> None:
    await switch(database, "start", tenant)
    await listed(database, house)
    assert await switch(database, "cancel", tenant)
    await feed(house, SETTINGS, NOON)
    assert await asked(database) == []
    codes = await database.fetch("SELECT DISTINCT error_code FROM sync_runs WHERE state = 'failed'")
    assert [each["error_code"] for each in codes] == ["cancelled"]


async def test_a_key_that_waits_for_budget_lets_the_others_go_on(
    database: Database, house: House, tenant: Tenant
) -> None:
    other = await a_partner(database)
    await a_race(database, other, "5", events=("50",), starts_at=LAST_YEAR)
    for each in (tenant, other):
        await switch(database, "start", each)
    await listed(database, house)
    await database.execute(
        "UPDATE sync_runs SET state = 'queued', not_before = $1 WHERE state = 'requested' AND timing_partner_id = $2",
        NOON + timedelta(hours=1),
        tenant.timing_partner_id,
    )
    for _ in range(4):
        await feed(house, SETTINGS, NOON)
        await end(database)
    waiting = await database.fetchval("SELECT count(*) FROM sync_runs WHERE state = 'queued'")
    assert 0 < waiting <= 2
    assert (
        await database.fetchval("SELECT state FROM backfills WHERE timing_partner_id = $1", other.timing_partner_id)
        == "finished"
    )


async def test_after_a_restart_of_the_bus_a_run_goes_on_behind_what_is_written(
    database: Database, house: House, tenant: Tenant
) -> None:
    """Of three pages two are written: the run is requested again as it was then, and is not given up."""
    await switch(database, "start", tenant)
    await listed(database, house)
    run_id = await database.fetchval("SELECT run_id FROM sync_runs WHERE kind = 'race' ORDER BY race_id LIMIT 1")
    progress = {
        "stage": "participants", "last_id": 299, "sequence": 3, "ranges": [[1, 1, 3]], "records": 300, "pages": 3,
        "marks": [[1, 99, 100, 1], [2, 199, 200, 2], [3, 299, 300, 3]],
    }  # fmt: skip
    await database.execute(
        "UPDATE sync_runs SET state = 'running', attempt = 1, started_at = $2, deadline_at = $2, progress = $3"
        " WHERE run_id = $1",
        run_id,
        NOON,
        orjson.dumps(progress).decode(),
    )
    await database.execute(
        "INSERT INTO applied_batches (run_id, attempt, sequence, type, applied_at)"
        " SELECT $1, 1, n, 'participants.fetched.v1', $2 FROM generate_series(1, 2) AS n",
        run_id,
        NOON,
    )
    house.clock.pass_(1)  # type: ignore[attr-defined]
    await forget_messages(house)
    row = await database.fetchrow("SELECT state, progress FROM sync_runs WHERE run_id = $1", run_id)
    assert row is not None
    saved = orjson.loads(row["progress"])
    assert (row["state"], saved["last_id"], saved["ranges"]) == ("requested", 199, [[1, 1, 2]])
    sent = "SELECT count(*) FROM outbox WHERE correlation_id = $1"
    assert await database.fetchval(sent, run_id) == 2
