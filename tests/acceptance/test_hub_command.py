"""The operator's command against a running hub: onboarding to fresh, a bib looked up, a key refused and taken again."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from tests.acceptance.house import Hub, embedded_hub, until
from tests.integration.ops.command import Hub as Command


@pytest.fixture
async def hub(database_url: str, tmp_path: Path) -> AsyncIterator[Hub]:
    async with embedded_hub(database_url, tmp_path) as running:
        await running.onboard()
        yield running


@pytest.fixture
def command(database_url: str, tmp_path: Path, hub: Hub) -> Command:
    """`hub`, from a shell that knows the database's address and nothing else of the running system."""
    return Command(tmp_path, HUB_DATABASE_URL=database_url, HUB_SECRET_KEY="", HUB_RUNSIGNUP_BASE_URL=hub.provider.url)


async def sealed(hub: Hub) -> bool:
    return await hub.count("SELECT count(*) FROM credentials") == len(hub.keys)


async def test_a_sync_that_waits_ends_when_everything_is_written_and_identical(hub: Hub, command: Command) -> None:
    await until(lambda: sealed(hub), "the keys to be sealed")
    result = await command("sync", "--wait", "--json")
    assert result.code == 0
    assert result.document["outcome"] == "done"
    partners = result.document["partners"]
    assert [each["written"] for each in partners] == [each["races"] for each in partners]
    assert all(each["discovered"] for each in partners)
    assert "partner 1 done" in result.err  # plain lines where there is no terminal
    found = await hub.compare()
    assert found.compared > 0
    assert (found.missing, found.surplus, found.different) == ([], [], {})

    changed = await hub.provider.post("/mutate", kind="registered", count=3)
    assert changed
    again = await command("sync", "--wait", "--full")
    assert again.code == 0
    assert "All of it was written" in again.said
    assert (await hub.compare()).missing == []

    status = (await command("status", "--json")).document
    assert status["troubles"] == []
    assert all(status["services"].values())
    assert sum(each["people"] for each in status["partners"]) == found.compared + 3
    assert "All is well" in (await command("status")).said
    doctor = await command("doctor", "--json", HUB_SECRET_KEY=hub_key(command))
    assert {each["name"]: each["verdict"] for each in doctor.document["findings"]}["services"] == "ok"
    runs = (await command("history", "--limit", "3", "--json")).document["runs"]
    assert {(each["reason"], each["state"]) for each in runs} == {("operator", "completed")}


def hub_key(command: Command) -> str:
    """Some other key than the running system's: a doctor must say so, and say the rest all the same."""
    return Command(command.folder).settings["HUB_SECRET_KEY"]


async def test_a_verification_says_its_cost_and_finds_who_is_not_as_the_provider_has_them(
    hub: Hub, command: Command
) -> None:
    await until(hub.loaded, "the first load")
    asked = await command("verify")
    assert asked.code == 2
    assert "costs about" in asked.sentence
    assert (await hub.count("SELECT count(*) FROM sync_runs WHERE reason = 'operator'")) == 0

    rows = await hub.database.fetch(
        "SELECT registration_id FROM participants p WHERE removed_at IS NULL AND (SELECT count(*) FROM participants"
        " WHERE registration_id = p.registration_id) = 1 ORDER BY registration_id LIMIT 3"
    )
    changed, lost, intruder = (row["registration_id"] for row in rows)
    await hub.database.execute("UPDATE participants SET bib = 'X1' WHERE registration_id = $1", changed)
    await hub.database.execute("DELETE FROM participants WHERE registration_id = $1", lost)
    await hub.database.execute("UPDATE participants SET registration_id = '1' WHERE registration_id = $1", intruder)
    await hub.provider.post("/mutate", kind="edited", count=1)  # news, and no difference
    result = await command("verify", "--yes", "--json")
    assert result.code == 1
    assert result.document["outcome"] == "different"
    found = {
        each["registration_id"]: (each["kind"], each["fields"])
        for race in result.document["races"]
        for each in race["differences"]
    }
    assert found == {
        changed: ("altered", ["bib"]),
        lost: ("missing", []),
        intruder: ("missing", []),
        "1": ("surplus", []),
    }

    again = await command("verify", "--yes")  # the next pass puts right what was altered or is too many
    assert again.code == 1
    assert f"registration {changed}: different (bib)" in again.said
    assert "registration 1: surplus" in again.said
    assert (await hub.compare()).is_clean


