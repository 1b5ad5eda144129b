"""Time is passed in, and waiting is until the next tick or a word, whichever comes first."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.clock import SystemClock, wait


class StillClock:
    """Time stands; a sleep lasts until somebody lets it end."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.over = asyncio.Event()
        self.cancelled = 0

    def now(self) -> datetime:
        return datetime(2027, 5, 22, tzinfo=UTC)

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        try:
            await self.over.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


def test_the_present_is_aware_and_in_utc() -> None:
    before = datetime.now(UTC)
    now = SystemClock().now()

    assert now.tzinfo is UTC
    assert before <= now <= datetime.now(UTC)


@given(skew=st.timedeltas(timedelta(hours=-30), timedelta(hours=30)), round_trip=st.floats(0, 5))
def test_a_clock_set_by_anothers_tells_that_ones_time_to_within_half_the_way(
    skew: timedelta, round_trip: float
) -> None:
    clock, asked = SystemClock(), time.monotonic()
    read_at = datetime.now(UTC) + timedelta(seconds=round_trip / 3)  # somewhere between the question and the answer

    clock.set_by(read_at + skew, asked, asked + round_trip)

    error = abs((clock.offset - skew).total_seconds())
    ours = time.monotonic() - asked + 1e-4  # what the test itself took, and microseconds that were rounded
    assert error <= round_trip / 2 + ours


def test_two_skewed_machines_agree_once_set_by_the_same_clock() -> None:
    trusted, asked = datetime(2027, 5, 22, 12, tzinfo=UTC), time.monotonic()
    one, other = SystemClock(), SystemClock()
    one.set_by(trusted + timedelta(hours=1), asked, asked)

    for clock in (one, other):
        clock.set_by(trusted, asked, asked)

    assert abs(one.now() - other.now()) < timedelta(seconds=1)
    assert abs(one.now() - trusted) < timedelta(minutes=1)


def test_a_step_of_the_machines_clock_moves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget is counted by this clock: an hour back would forget the last hour's calls."""
    clock = SystemClock()
    before = clock.now()

    monkeypatch.setattr(time, "time", lambda: time.monotonic() - 3600)

    assert timedelta(0) <= clock.now() - before < timedelta(minutes=1)


async def test_a_word_ends_the_waiting_and_is_heard_once() -> None:
    clock, bell = StillClock(), asyncio.Event()
    waiting = asyncio.create_task(wait(clock, bell, 60))
    await asyncio.sleep(0)
    bell.set()

    assert await waiting is True
    assert not bell.is_set()
    assert clock.asked == [60]
    assert clock.cancelled == 1


async def test_a_word_said_before_the_waiting_ends_it_at_once() -> None:
    bell = asyncio.Event()
    bell.set()

    assert await wait(StillClock(), bell, 60) is True


async def test_without_a_word_the_waiting_ends_when_its_time_is_over() -> None:
    clock, bell = StillClock(), asyncio.Event()
    waiting = asyncio.create_task(wait(clock, bell, 60))
    await asyncio.sleep(0)
    clock.over.set()

    assert await waiting is False


async def test_whoever_is_cancelled_while_waiting_leaves_nothing_running() -> None:
    clock, bell = StillClock(), asyncio.Event()
    before = asyncio.all_tasks()
    waiting = asyncio.create_task(wait(clock, bell, 60))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert asyncio.all_tasks() == before
    assert clock.cancelled == 1


async def test_a_cancellation_that_comes_while_waking_is_not_lost() -> None:
    class SlowToWake:
        def now(self) -> datetime:
            raise NotImplementedError

        async def sleep(self, seconds: float) -> None:
            try:
                await asyncio.sleep(seconds)
            finally:
                await asyncio.sleep(0)
                await asyncio.sleep(0)

    bell = asyncio.Event()
    waiting = asyncio.create_task(wait(SlowToWake(), bell, 60))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    bell.set()
    for _ in range(3):
        await asyncio.sleep(0)

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
