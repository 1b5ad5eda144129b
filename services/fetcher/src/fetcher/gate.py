"""The queue before the limiter, inside one process: the nearest class first, with a trickle for the lower ones, and
one reservation at a time.

However many requests wait here and come, the database is asked once or twice for each call that ends.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

from fetcher.budget import Hold, Postpone
from fetcher.ledger import MARGIN, Going, Granted, Ledger, Wish
from shared.bus.lanes import choose_lane
from shared.clock import Clock, wait
from shared.domain.run import SyncClass
from shared.runtime.house import Bells
from shared.telemetry import metrics

#: How often a waiting gate looks without having heard that a call ended.
LOOK_SECONDS = 0.5
#: How long a call waits for others of its own key to end. Then its run goes back to the database for a moment: a key
#: whose answers take half a minute must not have all its races wait here, in everybody's places.
PATIENCE = timedelta(seconds=10)
#: For how long.
BREATHER = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class _Waiting:
    arrival: int
    came_at: datetime
    wish: Wish
    going: Going
    answer: "asyncio.Future[Granted | Postpone]"


class Gate:
    """Lets calls through as the ledger allows."""

    def __init__(self, ledger: Ledger, clock: Clock, bells: Bells) -> None:
        self._ledger = ledger
        self._clock = clock
        self._bell = bells.bell("slot")
        self._waiting: list[_Waiting] = []
        self._arrivals = 0
        self._grants = 0
        self._full = False  # no slot is free, as far as we know; somebody waits, and looks again soon anyway

    async def enter(self, wish: Wish, going: Going) -> Granted | Postpone:
        """Wait for a slot (seconds); a call that may not go out for longer is answered with Postpone.

        ``going`` is written behind the reservation, and what it raises is raised here: then nothing goes out.
        """
        self._arrivals += 1
        answer: asyncio.Future[Granted | Postpone] = asyncio.get_running_loop().create_future()
        entry = _Waiting(self._arrivals, self._clock.now(), wish, going, answer)
        self._waiting.append(entry)
        if not self._full:
            self._bell.set()
        try:
            return await answer
        finally:
            self._waiting.remove(entry)
            metrics.slot_wait_seconds.observe((self._clock.now() - entry.came_at).total_seconds())

    def look(self) -> None:
        """A call of ours has ended: its slot may be free. (The database's word of it comes to all, a moment later.)"""
        self._bell.set()

    async def run(self) -> None:
        """Answer those who wait, until cancelled; the errors of the ledger are theirs."""
        while True:
            self._full = await self._round() and bool(self._waiting)
            if self._waiting:
                await wait(self._clock, self._bell, LOOK_SECONDS)
            else:
                await self._bell.wait()
                self._bell.clear()

    async def _round(self) -> bool:
        """Ask for everyone who might go, each once, nearest first; stop when no slot is free, and say so."""
        asked_for: set[int] = set()
        not_their_turn: set[str] = set()
        while entry := self._next(asked_for, not_their_turn):
            asked_for.add(entry.arrival)
            asked = self._clock.now()
            try:
                verdict = await self._ledger.reserve(entry.wish, asked, entry.going)
                if isinstance(verdict, Granted) and (entry.answer.done() or self._clock.now() - asked > MARGIN / 2):
                    # Who asked has gone meanwhile. Or the database kept us waiting: the slot's lease counts from before
                    # that, and might end too early.
                    await self._ledger.give_back(entry.wish, verdict, self._clock.now())
                    continue
            except Exception as error:
                if not entry.answer.done():
                    entry.answer.set_exception(error)
                continue
            if isinstance(verdict, Hold):
                if not verdict.fair:
                    return True
                if asked - entry.came_at >= PATIENCE and not entry.answer.done():
                    entry.answer.set_result(Postpone(asked + BREATHER, "slot"))
                else:
                    not_their_turn.add(entry.wish.fingerprint)
            elif not entry.answer.done():
                entry.answer.set_result(verdict)
                if isinstance(verdict, Granted):
                    self._grants += 1
                    if verdict.was_last:
                        return True
        return False

    def _next(self, asked_for: set[int], not_their_turn: set[str]) -> _Waiting | None:
        """Whose turn it is, of those not asked for yet: as the bus picks among its lanes, counted by calls granted."""
        lanes: list[list[_Waiting]] = [[] for _ in SyncClass]
        for entry in self._waiting:  # in the order of arrival
            gone = entry.answer.done() or entry.arrival in asked_for
            if not gone and entry.wish.fingerprint not in not_their_turn:
                lanes[entry.wish.sync_class.distance].append(entry)
        lane = choose_lane([len(each) for each in lanes], self._grants + 1)
        return None if lane is None else lanes[lane][0]
