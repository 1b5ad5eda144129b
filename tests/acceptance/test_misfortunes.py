"""What dies, repeats, refuses or lies, and that nobody is lost, doubled or falsely removed by it."""

import asyncio
from pathlib import Path

import pytest

from shared.domain.run import Mode
from tests.acceptance.house import QUICK, SERVICES, distributed_hub, embedded_hub, until
from tests.conftest import Broker
from tests.services import SETTLED_SECONDS

#: Enough people for batches to be on their way when something dies; few enough to load in seconds.
CROWD = (
    "--partners", "3", "--events", "40", "--future-events", "30", "--people", "9000", "--future-people", "8000",
    "--largest-event", "5000", "--latency", "0.05",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in QUICK.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("victim", ["fetcher", "writer", "scheduler", "bib_watcher"])
async def test_a_service_killed_during_the_first_load_costs_nobody(
    victim: str, database_url: str, amqp_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 in the middle, a fresh process takes over, everybody arrives once."""
    monkeypatch.setenv("HUB_LEASE_SECONDS", "3")  # a dead fetcher's runs are taken over after this,
    monkeypatch.setenv("HUB_CALL_SECONDS", "3")  # and its slots ten seconds after this
    async with distributed_hub(database_url, amqp_url, tmp_path, *CROWD) as hub:
        await hub.onboard()

        async def under_way() -> bool:
            return await hub.count("SELECT count(*) FROM participants") > 500

        await until(under_way, "the first batches")
        await hub.kill(victim)
        await hub.start(victim)
        await until(hub.loaded, f"the first load after the {victim} died", 60)
        await hub.is_identical()


async def test_two_and_three_of_each_service_do_the_work_once(database_url: str, amqp_url: str, tmp_path: Path) -> None:
    """Replicas share the work, the budget and the two calls in flight."""
    async with distributed_hub(database_url, amqp_url, tmp_path, *CROWD, start=()) as hub:
        for each in SERVICES:
            await hub.start(each, copies=3 if each == "fetcher" else 2)
        await hub.onboard()
        await until(hub.loaded, "the first load by replicas", 60)
        await hub.is_identical()
        audit = await hub.provider.get("/audit")
        assert audit["max_in_flight"] <= 2
        assert audit["in_flight_violations"] == 0
        added = await hub.count("SELECT count(*) FROM changes WHERE kind = 'added'")
        assert added == await hub.count("SELECT count(*) FROM participants")


async def test_every_service_stops_cleanly_when_told_to(database_url: str, amqp_url: str, tmp_path: Path) -> None:
    """SIGTERM in the middle of work: exit code 0, and whoever starts later finishes it."""
    async with distributed_hub(database_url, amqp_url, tmp_path, *CROWD) as hub:
        await hub.onboard()

        async def under_way() -> bool:
            return await hub.count("SELECT count(*) FROM participants") > 500

        await until(under_way, "the first batches")
        assert await asyncio.gather(*(hub.stop(each) for each in SERVICES)) == [0, 0, 0, 0]
        for each in SERVICES:
            await hub.start(each)
        await until(hub.loaded, "the first load after a restart of everything", 60)
        await hub.is_identical()


async def test_a_broker_that_dies_and_comes_back_loses_nothing(
    database_url: str, broker: Broker, tmp_path: Path
) -> None:
    """kill -9 of RabbitMQ during the first load; the outbox waits, the services come back to it."""
    async with distributed_hub(database_url, broker.url, tmp_path, *CROWD) as hub:
        await until(hub.all_there, "every service to be at work")
        await asyncio.sleep(SETTLED_SECONDS)
        await hub.onboard()

        async def under_way() -> bool:
            return await hub.count("SELECT count(*) FROM participants") > 500

        await until(under_way, "the first batches")
        await broker.kill()
        await broker.start()
        await until(hub.loaded, "the first load after the broker died", 90)
        await hub.is_identical()


async def test_a_refused_key_stops_its_partner_alone(database_url: str, tmp_path: Path) -> None:
    """One bad key among three: it is marked, nothing of it is called again, the others load."""
    async with embedded_hub(database_url, tmp_path) as hub:
        partners = await hub.provider.partners()
        await hub.provider.post("/mutate", kind="key_revoked", key=partners[0].key)
        await hub.onboard()

        async def others_loaded() -> bool:
            return (
                await hub.count("SELECT count(*) FROM credentials WHERE state = 'refused'") == 1
                and await hub.count("SELECT count(*) FROM credentials WHERE last_discovered_at IS NOT NULL") == 2
                and await hub.count(UNLOADED) == 0
            )

        await until(others_loaded, "the refusal and the others' first load")
        spent = (await hub.provider.get("/audit"))["credentials"][partners[0].key]["calls"]
        await asyncio.sleep(QUIET_SECONDS)
        assert (await hub.provider.get("/audit"))["credentials"][partners[0].key]["calls"] == spent == 1


UNLOADED = "SELECT count(*) FROM race_sync WHERE last_full_at IS NULL AND state = 'active'"

#: Longer than the compressed hour between two discoveries: a key that were still in use would be used by then.
QUIET_SECONDS = 4.0


@pytest.mark.parametrize(
    "lie",
    [
        {"kind": "empty_answer", "endpoint": "participants"},
        {"kind": "short_page", "endpoint": "participants"},
        {"kind": "error_body", "endpoint": "participants", "code": 7, "times": 3},
        {"kind": "error_body", "endpoint": "participants", "code": 5, "times": 3},
        {"kind": "html_200", "endpoint": "participants", "times": 3},
        {"kind": "cut_body", "endpoint": "participants", "times": 3},
        {"kind": "http_503", "endpoint": "participants", "times": 3},
        {"kind": "duplicate_row", "endpoint": "participants", "times": 3},
    ],
    ids=lambda lie: f"{lie['kind']}-{lie.get('code', '')}".rstrip("-"),
)
async def test_no_lie_of_the_provider_removes_anybody(
    lie: dict[str, object], database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full pass is asked for while the provider lies; whoever was active stays active."""
    monkeypatch.setenv("HUB_CALL_ATTEMPTS", "1")
    monkeypatch.setenv("HUB_INTERVAL_RACEDAY_SECONDS", "60")  # nothing but what this story asks for
    async with embedded_hub(database_url, tmp_path) as hub:
        await hub.onboard()
        await until(hub.loaded, "the first load")
        active = await hub.count("SELECT count(*) FROM participants WHERE removed_at IS NULL")
        await hub.provider.post("/faults", **lie)
        before = await hub.count("SELECT count(*) FROM calls WHERE finished_at IS NOT NULL")
        asking = asyncio.create_task(hub.ask_for_everything(Mode.FULL))

        async def lied_to() -> bool:
            faults = await hub.provider.get("/faults")
            calls = await hub.count("SELECT count(*) FROM calls WHERE finished_at IS NOT NULL")
            return all(each["struck"] for each in faults) and calls >= before + 3

        await until(lied_to, "the lie to be told")
        assert await hub.count("SELECT count(*) FROM participants WHERE removed_at IS NULL") == active
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await hub.provider.get("/faults")
        assert await hub.count("SELECT count(*) FROM changes WHERE kind = 'removed'") == 0
