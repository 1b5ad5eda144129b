"""A real database, a house on it, and a provider that answers by a script."""

import pytest

from shared.postgres import Database
from tests.builders import Tenant, a_participant_record, a_partner, a_race
from tests.fakes import ManualClock, clock, database, house, other_database
from tests.integration.fetcher.scripted import Provider

__all__ = ["clock", "database", "house", "other_database"]


@pytest.fixture
async def tenant(database: Database) -> Tenant:
    tenant = await a_partner(database)
    await a_race(database, tenant)
    return tenant


@pytest.fixture
def provider(clock: ManualClock) -> Provider:
    """A race of 120 people: three pages and the empty one."""
    return Provider(clock, [a_participant_record(7000 + number, modified=-number) for number in range(120)])
