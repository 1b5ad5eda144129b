"""What the scheduler needs before it begins."""

import pytest

from scheduler.app import run
from shared.errors import Misconfigured
from shared.runtime import House


async def test_without_the_secret_key_it_says_so_when_it_starts(house: House) -> None:
    house.key = None
    with pytest.raises(Misconfigured, match="HUB_SECRET_KEY is not set"):
        await run(house)
