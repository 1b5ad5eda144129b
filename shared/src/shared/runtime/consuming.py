"""Running consumers beside loops until the house is stopping."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from shared.bus.port import Consumer
from shared.runtime.house import House


async def consume_until_stopping(
    house: House, consumers: Sequence[Consumer], *loops: Coroutine[Any, Any, None]
) -> None:
    """Return once the house is stopping and what was in hand is finished; raise what ended a consumer or a loop."""
    halt = asyncio.create_task(house.stopping.wait(), name="stopping")
    turning = [asyncio.create_task(loop) for loop in loops]
    ends = [asyncio.create_task(each.wait(), name="consumer") for each in consumers]
    try:
        done, _ = await asyncio.wait([halt, *ends, *turning], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {halt}:
            task.result()
    finally:
        await asyncio.gather(*(each.stop() for each in consumers))
        for task in (halt, *ends, *turning):
            task.cancel()
        await asyncio.gather(halt, *ends, *turning, return_exceptions=True)
