"""What is stuck, as an operator meets it: seen, understood, replayed or dropped, with a running hub and one command."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest

from shared.postgres.replays import Archived, freeze_records, standing
from tests.acceptance.house import QUICK, Hub, distributed_hub, embedded_hub, until
from tests.integration.ops.command import Hub as Command


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in QUICK.items():
        monkeypatch.setenv(name, value)


def command_of(hub: Hub, database_url: str, folder: Path) -> Command:
    """`hub`, from a shell that knows the database's address and nothing else of the running system."""
    return Command(folder, HUB_DATABASE_URL=database_url, HUB_SECRET_KEY="", HUB_RUNSIGNUP_BASE_URL=hub.provider.url)


def a_batch(race: Any, race_id: str, record: dict[str, object], sequence: int) -> bytes:
    data = {
        "run_id": "00000000-0000-4000-8000-000000000007",
        "attempt": 1,
        "sequence": sequence,
        "provider": "runsignup",
        "timing_partner_id": race["timing_partner_id"],
        "credential_id": race["credential_id"],
        "fetched_at": "2020-01-01T00:00:00Z",
        "race_id": race_id,
        "records": [record],
    }
    return orjson.dumps({"type": "participants.fetched.v1", "data": data})


@pytest.fixture
async def hub(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Hub]:
    """Each service a process, over RabbitMQ."""
    async with distributed_hub(database_url, amqp_url, tmp_path) as running:
        yield running


async def test_stuck_things_are_seen_and_replayed(hub: Hub, database_url: str, tmp_path: Path) -> None:
    command = command_of(hub, database_url, tmp_path)
    await hub.onboard()
    await until(hub.loaded, "the first load")
    race = await hub.database.fetchrow("SELECT * FROM race_sync WHERE state = 'active' ORDER BY race_id LIMIT 1")
    assert race is not None
    race_id = race["race_id"]
    person = {"registration_id": 424242, "event_id": 99, "user": {"first_name": "Ada"}}
    lines = [a_batch(race, "31337", person, sequence) for sequence in (1, 2, 3)] + [a_batch(race, race_id, person, 4)]
    assert (await command("inject", "-", said=b"\n".join(lines).decode())).code == 0

    async def all_stuck() -> bool:
        return await hub.count("SELECT count(*) FROM stuck") == 4

    await until(all_stuck, "three dead letters and a record in quarantine")
    status, listed = await asyncio.gather(command("status"), command("dead-letters", "list", "--json"))
    assert "3 dead letters" in status.said
    assert "RunSignUp 1 foreign_event" in status.said
    letters = listed.document["items"]
    (cause,) = {each["fingerprint"] for each in letters}
    assert {each["reason"] for each in letters} == {"unknown_race"}
    tried = await command("dead-letters", "replay", "--cause", cause)
    assert tried.code == 1
    assert "died again: unknown_race" in tried.said
    await hub.database.execute(
        "INSERT INTO events (provider_id, timing_partner_id, event_id, race_id, is_volunteer, sub_event_ids,"
        " fetched_at, first_seen_at, changed_at, missing_at)"
        " VALUES (2, $1, '99', $2, false, '{}', now(), now(), now(), now())",
        race["timing_partner_id"],
        race_id,
    )
    replayed = await command("quarantine", "replay", "--all")
    assert (replayed.code, replayed.out) == (0, "Done: 1 of 1 done. People: 1 added.\n")

    calls = "SELECT count(*) FROM calls c JOIN sync_runs r USING (run_id) WHERE r.kind = 'replay'"
    again = await command("replay", "records", "--all", "--rate", "100", "--json")
    assert again.code == 0
    assert again.document["state"] == "done"
    assert again.document["done"] == again.document["items"] > 3
    assert again.document["changed"] == {}
    assert await hub.count(calls) == 0

    gone = await hub.database.fetch(
        "SELECT registration_id FROM participants WHERE race_id = $1 AND timing_partner_id = $2 AND event_id <> '99'"
        " AND removed_at IS NULL ORDER BY 1 LIMIT 2",
        race_id,
        race["timing_partner_id"],
    )
    await hub.database.execute(
        "INSERT INTO held_removals (provider_id, timing_partner_id, race_id, run_id, registration_ids, active,"
        " first_call_at, held_at) VALUES (2, $1, $2, gen_random_uuid(), $3, 3, now(), now())",
        race["timing_partner_id"],
        race_id,
        [row["registration_id"] for row in gone],
    )
    approved = await command("removals", "approve", "--race", race_id)
    assert (approved.code, approved.out) == (0, "Done: 1 of 1 done. People: 2 removed.\n")

    # They were not gone: asking the provider again for everybody brings them back, as does any full pass.
    full = await hub.database.fetchval(
        "SELECT run_id FROM sync_runs WHERE race_id = $1 AND timing_partner_id = $2 AND mode = 'full' LIMIT 1",
        race_id,
        race["timing_partner_id"],
    )
    asked = await command("replay", "runs", "--run", str(full), "--json")
    assert (asked.code, asked.document["done"]) == (0, 1)
    await hub.database.execute("UPDATE participants SET removed_at = now() WHERE event_id = '99'")
    await hub.is_identical()


async def test_embedded_too_a_replay_is_rehearsed_begun_watched_and_cancelled(
    database_url: str, tmp_path: Path
) -> None:
    async with embedded_hub(database_url, tmp_path) as hub:
        command = command_of(hub, database_url, tmp_path)
        await hub.onboard()
        await until(hub.loaded, "the first load")
        rehearsed = await command("replay", "records", "--all", "--dry-run")
        assert rehearsed.code == 0
        assert "Would change: nothing" in rehearsed.said
        begun = await command("replay", "records", "--all", "--rate", "0.5", "--no-wait", "--json")
        replay_id = begun.document["replay_id"]
        watching = asyncio.create_task(command("replay", "watch", replay_id))
        assert (await command("replay", "cancel", replay_id)).code == 0
        watched = await watching
        assert watched.code in {1, 3}  # nothing, or some of it
        assert "Cancelled: " in watched.said
        assert (await command("replay", "cancel", replay_id)).code == 2
        listed = (await command("replay", "list")).out
        assert "cancelled" in listed
        assert "records (dry)" in listed


async def test_a_replay_comes_to_its_end_whoever_is_killed(hub: Hub) -> None:
    """kill -9 of each part of it while it goes on and people change: all of it is applied, and nobody is older."""
    await hub.onboard()
    await until(hub.loaded, "the first load")
    async with hub.database.transaction("freezing") as connection:
        begun = await freeze_records(connection, Archived(), replay_id=uuid4(), now=datetime.now(UTC), rate=8.0)
    for kind in ("bib_changed", "transferred", "registered", "edited"):
        await hub.provider.post("/mutate", kind=kind, count=2)

    async def under_way() -> bool:
        return await hub.count("SELECT count(*) FROM replay_items WHERE outcome = 'done'") >= 2

    await until(under_way, "the first items")
    for each in ("writer", "scheduler", "bib_watcher"):
        await hub.kill(each)
        await hub.start(each)
        await asyncio.sleep(0.3)

    async def over() -> bool:
        return (await standing(hub.database, begun.replay_id))["finished_at"] is not None

    await until(over, "the replay to be over", 60)
    found = await standing(hub.database, begun.replay_id)
    assert (found["state"], found["done"]) == ("done", begun.items)
    assert await hub.count("SELECT count(*) FROM dead_letters") == 0
    await hub.is_identical()
