"""Asking without anybody who answers, and for what is not there: a sentence, the right exit code, in time."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from shared.ops.partner_rows import store_key
from shared.postgres import Database
from shared.secrets import Sealer
from tests.integration.ops.command import SECRET, Hub

NOW = datetime.now(UTC)


@pytest.fixture
async def known(hub: Hub, database: Database) -> Hub:
    """A partner with a race in a month and one of last year."""
    async with database.transaction() as connection:
        sealer = Sealer.from_text(hub.settings["HUB_SECRET_KEY"])
        await store_key(connection, sealer, "Fast Timing", None, 2, "key-1", SECRET, "v1", NOW)
    for race_id, event_id, days in (("70", "700", 30), ("80", "800", -300)):
        await database.execute(
            "INSERT INTO races (provider_id, timing_partner_id, race_id, fetched_at, first_seen_at, changed_at)"
            " VALUES (2, 1, $1, $2, $2, $2)",
            race_id,
            NOW,
        )
        await database.execute(
            "INSERT INTO events (provider_id, timing_partner_id, event_id, race_id, starts_at, is_volunteer,"
            " sub_event_ids, fetched_at, first_seen_at, changed_at) VALUES (2, 1, $1, $2, $3, false, '{}', $4, $4, $4)",
            event_id,
            race_id,
            NOW + timedelta(days=days),
            NOW,
        )
        await database.execute(
            "INSERT INTO race_sync (provider_id, timing_partner_id, race_id, credential_id, next_due_at)"
            " VALUES (2, 1, $1, 1, $2)",
            race_id,
            NOW,
        )
    return hub


async def alive(database: Database, *names: str, seconds: float = 60) -> None:
    """Let services look alive for so long: a busy machine starts a command slowly."""
    for name in names:
        await database.execute(
            "INSERT INTO service_beats VALUES ($1, gen_random_uuid(), clock_timestamp(),"
            " clock_timestamp() + make_interval(secs => $2))",
            name,
            seconds,
        )


async def test_without_a_service_a_sync_says_so_and_ends_1_without_waiting(known: Hub, database: Database) -> None:
    async with asyncio.timeout(40):  # a busy machine starts three commands slowly: what is meant is that none waits
        results = await asyncio.gather(
            known("sync"), known("sync", "--race", "70", "--wait"), known("partner", "verify", "1")
        )
    for result in results:
        assert result.code == 1
        assert "no service is running" in result.sentence
    assert await database.fetchval("SELECT count(*) FROM sync_runs") == 0


async def test_the_service_that_is_missing_is_named(known: Hub, database: Database) -> None:
    await alive(database, "scheduler", "writer")
    result = await known("sync")
    assert result.code == 1
    assert "no fetcher is running" in result.sentence


async def test_services_that_die_while_a_sync_waits_end_it(known: Hub, database: Database) -> None:
    await alive(database, "scheduler", "fetcher", "writer", seconds=5)
    async with asyncio.timeout(60):
        result = await known("sync", "--race", "70", "--wait")
    assert result.code == 1
    assert "goes on" in result.err
    assert await database.fetchval("SELECT count(*) FROM sync_runs WHERE state = 'requested'") == 1


async def test_an_ask_is_an_operators_with_removals_and_goes_first(known: Hub, database: Database) -> None:
    await alive(database, "scheduler", "fetcher", "writer")
    result = await known("sync", "--json", HUB_DEADLINE_RACEDAY_SECONDS="99")
    assert result.code == 0
    assert (result.document["races"], result.document["discoveries"]) == (1, 1)
    rows = await database.fetch("SELECT * FROM sync_runs ORDER BY kind")
    assert rows[1]["deadline_seconds"] == 99  # a lost message holds up an operator no longer than a race day's round
    assert [(row["kind"], row["reason"], row["sync_class"]) for row in rows] == [
        ("discover", "operator", "raceday"),
        ("race", "operator", "raceday"),
    ]
    assert rows[1]["removals"]
    assert rows[1]["event_ids"] == ["700"]
    assert await database.fetchval("SELECT count(*) FROM outbox WHERE type = 'sync.request.v1'") == 2


async def test_what_is_not_written_in_time_is_told_and_ends_1(known: Hub, database: Database) -> None:
    await alive(database, "scheduler", "fetcher", "writer")
    result = await known("sync", "--race", "70", "--wait", "--timeout", "1")
    assert result.code == 1
    assert "Not written: race 70" in result.said
    assert "Nothing was written" in result.out


WRONG = {
    "sync --race 99": "race 99",
    f"sync --race {SECRET}": "race of that number",
    "sync --event 99": "event 99",
    "sync --race 80 --event 700": "belongs to race 70",
    "sync --race 80": "no future event",
    "sync --event 800": "no future event",
    "bibs --race 99": "race 99",
    "bib --race 99 --number 1": "race 99",
    "bib --race 80 --number 1": "no future event",
}


async def test_what_is_not_there_is_wrong_usage_in_one_sentence(known: Hub, database: Database) -> None:
    for some in batched(WRONG, 3):
        for words, result in zip(some, await asyncio.gather(*(known(*each.split()) for each in some)), strict=True):
            assert result.code == 2, words
            assert WRONG[words] in result.sentence
    assert await database.fetchval("SELECT count(*) FROM sync_runs") == 0


async def test_a_sync_without_any_partner_says_what_to_do_first(hub: Hub) -> None:
    result = await hub("sync", "--wait")
    assert result.code == 2
    assert "hub partner add" in result.sentence


async def test_a_named_race_shows_its_place_among_those_of_race_day(known: Hub, database: Database) -> None:
    await alive(database, "scheduler", "fetcher", "writer")
    await database.execute(
        "INSERT INTO sync_runs (run_id, subject, kind, provider_id, timing_partner_id, credential_id, race_id, mode,"
        " sync_class, reason, state, requested_at, deadline_seconds)"
        " SELECT gen_random_uuid(), n::text, 'race', 2, 1, 1, n::text, 'incremental',"
        " CASE WHEN n < 3 THEN 'raceday' ELSE 'routine' END, 'schedule', 'requested', clock_timestamp(), 60"
        " FROM generate_series(1, 3) AS n"
    )
    result = await known("sync", "--race", "70")
    assert "behind 2 others of race day" in result.said
    assert (await known("sync", "--race", "70", "--json")).document["ahead"] == 2
    assert await database.fetchval("SELECT count(*) FROM sync_runs WHERE race_id = '70'") == 1


async def test_a_partner_and_a_race_have_cadences_of_their_own_until_they_are_reset(
    known: Hub, database: Database
) -> None:
    await known("cadence", "--partner", "1", "--set", "interval_far_seconds=1800")
    for value in ("interval_raceday_seconds=30", "near_hours=48"):
        assert (await known("cadence", "--race", "70", "--set", value)).code == 0
    document = (await known("cadence", "--json")).document
    assert document["everybody"]["interval_far_seconds"] == 3600
    assert document["own"] == [
        {"partner_id": 1, "race_id": None, "settings": {"interval_far_seconds": 1800}},
        {"partner_id": 1, "race_id": "70", "settings": {"near_hours": 48.0, "interval_raceday_seconds": 30}},
    ]
    for words in ("--set colour=red", "--set near_hours=-1", "--reset --set near_hours=1"):
        assert (await known("cadence", "--race", "70", *words.split())).code == 2
    assert (await known("cadence", "--set", "near_hours=1")).code == 2
    await database.execute("UPDATE race_sync SET next_due_at = 'infinity', state = 'active'")
    await known("cadence", "--race", "70", "--reset")
    assert len((await known("cadence", "--json")).document["own"]) == 1
    looked_at_again = "SELECT next_due_at < 'infinity' FROM race_sync WHERE race_id = '70'"
    assert await database.fetchval(looked_at_again), "the scheduler reckons with the other cadence at once"


async def test_a_refused_key_makes_a_sync_of_everything_partly_done(known: Hub, database: Database) -> None:
    await database.execute("UPDATE credentials SET state = 'refused', state_reason = 'http_401'")
    await alive(database, "scheduler", "fetcher", "writer")
    result = await known("sync")
    assert result.code == 3
    assert "hub partner verify 1" in result.said


async def test_a_bib_that_is_no_number_shows_what_is_stored_and_says_why(known: Hub) -> None:
    result = await known("bib", "--race", "70", "--number", "A12")
    assert result.code == 3
    assert "whole numbers" in result.said


FACTS = (
    "status",
    "budget",
    "cadence",
    "history",
    "history --failed",
    "changes",
    "bibs --race 70",
    "dead-letters list",
    "quarantine list",
    "removals list",
    "replay list",
)


async def test_facts_are_one_json_document_or_text_without_colour(known: Hub) -> None:
    for some in batched(FACTS, 2):
        documents = await asyncio.gather(*(known(*each.split(), "--json") for each in some))
        assert all(isinstance(each.document, dict) for each in documents)
        for table in await asyncio.gather(*(known(*each.split()) for each in some)):
            assert table.code == 0
            assert "\x1b" not in table.out


def batched(words: Iterable[str], size: int) -> list[list[str]]:
    """A few at a time: so many commands as the machine has processors to spare."""
    every = list(words)
    return [every[place : place + size] for place in range(0, len(every), size)]
