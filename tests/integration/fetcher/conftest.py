"""A real database, a house whose handlers are in it as their own role, and a provider that answers by a script."""

import pytest

from shared.postgres import Database
from tests.builders import Tenant, a_participant_record, a_partner, a_race
from tests.fakes import ManualClock, clock, database, house_as, other_database
from tests.integration.fetcher.scripted import Provider

__all__ = ["clock", "database", "house", "other_database"]

house = house_as("hub_fetcher")


@pytest.fixture
async def tenant(database: Database) -> Tenant:
    tenant = await a_partner(database)
    await a_race(database, tenant)
    return tenant


@pytest.fixture
def provider(clock: ManualClock) -> Provider:
    """A race of 120 people: three pages and the empty one."""
    return Provider(clock, [a_participant_record(7000 + number, modified=-number) for number in range(120)])
