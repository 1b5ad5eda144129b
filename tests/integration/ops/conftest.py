"""The operator's command on a database of its own, and no service."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.postgres import Database
from tests.integration.ops.command import Hub


@pytest.fixture
def hub(database_url: str, tmp_path: Path) -> Hub:
    """Commands against a migrated database."""
    return Hub(tmp_path, HUB_DATABASE_URL=database_url)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The same database, to look into."""
    database = await Database.connect(database_url, size=2)
    yield database
    await database.close()
