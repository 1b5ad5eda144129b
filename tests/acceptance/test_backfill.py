"""All history: planned, started, paused, killed, and complete in the end; and what it may cost the fresh: nothing."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.ops import backfill_switches as switches
from shared.postgres import Connection
from tests.acceptance.house import SERVICES, Hub, distributed_hub, embedded_hub, until
from tests.integration.ops.command import Hub as Command


async def test_history_is_planned_started_and_complete(database_url: str, tmp_path: Path) -> None:
    """The plan spends a call a list and a race; the dry run nothing; the end is everybody of every year, identical."""
    async with embedded_hub(database_url, tmp_path) as hub:
        command = Command(tmp_path, HUB_DATABASE_URL=database_url, HUB_SECRET_KEY="")
        await hub.onboard()
        await until(hub.loaded, "the first load")
        spent = "SELECT count(*) FROM calls c JOIN sync_runs r USING (run_id) WHERE r.reason = 'backfill'"

        assert (await command("backfill", "status", "--wait")).said.startswith("There is no backfill")
        plan = await command("backfill", "plan", "--json")
        races = await hub.count("SELECT count(*) FROM race_sync")
        assert await hub.count(spent) == len(hub.keys) + races
        described = plan.document["partners"]
        assert sum(each["races"] for each in described) == races
        assert all(each["races_unlisted"] == 0 for each in described)
        lacking = sum(each["events"] - each["events_loaded"] for each in described)
        assert lacking > 0
        assert plan.document["calls"] > 0

        dry = await command("backfill", "start", "--dry-run")
        assert "Nothing was changed" in dry.said
        assert await hub.count("SELECT count(*) FROM backfills WHERE state <> 'planned'") == 0

        assert (await command("backfill", "start")).code == 0
        done = await command("backfill", "status", "--wait")
        assert done.code == 0, done.out
        status = (await command("backfill", "status", "--json")).document["partners"]
        assert {each["state"] for each in status} == {"finished"}
        assert all(each["events"] == each["events_loaded"] for each in status)
        assert await hub.count(spent) - len(hub.keys) - races == plan.document["calls"]
        found = await hub.compare("all")
        assert (found.missing, found.surplus, found.different) == ([], [], {})
        assert await hub.count("SELECT count(*) FROM sync_runs WHERE reason = 'follow_up'") == 0
        # The schedule shows the past races for over, and asks for none of them.
        assert await hub.count("SELECT count(*) FROM events WHERE missing_at IS NOT NULL") == 0


HISTORY = (
    "--partners", "3", "--events", "40", "--future-events", "4", "--people", "2000", "--future-people", "400",
    "--largest-event", "200", "--latency", "0.1",
)  # fmt: skip


async def test_after_a_kill_of_everything_it_goes_on_at_the_page(
    database_url: str, amqp_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 of every service: the pages fetched twice are at most those in flight."""
    for name, value in {"LEASE_SECONDS": "3", "CALL_SECONDS": "3", "PAGE_SIZE": "50", "BACKFILL_RUNS": "4"}.items():
        monkeypatch.setenv(f"HUB_{name}", value)
    async with distributed_hub(database_url, amqp_url, tmp_path, *HISTORY) as hub:
        await hub.onboard()
        await until(hub.loaded, "the first load")
        await _switch(hub, switches.start)
        await until(lambda: _pages(hub, 10), "some pages of the past")
        for each in SERVICES:
            await hub.kill(each)
        for each in SERVICES:
            await hub.start(each)
        await until(lambda: _pages(hub, 18), "pages after the kill")
        await _switch(hub, switches.pause)
        await until(lambda: _rests(hub), "the runs to rest")
        await _switch(hub, switches.resume)
        await until(lambda: _finished(hub), "the end", 90)
        twice = await hub.count(
            "SELECT (SELECT count(*) FROM calls c JOIN sync_runs r USING (run_id)"
            "   WHERE r.reason = 'backfill' AND r.kind = 'race' AND c.outcome IS DISTINCT FROM 'unused')"
            " - (SELECT sum(pages) FROM sync_runs WHERE reason = 'backfill' AND kind = 'race')"
        )
        assert 0 <= twice <= 4
        found = await hub.compare("all")
        assert (found.missing, found.surplus, found.different) == ([], [], {})


async def _switch(hub: Hub, switch: Callable[[Connection, int, datetime], Awaitable[object]]) -> None:
    """What the command does, for every partner."""
    for partner_id in hub.keys.values():
        async with hub.database.transaction("switching") as connection:
            await switch(connection, partner_id, datetime.now(UTC))


async def _finished(hub: Hub) -> bool:
    return await hub.count("SELECT count(*) FROM backfills WHERE state = 'finished'") == len(hub.keys)


async def _pages(hub: Hub, number: int) -> bool:
    pages = "SELECT coalesce(sum(pages), 0) FROM sync_runs WHERE reason = 'backfill' AND kind = 'race'"
    return await hub.count(pages) >= number


async def _rests(hub: Hub) -> bool:
    going = "SELECT count(*) FROM sync_runs WHERE reason = 'backfill' AND state IN ('requested', 'running')"
    return await hub.count(going) == 0
