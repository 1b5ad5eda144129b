"""When what a command stands on is broken: one sentence, the right exit code, no password."""

import asyncio
import signal
from pathlib import Path

import pytest

from shared.postgres import Database
from tests.integration.ops.command import SECRET, Hub

NOWHERE = f"postgresql://operator:{SECRET}@127.0.0.1:1/hub"


async def test_a_database_that_cannot_be_reached_is_one_sentence_with_the_next_step(tmp_path: Path) -> None:
    for words in (("status",), ("migrate",), ("sync", "--wait"), ("partner", "list")):
        result = await Hub(tmp_path, HUB_DATABASE_URL=NOWHERE)(*words)
        assert result.code == 1
        assert "127.0.0.1:1" in result.sentence
        assert "HUB_DATABASE_URL" in result.sentence


async def test_services_that_find_no_database_or_no_broker_say_what_to_do(hub: Hub, tmp_path: Path) -> None:
    result = await Hub(tmp_path, HUB_DATABASE_URL=NOWHERE)("up")
    assert (result.code, "HUB_DATABASE_URL" in result.sentence) == (1, True)
    result = await hub("up", HUB_AMQP_URL=f"amqp://hub:{SECRET}@127.0.0.1:1/")
    assert (result.code, "HUB_AMQP_URL" in result.sentence) == (1, True)


async def test_a_database_address_that_is_none_is_a_wrong_setting(tmp_path: Path) -> None:
    result = await Hub(tmp_path, HUB_DATABASE_URL=f"postgresql://operator:{SECRET}/x@127.0.0.1:1/hub")("status")
    assert result.code == 2
    assert "HUB_DATABASE_URL" in result.sentence


async def test_the_debug_option_shows_where_and_still_no_password(tmp_path: Path) -> None:
    process = await Hub(tmp_path, HUB_DATABASE_URL=NOWHERE).start("status", "--debug")
    _, err = await process.communicate()
    assert process.returncode == 1
    assert b"Traceback" in err
    assert SECRET.encode() not in err


async def test_a_broken_env_file_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"HUB_METRICS_PORT=\xff\xfe\n")
    result = await Hub(tmp_path, HUB_DATABASE_URL=NOWHERE)("status")
    assert result.code == 2
    assert ".env" in result.sentence
    (tmp_path / ".env").write_text(f"HUB_METRICS_PORT={SECRET}\n")
    result = await Hub(tmp_path, HUB_DATABASE_URL=NOWHERE)("status")
    assert result.code == 2
    assert "HUB_METRICS_PORT" in result.sentence


async def test_an_empty_database_is_told_to_be_migrated_and_is(empty_database_url: str, tmp_path: Path) -> None:
    hub = Hub(tmp_path, HUB_DATABASE_URL=empty_database_url)
    result = await hub("status")
    assert result.code == 1
    assert "hub migrate" in result.sentence
    assert (await hub("migrate", "--check")).code == 1
    first = await hub("migrate", "--json")
    assert first.document["applied"][0] == {"version": 1, "name": "create_core"}
    assert (await hub("migrate", "--json")).document["applied"] == []
    assert (await hub("migrate", "--check")).code == 0
    assert (await hub("status")).code == 0


async def test_passwords_of_roles_that_are_none_are_a_wrong_setting(hub: Hub) -> None:
    for text in (
        SECRET,
        f"hub_fetcher={SECRET},=",
        f"hub_fetcher={SECRET},hub_writer=pässwort",
        f"hub_dispatcher={SECRET}",
    ):
        result = await hub("migrate", HUB_ROLE_PASSWORDS=text)
        assert result.code == 2
        assert "HUB_ROLE_PASSWORDS" in result.sentence


async def test_a_database_of_a_newer_program_is_left_alone(hub: Hub, database: Database) -> None:
    await database.execute("INSERT INTO hub.schema_migrations VALUES (9999, 'of the future', 'x', clock_timestamp())")
    for words in (("migrate",), ("status",), ("sync",)):
        result = await hub(*words)
        assert result.code == 1
        assert "9999" in result.sentence
    doctor = await hub("doctor", "--json")
    assert doctor.code == 1
    (schema,) = (each for each in doctor.document["findings"] if each["name"] == "schema")
    assert (schema["verdict"], "9999" in schema["detail"]) == ("bad", True)
    assert schema["remedy"] == "install the newer program, or restore the database it belongs to"


def verdicts(document: dict[str, list[dict[str, str]]]) -> dict[str, str]:
    return {each["name"]: each["verdict"] for each in document["findings"]}


async def test_a_doctor_finds_everything_that_cannot_be_reached(tmp_path: Path) -> None:
    hub = Hub(
        tmp_path,
        HUB_DATABASE_URL=NOWHERE,
        HUB_AMQP_URL=f"amqp://operator:{SECRET}@127.0.0.1:1/",
        HUB_RUNSIGNUP_BASE_URL="http://127.0.0.1:1/rest",
    )
    result = await hub("doctor", "--json")
    assert result.code == 1
    found = verdicts(result.document)
    assert [found[each] for each in ("settings", "database", "broker", "provider")] == ["ok", "bad", "bad", "bad"]
    assert found["secret key"] == "skipped"
    assert all(each["remedy"] for each in result.document["findings"] if each["verdict"] == "bad")
    assert (await hub("doctor")).code == 1


async def test_a_doctor_finds_a_secret_key_that_opens_nothing(hub: Hub) -> None:
    await hub("partner", "add", "--name", "Fast Timing", "--key", "key-1", "--secret", SECRET)
    assert verdicts((await hub("doctor", "--json")).document)["secret key"] == "ok"
    other = Hub(hub.folder, HUB_DATABASE_URL=hub.settings["HUB_DATABASE_URL"])
    assert verdicts((await other("doctor", "--json")).document)["secret key"] == "bad"


async def test_a_doctor_greets_a_real_broker(hub: Hub, amqp_url: str) -> None:
    result = await hub("doctor", "--json", HUB_AMQP_URL=amqp_url)
    assert verdicts(result.document)["broker"] == "ok"


async def test_without_an_address_the_embedded_database_is_started_for_the_time_it_is_needed(tmp_path: Path) -> None:
    hub = Hub(tmp_path, HUB_SECRET_KEY="")
    result = await hub("partner", "add", "--name", "Fast Timing", "--key", "key-1", "--secret", SECRET)
    assert (result.code, result.err) == (0, "")
    killed = await hub.start("--version")
    await killed.communicate()
    # Somebody who was killed while using it stays in the library's list: the server is stopped all the same.
    (tmp_path / "home" / "postgres" / ".handle_pids.json").write_text(f"[{killed.pid}]")
    assert (await hub("partner", "list", "--json")).document["partners"][0]["name"] == "Fast Timing"
    assert (tmp_path / "home" / "secret.key").stat().st_mode & 0o077 == 0
    assert not (tmp_path / "home" / "postgres" / "postmaster.pid").exists()


@pytest.mark.parametrize("json", [True, False])
async def test_ctrl_c_is_how_following_the_feed_ends(hub: Hub, database: Database, json: bool) -> None:
    process = await hub.start("changes", "--follow", *(["--json"] if json else []))
    looking = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'hub:operator' AND query LIKE '%FROM change_batches%'"
    )
    async with asyncio.timeout(30):
        while not await database.fetchval(looking):  # noqa: ASYNC110 — it happens in another process, and says nothing
            await asyncio.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, out, err) == (0, b"", b"")
