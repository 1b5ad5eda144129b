"""From an operator's INSERT to everybody identical, and a race morning on top; on both ways to run."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.acceptance.house import QUICK, Hub, distributed_hub, embedded_hub, until


@pytest.fixture(params=["embedded", "distributed"])
async def hub(
    request: pytest.FixtureRequest, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Hub]:
    for name, value in QUICK.items():
        monkeypatch.setenv(name, value)
    if request.param == "embedded":
        async with embedded_hub(database_url, tmp_path) as running:
            yield running
    else:
        amqp_url = request.getfixturevalue("amqp_url")
        async with distributed_hub(database_url, amqp_url, tmp_path) as running:
            yield running


async def test_a_partner_entered_by_sql_is_discovered_loaded_and_kept_in_step(hub: Hub) -> None:
    """The whole way: sealed, verified, discovered, loaded, then mutated and in step again."""
    await hub.onboard()
    await until(hub.loaded, "the first load")
    assert await hub.count("SELECT count(*) FROM partner_provider_credentials WHERE secret IS NOT NULL") == 0
    await hub.is_identical()

    for kind in ("bib_given", "bib_changed", "bib_swapped", "bib_cleared", "registered", "edited", "refunded"):
        await hub.provider.post("/mutate", kind=kind, count=3)
    for kind in ("transferred", "deferred", "cleared", "restored", "bib_given_twice", "start_moved"):
        await hub.provider.post("/mutate", kind=kind, count=1)
    await hub.is_identical()

    async def told() -> bool:
        kinds = await hub.database.fetch("SELECT DISTINCT kind FROM bib_history WHERE reason <> 'first'")
        return {row["kind"] for row in kinds} >= {"given", "changed", "swapped", "cleared", "duplicate"}

    await until(told, "every kind of bib event")
    assert await hub.count("SELECT count(*) FROM participants WHERE removed_at IS NOT NULL") >= 3
    # Who left for different reasons is told as different events, and a transfer is linked to the new registration.
    events = {row["event"] for row in await hub.database.fetch("SELECT DISTINCT event FROM hub.change_feed")}
    assert events >= {"removed", "transferred", "deferred"}
    linked = "SELECT count(*) FROM participants p JOIN participants n ON n.registration_id = p.new_registration_id"
    assert await hub.count(f"{linked} WHERE p.removed_reason = 'transferred' AND n.removed_at IS NULL") > 0
    assert await hub.count("SELECT count(*) FROM dead_letters") == 0
    assert await hub.count("SELECT count(*) FROM quarantine") == 0


async def test_the_first_load_costs_the_fewest_calls_and_one_proof_of_each_key(hub: Hub) -> None:
    """Discovery, ceil(N / 2500) pages and the proving empty page of each race, ranges of bibs on its eve; nothing else,
    but one call a new key.
    """
    await hub.onboard()
    await until(hub.loaded, "the first load")
    fewest = await hub.provider.get("/fewest")
    spent = await hub.database.fetch(
        """
        SELECT k.principal, count(*) AS calls FROM calls c JOIN sync_runs r USING (run_id)
        JOIN partner_provider_credentials k ON k.partner_provider_credential_id = r.credential_id
        WHERE r.reason = 'first' GROUP BY 1
        """
    )
    assert {row["principal"]: row["calls"] for row in spent} == {
        key: each["first_load"] + 1 for key, each in fewest.items()
    }
    soon = "starts_at BETWEEN now() AND now() + interval '1 day'"
    assert await hub.count(f"SELECT count(*) FROM events WHERE {soon} AND bib_ranges IS NOT NULL") > 0
    assert await hub.count(f"SELECT count(*) FROM events WHERE {soon} AND bib_ranges IS NULL") == 0
