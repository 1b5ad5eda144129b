"""A clock that runs as fast as any while something is under way, and jumps to the next due moment when nothing is.

So hours of waiting take no time, and what takes time in earnest (a statement, a page to decode) is in every age that
is read from it.
"""

import asyncio
import heapq
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from itertools import count


class JumpingClock:
    """Time for a whole house, its database's waits and its pretend provider."""

    def __init__(self, begins: datetime) -> None:
        self._begins = begins
        self._began = time.monotonic()
        self._jumped = 0.0  # seconds that nobody had to wait
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None
        self.jumps = 0

    def seconds(self) -> float:
        """Seconds of this clock since it began."""
        return time.monotonic() - self._began + self._jumped

    def now(self) -> datetime:
        return self._begins + timedelta(seconds=self.seconds())

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waking = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.seconds() + seconds, next(self._numbers), waking))
        if self._sleepers[0][2] is waking:
            self._set_timer()
        await waking

    async def until(self, moment: datetime) -> None:
        """Return at that moment of this clock, or at once when it has passed."""
        await self.sleep((moment - self.now()).total_seconds())

    async def run(self, still: Callable[[], Awaitable[None]]) -> None:
        """Jump whenever ``still`` returns: it waits until nothing moves any more without the clock."""
        while True:
            await still()
            if self._next() is None:
                await asyncio.sleep(0)
                continue
            self._jumped += max(0.0, self._sleepers[0][0] - self.seconds())
            self.jumps += 1
            self._wake()

    def _next(self) -> float | None:
        """When the next sleeper is due; those who gave up are forgotten."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def _wake(self) -> None:
        now = self.seconds()
        while (due := self._next()) is not None and due <= now:
            heapq.heappop(self._sleepers)[2].set_result(None)
        self._set_timer()

    def _set_timer(self) -> None:
        """While work goes on for long, sleepers wake by the loop's own time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._next()
        if due is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, due - self.seconds()), self._wake)
