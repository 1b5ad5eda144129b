"""Time is passed in.

Nothing in this house asks the machine, the event loop or the database what time it is: it asks the clock that
it was given. So replicas on skewed machines agree (a service's clock is set by the database's), and the whole
system can run under a clock that jumps.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What the house knows of time."""

    def now(self) -> datetime:
        """The present instant, aware, UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds of this clock's time."""
        ...


class SystemClock:
    """A trusted instant, carried on by the machine's monotonic counter.

    ``set_by`` is called at start and each minute with the database's time, so that two machines whose clocks disagree
    still agree on leases and budgets. Between two settings a step of the machine's own clock changes nothing.
    """

    def __init__(self) -> None:
        self._base = datetime.fromtimestamp(time.time(), UTC)
        self._set_at = time.monotonic()

    def now(self) -> datetime:
        return self._base + timedelta(seconds=time.monotonic() - self._set_at)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def set_by(self, trusted: datetime, asked_at: float, answered_at: float) -> None:
        """Take over a trusted clock's time, read between two readings of this machine's ``time.monotonic()``."""
        self._base = trusted
        self._set_at = (asked_at + answered_at) / 2

    @property
    def offset(self) -> timedelta:
        """How far the trusted clock is ahead of the machine's own, just now."""
        return self.now() - datetime.fromtimestamp(time.time(), UTC)

    @property
    def age(self) -> float:
        """Seconds since it was set."""
        return time.monotonic() - self._set_at


async def wait(clock: Clock, event: asyncio.Event, seconds: float) -> bool:
    """Wait for ``event``, at most ``seconds`` of the clock's time; say whether it came, and clear it."""
    sleeper = asyncio.ensure_future(clock.sleep(seconds))
    waiter = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({sleeper, waiter}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sleeper, waiter):
            task.cancel()
        # Not each awaited and suppressed: a cancellation of ours that arrives just now must not be lost with theirs.
        await asyncio.gather(sleeper, waiter, return_exceptions=True)
    came = event.is_set()
    event.clear()
    return came
