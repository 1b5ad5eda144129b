"""The clock that jumps: in order, to the moment, and no further than the nearest sleeper."""

import asyncio
from datetime import UTC, datetime, timedelta

from tests.weekend.clock import JumpingClock

BEGINS = datetime(2027, 6, 4, 22, tzinfo=UTC)


async def nothing_moves() -> None:
    await asyncio.sleep(0)


async def test_a_weekend_of_waiting_takes_no_time_and_everybody_wakes_in_turn() -> None:
    clock, woken = JumpingClock(BEGINS), list[tuple[str, int]]()

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, int(clock.seconds())))

    turning = asyncio.create_task(clock.run(nothing_moves))
    await asyncio.gather(sleeper("late", 180_000), sleeper("soon", 60), sleeper("next", 3600))
    turning.cancel()
    assert woken == [("soon", 60), ("next", 3600), ("late", 180_000)]
    assert clock.now() - BEGINS < timedelta(seconds=180_060)


async def test_it_stands_at_nearly_the_same_moment_while_something_moves() -> None:
    clock, rests = JumpingClock(BEGINS), asyncio.Event()

    async def still() -> None:
        await rests.wait()

    turning = asyncio.create_task(clock.run(still))
    sleeping = asyncio.create_task(clock.sleep(3600))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not sleeping.done()
    assert clock.seconds() < 3600
    rests.set()
    await sleeping
    turning.cancel()
    assert clock.seconds() >= 3600


async def test_one_who_gave_up_is_not_waited_for() -> None:
    clock = JumpingClock(BEGINS)
    given_up = asyncio.create_task(clock.sleep(60))
    await asyncio.sleep(0)
    given_up.cancel()
    turning = asyncio.create_task(clock.run(nothing_moves))
    await clock.sleep(3600)
    turning.cancel()
    assert clock.jumps == 1
