"""The queue before the limiter, inside one process: the nearest class first, and one reservation at a time.

However many requests wait here, the database is asked once or twice for each call that ends.
"""

import asyncio
from dataclasses import dataclass, field

from fetcher.budget import Hold, Postpone
from fetcher.ledger import MARGIN, Granted, Ledger, Wish
from shared.clock import Clock, wait
from shared.runtime.house import Bells
from shared.telemetry import metrics

#: How often a waiting gate looks without having heard that a call ended.
LOOK_SECONDS = 0.5


@dataclass(order=True, slots=True)
class _Waiting:
    order: tuple[int, int]
    wish: Wish = field(compare=False)
    answer: "asyncio.Future[Granted | Postpone]" = field(compare=False)


class Gate:
    """Lets calls through as the ledger allows."""

    def __init__(self, ledger: Ledger, clock: Clock, bells: Bells) -> None:
        self._ledger = ledger
        self._clock = clock
        self._bell = bells.bell("slot")
        self._waiting: list[_Waiting] = []
        self._arrivals = 0

    async def enter(self, wish: Wish) -> Granted | Postpone:
        """Wait for a slot (seconds); a call that may not go out for longer is answered at once with Postpone."""
        self._arrivals += 1
        answer: asyncio.Future[Granted | Postpone] = asyncio.get_running_loop().create_future()
        entry = _Waiting((wish.sync_class.distance, self._arrivals), wish, answer)
        self._waiting.append(entry)
        self._bell.set()
        came = self._clock.now()
        try:
            return await answer
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)
            metrics.slot_wait_seconds.observe((self._clock.now() - came).total_seconds())

    async def run(self) -> None:
        """Answer those who wait, until cancelled; the errors of the ledger are theirs."""
        while True:
            await self._round()
            if self._waiting:
                await wait(self._clock, self._bell, LOOK_SECONDS)
            else:
                await self._bell.wait()
                self._bell.clear()

    async def _round(self) -> None:
        """Ask for everyone who might go, nearest first; stop when no slot is free."""
        not_their_turn: set[str] = set()
        for entry in sorted(self._waiting):
            if entry.answer.done() or entry.wish.fingerprint in not_their_turn:
                continue
            asked = self._clock.now()
            try:
                verdict = await self._ledger.reserve(entry.wish, asked)
                if isinstance(verdict, Granted) and self._clock.now() - asked > MARGIN / 2:
                    # The database kept us waiting; the slot's lease counts from before that, and might end too early.
                    await self._ledger.finish(entry.wish, verdict, "unused", self._clock.now())
                    continue
            except Exception as error:
                if not entry.answer.done():
                    entry.answer.set_exception(error)
                continue
            if isinstance(verdict, Hold):
                if not verdict.fair:
                    return
                not_their_turn.add(entry.wish.fingerprint)
            elif not entry.answer.done():
                entry.answer.set_result(verdict)
            elif isinstance(verdict, Granted):  # who asked has gone meanwhile
                await self._ledger.finish(entry.wish, verdict, "unused", self._clock.now())
