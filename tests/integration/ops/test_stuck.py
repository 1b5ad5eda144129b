"""The commands for what is stuck, without a service: what they choose, show, refuse and write."""

from datetime import UTC, datetime

import orjson
import pytest

from shared.postgres import Database
from tests.integration.ops.command import Hub

NOW = datetime(2027, 5, 12, 12, tzinfo=UTC)
PERSON = {"registration_id": 7001, "user": {"first_name": "Adalind"}}


@pytest.fixture
async def filled(hub: Hub, database: Database) -> Hub:
    """Two records and two letters are stuck, and a removal is held."""
    for number, reason in ((1, "foreign_event"), (2, "id_missing")):
        await database.execute(
            "INSERT INTO quarantine (provider_id, timing_partner_id, race_id, registration_id, run_id, type, reason,"
            " fingerprint, mapping_version, fetched_at, raw, first_seen_at, last_seen_at)"
            " VALUES (2, 1, '70', '7001', gen_random_uuid(), 'participants.fetched.v1', $1, $2, 1, $3, $4, $3, $3)",
            reason,
            str(number),
            NOW,
            orjson.dumps(PERSON),
        )
        await database.execute(
            "INSERT INTO dead_letters (message_id, type, queue, routing_key, reason, fingerprint, attempts,"
            " first_seen_at, dead_at, body) VALUES ($1, 'sync.request.v1', 'fetch.runsignup.near', '', 'unusable',"
            " 'abc123', 3, $2, $2, 'not JSON')",
            str(number),
            NOW,
        )
    await database.execute(
        "INSERT INTO held_removals (provider_id, timing_partner_id, race_id, run_id, registration_ids, active,"
        " first_call_at, held_at) VALUES (2, 1, '70', gen_random_uuid(), '{7001,7002}', 3, $1, $1)",
        NOW,
    )
    return hub


async def alive(database: Database) -> None:
    """Let the services look alive for a minute, however slow the machine."""
    await database.execute(
        "INSERT INTO service_beats SELECT name, gen_random_uuid(), clock_timestamp(), clock_timestamp() + interval"
        " '1 minute' FROM unnest('{scheduler,fetcher,writer}'::text[]) AS name"
    )


async def test_a_record_is_shown_with_its_person_only_when_that_is_asked_for(filled: Hub) -> None:
    facts = await filled("quarantine", "show", "1")
    assert facts.code == 0
    assert "foreign_event" in facts.out
    assert "Adalind" not in facts.out
    assert "Adalind" in (await filled("quarantine", "show", "1", "--raw")).out
    removal = await filled("removals", "show", "1", "--json")
    assert removal.document["registration_ids"] == ["7001", "7002"]
    letter = await filled("dead-letters", "show", "2", "--raw", "--json")
    assert (letter.document["raw"], letter.document["fingerprint"]) == ("not JSON", "abc123")
    assert (await filled("dead-letters", "show", "17")).code == 2


async def test_what_is_dropped_is_closed_and_kept(filled: Hub, database: Database) -> None:
    assert (await filled("quarantine", "drop", "2", "--json")).document == {"dropped": 1}
    (left,) = (await filled("quarantine", "list", "--json")).document["items"]
    assert left["reason"] == "foreign_event"
    assert (await filled("quarantine", "drop", "2")).code == 2
    assert (await filled("dead-letters", "drop", "--cause", "abc", "--json")).document == {"dropped": 2}
    assert (await filled("removals", "discard", "--race", "70", "--json")).document == {"discarded": 1}
    assert await database.fetchval("SELECT count(*) FROM stuck") == 1
    rows = await database.fetch("SELECT resolution FROM quarantine UNION ALL SELECT resolution FROM held_removals")
    assert {row["resolution"] for row in rows} == {None, "dropped", "discarded"}


async def test_nothing_is_acted_on_without_saying_what(filled: Hub, database: Database) -> None:
    await alive(database)
    for words in (
        ("dead-letters", "drop"),
        ("quarantine", "replay"),
        ("removals", "approve"),
        ("replay", "records"),
        ("replay", "runs"),
    ):
        result = await filled(*words)
        assert result.code == 2
        assert "say which" in result.sentence
    assert await database.fetchval("SELECT count(*) FROM replays") == 0


async def test_a_replay_needs_services_and_a_selection_that_holds_something(filled: Hub, database: Database) -> None:
    lonely = await filled("quarantine", "replay", "--all")
    assert lonely.code == 1
    assert "no service is running" in lonely.sentence
    await alive(database)
    nothing = await filled("quarantine", "replay", "--race", "71", "--no-wait")
    assert (nothing.code, "no open item fits" in nothing.sentence) == (2, True)
    begun = await filled("quarantine", "replay", "--race", "70", "--newer-than", "2027-05-12T11:00", "--no-wait")
    assert begun.code == 0
    assert "Begun with 2 items" in begun.out
    assert await database.fetchval("SELECT count(*) FROM replay_items") == 2
    await database.execute("INSERT INTO public.timing_partners (company_name) VALUES ('Fast Timing')")
    assert "replays    quarantine 0 of 2" in (await filled("status")).out


async def test_ids_and_times_that_are_none_are_told_in_a_sentence(filled: Hub) -> None:
    for words, told in (
        (("replay", "watch", "nonsense"), "no replay begins so"),
        (("replay", "runs", "--run", "17"), "an id looks like"),
        (("dead-letters", "list", "--older-than", "soon"), "a time looks like"),
    ):
        result = await filled(*words)
        assert result.code == 2
        assert told in result.sentence
