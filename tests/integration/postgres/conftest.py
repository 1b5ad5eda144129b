"""A connection to a database of the test's own."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """As a reader connects: without our search path."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()
