"""Each truth holds on a good database, and what breaks it is found and named by its id."""

from datetime import timedelta

import asyncpg
import pytest

from shared.postgres import Database
from shared.postgres.truths import check, last_checked
from shared.postgres.truths.every import TRUTHS
from tests.integration.postgres.core import NOON, insert

NOW = NOON + timedelta(hours=2)
LONG_AGO = "'2027-05-01 12:00+00'"  # two hours, as seen from NOW

#: One partner, key, race, event, person, and a run that left the cursor where it is: nothing is wrong.
GOOD = f"""
    INSERT INTO public.timing_partners (timing_partner_id, company_name) VALUES (1, 'One');
    INSERT INTO public.partner_provider_credentials (partner_provider_credential_id, provider_id, timing_partner_id,
        principal, updated_at) VALUES (1, 2, 1, 'key', {LONG_AGO});
    INSERT INTO hub.credentials (credential_id, sealed_secret, fingerprint, state, state_at, discover_due_at)
        VALUES (1, '', 'abc', 'active', {LONG_AGO}, {LONG_AGO});
    INSERT INTO hub.race_sync (provider_id, timing_partner_id, race_id, credential_id, next_due_at, last_confirmed_at,
        pace, pace_since, promised_seconds)
        VALUES (2, 1, '81001', 1, '2027-05-01 14:00+00', '2027-05-01 13:59+00', 'raceday', {LONG_AGO}, 120);
"""

BROKEN = {
    "fresh": ("UPDATE hub.race_sync SET last_confirmed_at = '2027-05-01 13:00+00'", "race 81001 of partner 1"),
    "runs_end": (
        f"UPDATE hub.sync_runs SET state = 'running', deadline_at = {LONG_AGO}",
        "run 00000000-0000-4000-8000-000000000001",
    ),
    "outbox_drains": (
        "INSERT INTO hub.outbox (message_id, type, routing_key, body, created_at) VALUES"
        f" ('00000000-0000-4000-8000-000000000002', 'sync.request.v1', 'x', '', {LONG_AGO})",
        "message 00000000-0000-4000-8000-000000000002 of type sync.request.v1",
    ),
    "feed_is_whole": (
        "INSERT INTO hub.change_batches (feed_first, size, run_id, reason, provider_id, timing_partner_id, race_id,"
        f" written_at) SELECT feed, 2, gen_random_uuid(), 'first', 2, 1, '81001', {LONG_AGO}"
        " FROM unnest(ARRAY[1, 3, 6]) AS feed",
        "gap behind 4",
    ),
    "cursors": ("UPDATE hub.events SET cursor_at = cursor_at - interval '1 second'", "event 900101 of partner 1"),
    "people_have_events": ("DELETE FROM hub.events", "registration 7100001 of partner 1"),
    "one_owner": (
        'INSERT INTO hub.participants SELECT (jsonb_populate_record(p, \'{"timing_partner_id": 2, "race_id":'
        ' "81002", "event_id": "900201", "id": 99}\')).* FROM hub.participants p;'
        " INSERT INTO hub.events (provider_id, timing_partner_id, event_id, race_id, is_volunteer, sub_event_ids,"
        " fetched_at, first_seen_at, changed_at) SELECT 2, 2, '900201', '81002', false, '{}', fetched_at, fetched_at,"
        " fetched_at FROM hub.events",
        "registration 7100001 in races 81001, 81002",
    ),
    "secrets_are_sealed": ("UPDATE public.partner_provider_credentials SET secret = 'clear'", "credential 1"),
}


async def good(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(GOOD)
        await insert(connection, "events", cursor_at=NOON)
        await insert(connection, "participants")
        await insert(
            connection,
            "sync_runs",
            run_id="00000000-0000-4000-8000-000000000001",
            event_ids=["900101"],
            cursor_at=NOON,
        )
    finally:
        await connection.close()


async def broken(url: str) -> dict[str, tuple[str, ...]]:
    database = await Database.connect(url, size=2)
    try:
        async with database.transaction() as connection:
            found = await check(connection, TRUTHS, NOW)
            assert {each.name: each for each in await last_checked(connection)} == {each.name: each for each in found}
    finally:
        await database.close()
    return {each.name: each.examples for each in found if each.broken}


async def test_on_a_good_database_every_truth_holds(database_url: str) -> None:
    await good(database_url)
    assert await broken(database_url) == {}


@pytest.mark.parametrize("truth", [each.name for each in TRUTHS])
async def test_what_breaks_a_truth_is_found_and_named(truth: str, database_url: str) -> None:
    await good(database_url)
    statement, told = BROKEN[truth]
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
    assert await broken(database_url) == {truth: (told,)}
