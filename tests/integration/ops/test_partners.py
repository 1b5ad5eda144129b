"""Onboarding: stored, sealed, listed, switched, without any service."""

from pathlib import Path

import pytest

from shared.postgres import Database
from shared.secrets import new_key
from tests.integration.ops.command import SECRET, Hub


async def add(hub: Hub, name: str = "Fast Timing", key: str = "key-1") -> None:
    result = await hub("partner", "add", "--name", name, "--key", key, "--secret", SECRET)
    assert result.code == 0, result.err


async def test_a_key_is_sealed_when_it_is_stored_and_says_what_follows(hub: Hub, database: Database) -> None:
    result = await hub("partner", "add", "--name", "Fast Timing", "--key", "key-1", "--secret", SECRET)
    assert result.code == 0
    assert "once a service runs" in result.said
    row = await database.fetchrow(
        "SELECT k.secret, c.sealed_secret, c.state FROM public.partner_provider_credentials k"
        " JOIN credentials c ON c.credential_id = k.partner_provider_credential_id"
    )
    assert row is not None
    assert row["secret"] is None
    assert SECRET.encode() not in row["sealed_secret"]
    assert row["state"] == "new"


async def test_a_secret_comes_from_standard_input_or_a_file(hub: Hub, database: Database, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    words = ("partner", "add", "--name", "Fast Timing", "--key")
    assert (await hub(*words, "key-1", "--secret", "-", said=f"{SECRET}\n")).code == 0
    assert (await hub(*words, "key-2", "--secret-file", "secret")).code == 0
    assert await database.fetchval("SELECT count(*) FROM credentials") == 2
    assert await database.fetchval("SELECT count(*) FROM public.timing_partners") == 1


async def test_without_a_secret_and_a_terminal_nothing_is_stored(hub: Hub, database: Database) -> None:
    result = await hub("partner", "add", "--name", "Fast Timing", "--key", "key-1")
    assert result.code == 2
    assert "--secret-file" in result.sentence
    assert await database.fetchval("SELECT count(*) FROM public.timing_partners") == 0


async def test_the_same_key_again_replaces_its_secret_and_is_new_again(hub: Hub, database: Database) -> None:
    await add(hub)
    await database.execute("UPDATE credentials SET state = 'refused', state_reason = 'http_401'")
    again = ("partner", "add", "--name", "fast timing", "--key", "key-1", "--secret", SECRET, "--json")
    result = await hub(*again)
    assert result.document["outcome"] == "replaced"
    assert await database.fetchval("SELECT array_agg(state) FROM credentials") == ["new"]


async def test_a_secret_key_that_the_others_were_not_sealed_with_stores_nothing(hub: Hub, database: Database) -> None:
    await add(hub)
    other = Hub(hub.folder, HUB_DATABASE_URL=hub.settings["HUB_DATABASE_URL"])
    result = await other("partner", "add", "--name", "Other", "--key", "key-2", "--secret", SECRET)
    assert result.code == 2
    assert "HUB_SECRET_KEY" in result.sentence
    assert await database.fetchval("SELECT count(*) FROM public.timing_partners") == 1


@pytest.mark.parametrize("key", ["", "c2hvcnQ=", "not base64!"])
async def test_a_secret_key_of_the_wrong_length_is_told_and_not_repeated(hub: Hub, key: str) -> None:
    words = ("partner", "add", "--name", "Fast Timing", "--key", "key-1", "--secret", SECRET)
    result = await hub(*words, HUB_SECRET_KEY=key)
    assert result.code == 2
    assert "HUB_SECRET_KEY" in result.sentence
    assert not key or key not in result.err


async def test_partners_are_listed_with_their_keys_and_never_the_secret(hub: Hub) -> None:
    await add(hub)
    await add(hub, name="A name of three hundred characters " * 7, key="key-2")
    assert "A name" in (await hub("partner", "list")).out
    listed = (await hub("partner", "list", "--json")).document["partners"]
    assert [each["name"][:11] for each in listed] == ["Fast Timing", "A name of t"]
    assert listed[0]["keys"][0]["state"] == "new"
    assert set(listed[0]) == {"partner_id", "name", "enabled", "races", "people", "keys"}


async def test_a_partner_is_disabled_and_enabled_by_name_or_number(hub: Hub, database: Database) -> None:
    await add(hub)
    assert (await hub("partner", "disable", "FAST TIMING")).code == 0
    assert await database.fetchval("SELECT state FROM credentials") == "disabled"
    refused = await hub("partner", "verify", "1")
    assert refused.code == 2
    assert "enable" in refused.sentence
    assert (await hub("sync", "--partner", "1")).code == 2
    assert (await hub("partner", "enable", "1", "--json")).document["state"] == "enabled"
    assert await database.fetchval("SELECT state FROM credentials") == "new"


async def test_an_unknown_partner_is_one_sentence(hub: Hub) -> None:
    await add(hub)
    for words in (("partner", "verify", "Nobody"), ("partner", "disable", "99"), ("sync", "--partner", "Nobody")):
        result = await hub(*words)
        assert result.code == 2
        assert "1 Fast Timing" in result.sentence


async def test_the_key_of_keys_is_changed_without_a_gap(hub: Hub, database: Database) -> None:
    await add(hub)
    former, new = hub.settings["HUB_SECRET_KEY"], new_key()
    assert (await hub("partner", "reseal", HUB_SECRET_KEY=new)).code == 1
    sealed = await database.fetchval("SELECT sealed_secret FROM credentials")
    doctor = await hub("doctor", "--json", HUB_SECRET_KEY=new, HUB_FORMER_SECRET_KEYS=former)
    verdicts = {each["name"]: each["verdict"] for each in doctor.document["findings"]}
    assert verdicts["secret key"] == "warn"
    both = await hub("partner", "reseal", "--json", HUB_SECRET_KEY=new, HUB_FORMER_SECRET_KEYS=former)
    assert both.document == {"keys": 1, "resealed": 1, "unopened": []}
    assert await database.fetchval("SELECT sealed_secret FROM credentials") != sealed
    assert (await hub("partner", "reseal", "--json", HUB_SECRET_KEY=new)).document["resealed"] == 0


async def test_a_rotated_key_stands_beside_the_old_one_until_it_has_worked(hub: Hub, database: Database) -> None:
    await add(hub)
    words = ("partner", "rotate", "1", "--secret", SECRET, "--json")
    first = (await hub(*words, "--key", "key-2")).document
    assert (first["replaces"], first["former_state"], first["accepted"]) == (1, "new", None)
    assert await database.fetchval("SELECT array_agg(state) FROM credentials") == ["new", "new"]
    second = (await hub(*words)).document  # the first never worked: it is dropped
    assert (second["credential_id"], second["replaces"]) == (3, 1)
    rows = await database.fetch("SELECT credential_id, replaces FROM credentials ORDER BY 1")
    assert [tuple(row) for row in rows] == [(1, None), (3, 1)]
    await database.execute("UPDATE credentials SET state = 'disabled' WHERE credential_id = 1")
    await database.execute("UPDATE credentials SET state = 'active' WHERE credential_id = 3")
    assert (await hub("partner", "enable", "1", "--json")).document["keys_changed"] == 0


async def test_two_partners_with_the_same_key_are_told_that_they_share_its_budget(hub: Hub) -> None:
    await add(hub)
    words = ("partner", "add", "--name", "Slow Timing", "--key", "key-1", "--secret", SECRET)
    assert "partner 1's too: they share its budget" in (await hub(*words)).said


async def test_what_is_missing_is_named_where_nobody_can_be_asked(hub: Hub) -> None:
    assert "--name" in (await hub("partner", "add", "--key", "key-1")).sentence
    assert "--key" in (await hub("partner", "add", "--name", "Fast Timing")).sentence
