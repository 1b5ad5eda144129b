"""The queue before the limiter: nearest class first, and a trickle for the others."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import cast
from uuid import UUID

import pytest

from fetcher.budget import Hold, Postpone
from fetcher.gate import BREATHER, PATIENCE, Gate
from fetcher.ledger import MARGIN, Going, Granted, Ledger, Wish
from shared.bus.lanes import TRICKLE
from shared.domain.run import Reason, SyncClass
from shared.runtime.house import Bells
from tests.fakes import ManualClock


class OneSlot:
    """A ledger with one slot, that a test frees."""

    def __init__(self, bells: Bells) -> None:
        self.bells = bells
        self.free = False
        self.fair = False
        self.asked = 0
        self.granted: list[SyncClass] = []
        self.given_back = 0
        self.meanwhile: Callable[[], object] = lambda: None

    async def reserve(self, wish: Wish, now: datetime, going: Going) -> Granted | Hold:
        self.asked += 1
        if not self.free:
            return Hold(fair=self.fair)
        self.free = False
        self.granted.append(wish.sync_class)
        self.meanwhile()
        await asyncio.sleep(0)
        return Granted(len(self.granted), now, was_last=True)

    async def give_back(self, wish: Wish, granted: Granted, now: datetime) -> None:
        self.given_back += 1
        self.free = True

    def end_call(self) -> None:
        self.free = True
        self.bells.ring("slot")


def a_wish(sync_class: SyncClass) -> Wish:
    return Wish(2, "ours", "runsignup:1", sync_class, Reason.SCHEDULE, UUID(int=1))


async def alone(_connection: object) -> None:
    """Nothing is written with a call."""


@asynccontextmanager
async def entering(
    ledger: OneSlot, clock: ManualClock, classes: Iterable[SyncClass]
) -> AsyncIterator[tuple[Gate, list[asyncio.Task[Granted | Postpone]]]]:
    """A gate that is open, and who waits at it."""
    gate = Gate(cast(Ledger, ledger), clock, ledger.bells)
    opening = asyncio.create_task(gate.run())
    tasks = [asyncio.create_task(gate.enter(a_wish(each), alone)) for each in classes]
    try:
        yield gate, tasks
    finally:
        for task in (opening, *tasks):
            task.cancel()
        await asyncio.gather(opening, *tasks, return_exceptions=True)


async def settle() -> None:
    """Let everybody go on until they wait for something."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def bells() -> Bells:
    return Bells()


@pytest.fixture
def ledger(bells: Bells) -> OneSlot:
    return OneSlot(bells)


async def test_the_nearest_goes_first_and_a_farther_one_now_and_then(ledger: OneSlot) -> None:
    """A race morning's calls never end: whoever waits behind them would wait for ever."""
    classes = [SyncClass.BACKFILL, SyncClass.ROUTINE, *[SyncClass.RACEDAY] * (2 * TRICKLE)]
    async with entering(ledger, ManualClock(), classes), asyncio.timeout(10):
        while len(ledger.granted) < 2 * TRICKLE:
            ledger.end_call()
            await asyncio.sleep(0)
    near = [SyncClass.RACEDAY] * (TRICKLE - 1)
    assert ledger.granted == [*near, SyncClass.BACKFILL, *near, SyncClass.ROUTINE]


async def test_who_waits_long_for_a_call_of_the_same_key_goes_back_to_the_database(ledger: OneSlot) -> None:
    """All races of a key whose answers take half a minute would fill every place here."""
    clock = ManualClock()
    ledger.fair = True
    async with entering(ledger, clock, [SyncClass.RACEDAY]) as (_, [waiting]):
        await settle()
        assert not waiting.done()
        clock.pass_(PATIENCE.total_seconds())
        async with asyncio.timeout(10):
            assert await waiting == Postpone(clock.now() + BREATHER, "slot")


async def test_when_no_slot_is_free_nobody_is_asked_for_until_one_may_be(ledger: OneSlot) -> None:
    """A question that can only be answered with no costs round trips that the next call needs."""
    ledger.free = True
    async with entering(ledger, ManualClock(), [SyncClass.RACEDAY] * 3) as (gate, waiting):
        for turns in (1, 2):
            await settle()
            assert (ledger.asked, [each.done() for each in waiting].count(True)) == (turns, turns)
            waiting.append(asyncio.create_task(gate.enter(a_wish(SyncClass.RACEDAY), alone)))  # one more comes
            await settle()
            assert ledger.asked == turns
            ledger.end_call()


async def test_a_call_whose_asker_has_gone_is_given_back(ledger: OneSlot) -> None:
    async with entering(ledger, ManualClock(), [SyncClass.RACEDAY]) as (_, [waiting]):
        ledger.free, ledger.meanwhile = True, waiting.cancel
        await settle()
        assert (waiting.cancelled(), ledger.given_back, ledger.free) == (True, 1, True)


async def test_a_call_that_the_database_kept_waiting_is_given_back_and_asked_for_anew(ledger: OneSlot) -> None:
    """Its slot's lease counts from before, and might end under it."""
    clock = ManualClock()
    ledger.free, ledger.meanwhile = True, lambda: clock.pass_(MARGIN.total_seconds())
    async with entering(ledger, clock, [SyncClass.RACEDAY]) as (_, [waiting]):
        await settle()
        assert (waiting.done(), ledger.given_back) == (False, 1)
        ledger.meanwhile = lambda: None
        ledger.bells.ring("slot")
        async with asyncio.timeout(10):
            assert await waiting == Granted(2, clock.now(), was_last=True)
