"""The ground that storms of this tier rage over: a broker to break, and a database server that may be stopped."""

import pytest

from tests import services
from tests.chaos.weather import Ground


@pytest.fixture(scope="session")
def ground(breakable_rabbitmq: services.BreakableBroker, reaper: services.Reaper) -> Ground:
    return Ground(breakable_rabbitmq, services.WheelDatabase(reaper))
