"""What a batch costs the database does not grow with the partner, on tables that nobody has analyzed."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.postgres import Connection, Database
from tests.builders import NOON, PROVIDER, RACE, a_partner
from writer import participants

PEOPLE = 6000
WANTED = [str(number) for number in range(100, 120)]


@pytest.fixture
async def crowded(database: Database) -> AsyncIterator[tuple[Connection, int]]:
    """A partner with thousands of people, as in the middle of a first load."""
    partner = (await a_partner(database)).timing_partner_id
    async with database.transaction() as connection:
        await connection.execute(
            """
            INSERT INTO participants (provider_id, timing_partner_id, registration_id, race_id, event_id, content_hash,
                fetched_at, presence_at, first_seen_at, changed_at)
            SELECT $1, $2, n::text, $3, '1', '', $4, $4, $4, $4 FROM generate_series(1, $5) AS n
            """,
            PROVIDER.provider_id,
            partner,
            RACE,
            NOON,
            PEOPLE,
        )
        yield connection, partner


async def _pages(connection: Connection, statement: str, *arguments: Any) -> int:
    """How many pages a statement looks at."""
    import orjson

    plan = orjson.loads(await connection.fetchval("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + statement, *arguments))
    return int(plan[0]["Plan"]["Shared Hit Blocks"])


async def test_stored_versions_are_looked_up_one_by_one(crowded: tuple[Connection, int]) -> None:
    connection, partner = crowded
    statement = f"SELECT p.registration_id {participants.EACH_BY_KEY}"
    assert await _pages(connection, statement, PROVIDER.provider_id, partner, WANTED) <= 5 * len(WANTED)


async def test_rows_are_updated_one_by_one_or_in_a_single_pass(crowded: tuple[Connection, int]) -> None:
    connection, partner = crowded
    statement = f"""
        SELECT p.registration_id FROM participants p, (SELECT $1::integer AS provider_id, $2::integer AS
            timing_partner_id, unnest($3::text[]) AS registration_id OFFSET 0) r
        WHERE {participants.SAME_KEY.format("r")}
    """
    table = await connection.fetchval("SELECT pg_relation_size('hub.participants') / 8192")
    allowed = max(5 * len(WANTED), table + 10)
    assert await _pages(connection, statement, PROVIDER.provider_id, partner, WANTED) <= allowed