async def test_a_bib_is_looked_up_live_and_its_change_can_be_followed(hub: Hub, command: Command) -> None:
    await until(hub.loaded, "the first load")
    newest = str(await hub.count("SELECT max(feed_first + size) - 1 FROM change_batches"))
    follower = asyncio.create_task(
        command("changes", "--follow", "--json", "--since", newest, "--limit", "1", "--values")
    )
    (given,) = await hub.provider.post("/mutate", kind="bib_given", count=1)
    registration = str(given["registration_id"])
    race_id, number = str(given["race_id"]), str(given["after"])
    result = await command("bib", "--race", race_id, "--number", number, "--json")
    assert result.code == 0
    assert result.document["live"]
    assert registration in {each["registration_id"] for each in result.document["wearers"]}

    followed = await follower
    assert (followed.code, followed.err) == (0, "")
    change = orjson.loads(followed.out)
    assert (change["registration_id"], change["kind"]) == (registration, "updated")
    assert change["fields"]["bib"] == [None, number]

    listed = (await command("bibs", "--race", race_id, "--json")).document["bibs"]
    assert registration in {each["registration_id"] for each in listed if each["bib"] == number}
    nobody = await command("bib", "--race", race_id, "--number", "987654")
    assert (nobody.code, nobody.out) == (0, "Nobody wears it.\n")


async def test_a_refused_key_is_told_and_taken_again_once_it_is_good(hub: Hub, command: Command) -> None:
    await until(hub.loaded, "the first load")
    key, partner_id = next(iter(hub.keys.items()))
    await hub.provider.post("/mutate", kind="key_revoked", key=key)
    refused = await command("partner", "verify", str(partner_id))
    assert refused.code == 1
    assert "was not accepted" in refused.said
    assert key not in refused.out
    sync = await command("sync", "--wait")
    assert sync.code == 3
    assert f"hub partner verify {partner_id}" in sync.said
    for told in ((await command("status")).said, (await command("partner", "list")).said, sync.said):
        assert "refused" in told
        assert "it refused the key: check key and secret" in " ".join(told.split())
    failed = (await command("history", "--failed", "--json")).document["runs"]
    assert failed[0]["error_code"]

    await hub.provider.post("/mutate", kind="key_restored", key=key)
    accepted = await command("partner", "verify", str(partner_id), "--json")
    assert accepted.code == 0
    assert (await command("sync", "--wait")).code == 0
    words = ("partner", "add", "--name", "New", "--key", "no-such-key", "--secret", "-")
    wrong = await command(*words, said="no-such-secret", HUB_SECRET_KEY=hub.secret_key)
    assert wrong.code == 3
    assert "--form v1 or v2" in wrong.said


async def test_an_injected_request_is_fetched_like_any_other(hub: Hub, command: Command) -> None:
    await until(hub.loaded, "the first load")
    row = await hub.database.fetchrow("SELECT * FROM race_sync ORDER BY race_id LIMIT 1")
    assert row is not None
    data = {
        "kind": "race",
        "provider": "runsignup",
        "timing_partner_id": row["timing_partner_id"],
        "credential_id": row["credential_id"],
        "race_id": row["race_id"],
        "mode": "full",
    }
    said = orjson.dumps({"type": "sync.request.v1", "data": data}).decode()
    result = await command("inject", "-", "--json", said=said)
    assert result.document["services_live"]
    run_id = result.document["messages"][0]["run_id"]

    async def written() -> bool:
        state = "SELECT count(*) FROM sync_runs WHERE run_id = $1 AND state = 'completed' AND reason = 'injected'"
        return bool(await hub.count(state, run_id))

    await until(written, "the injected run to be complete")


async def test_a_key_is_rotated_without_a_gap_and_a_wrong_one_changes_nothing(hub: Hub, command: Command) -> None:
    await until(hub.loaded, "the first load")
    pretend = (await hub.provider.partners())[0]
    partner_id = str(hub.keys[pretend.key])
    words = ("partner", "rotate", partner_id, "--form", pretend.form, "--json", "--secret")
    refused = await command(*words, "never-issued-00", HUB_SECRET_KEY=hub.secret_key)
    assert refused.code == 3, refused.out
    assert (refused.document["accepted"], refused.document["former_state"]) == (False, "active")
    assert "it refused the key: check key and secret" in refused.document["reason"]
    status = " ".join((await command("status")).said.split())
    assert f"meant to replace credential {refused.document['replaces']}, is refused" in status
    assert f"then: hub partner rotate {partner_id}" in status
    done = await command(*words, pretend.secret, HUB_SECRET_KEY=hub.secret_key)
    assert done.code == 0, done.out
    assert done.document["accepted"]
    assert done.document["races"]
    await until(lambda: taken_over(hub, done.document), "the new key to take over")
    await hub.is_identical()
    assert await hub.count("SELECT count(*) FROM sync_runs WHERE error_code = 'key_disabled'") == 0


async def taken_over(hub: Hub, document: dict[str, int]) -> bool:
    old = "SELECT count(*) FROM credentials WHERE credential_id = $1 AND state = 'disabled'"
    return bool(await hub.count(old, document["replaces"]))
