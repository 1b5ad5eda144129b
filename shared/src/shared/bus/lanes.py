"""What both buses share: lanes of taken messages, and the workers that turn a handler's outcome into its consequence.

A bus puts what it took into a lane (`Pool.put`); a worker picks the nearest, runs the handler, and tells the message
what follows (`Taken`). Nothing in here knows how a bus acknowledges.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol, assert_never

import structlog

from shared.bus.port import Delivery, Handler
from shared.bus.retry import Dead, Halt, Policy, Retry, after_failure
from shared.bus.topology import DEAD_QUEUE
from shared.clock import Clock, wait
from shared.errors import SyncError

log = structlog.get_logger()

#: Every so many picks, one goes to a lower lane, so that a busy near one never stops the others for good.
TRICKLE = 16

#: How often a consequence that the bus could not carry out is tried again before the message is given back.
SETTLE_TRIES = 5


class Taken(Protocol):
    """A message that a bus has taken off a queue and not yet settled: exactly one of these is called in the end."""

    @property
    def delivery(self) -> Delivery: ...

    async def done(self) -> None:
        """Acknowledge: it was handled."""
        ...

    async def retry(self, delay: int, cause: str) -> None:
        """Give it again to this queue alone, after ``delay`` seconds, as the next attempt."""
        ...

    async def bury(self, reason: str) -> None:
        """Put it with the dead letters."""
        ...

    async def release(self) -> None:
        """Give it back to the front of its queue, not counted as an attempt."""
        ...


@dataclass(frozen=True, slots=True)
class Handled:
    """What became of one delivery, for metrics and tests."""

    queue: str
    type: str
    outcome: str  # done, retry, dead, halt
    reason: str  # of a dead letter, or the cause of a retry; otherwise empty
    attempt: int


Observer = Callable[[Handled], None]


def choose_lane(waiting: Sequence[int], pick: int, trickle: int = TRICKLE) -> int | None:
    """Choose the lane for the ``pick``-th pick (from 1), given how many messages wait in each, nearest first.

    The nearest that has any, strictly; but every ``trickle``-th pick goes to a lower one: the lowest first, then the
    ones above it in turn, so that a lane between two busy ones moves too. None when nothing waits.
    """
    filled = [lane for lane, count in enumerate(waiting) if count]
    if not filled:
        return None
    nearest, *lower = filled
    if pick % trickle or not lower:
        return nearest
    turn = pick // trickle - 1
    return lower[-1 - turn % len(lower)]


@dataclass(slots=True)
class Pool:
    """Workers over lanes, for one consumer.

    At most ``concurrency`` handlers run at once. After a run of dead letters it pauses and then tries one message
    before it goes on, since a bad deployment must not empty a queue into the dead letters.
    """

    lanes: Sequence[str]
    handler: Handler
    concurrency: int
    clock: Clock
    random: Random
    policy: Policy
    observe: Observer | None = None
    settled: Callable[[int], None] | None = None  # called with the lane when one of its messages was settled

    held: list[int] = field(init=False)  # a lane's messages that wait here or are being handled
    running: int = 0  # handlers at work
    paused: bool = False
    failure: BaseException | None = None  # what ended it, when that was no stop()
    ending: asyncio.Event = field(default_factory=asyncio.Event)  # no more is picked

    _buffers: list[deque[Taken]] = field(init=False)
    _picks: int = 0
    _deaths: int = 0  # in a row
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _interrupt: asyncio.Event = field(default_factory=asyncio.Event)
    _trial: asyncio.Lock = field(default_factory=asyncio.Lock)
    _workers: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._buffers = [deque() for _ in self.lanes]
        self.held = [0 for _ in self.lanes]

    def start(self) -> None:
        """Start the workers; needs a running loop."""
        for number in range(self.concurrency):
            self._workers.append(asyncio.create_task(self._work(), name=f"{self.lanes[0]} worker {number}"))

    def put(self, lane: int, taken: Taken) -> None:
        """Let a message wait in its lane until a worker picks it."""
        self._buffers[lane].append(taken)
        self.held[lane] += 1
        self._news.set()

    @property
    def waiting(self) -> int:
        return sum(map(len, self._buffers))

    def clear(self) -> list[tuple[int, Taken]]:
        """Take out what no worker has picked, with its lane, in order."""
        left = [(lane, taken) for lane, buffer in enumerate(self._buffers) for taken in buffer]
        for lane, buffer in enumerate(self._buffers):
            self.held[lane] -= len(buffer)
            buffer.clear()
        return left

    def end(self, failure: BaseException | None = None) -> None:
        """Pick no more; what is being handled goes on."""
        self.failure = self.failure or failure
        self.ending.set()
        self._news.set()
        self._interrupt.set()

    async def finished(self) -> None:
        """Return when every worker has ended (after `end` or `abort`)."""
        if self._workers:
            await asyncio.wait(self._workers)
        for worker in self._workers:
            if not worker.cancelled() and (error := worker.exception()):
                self.failure = self.failure or error  # a defect of ours: say so where the consumer is waited for

    def abort(self) -> None:
        """Cut the handlers short; their messages stay unsettled, so that the bus gives them again."""
        self.end()
        for worker in self._workers:
            worker.cancel()

    async def _work(self) -> None:
        while not self.ending.is_set():
            if self._deaths < self.policy.pause_after:
                await self._handle_next()
                continue
            async with self._trial:  # one worker waits and tries; the others wait for what becomes of it
                if self._deaths >= self.policy.pause_after and not self.ending.is_set():
                    await self._pause()
                    await self._handle_next()

    async def _pause(self) -> None:
        log.error(
            "many dead letters in a row: this consumer pauses, then tries one message; look at the newest dead letters",
            action="consumer_paused", lanes=list(self.lanes), dead_letters=self._deaths,
            seconds=self.policy.pause_seconds,
        )  # fmt: skip
        self.paused = True
        try:
            await wait(self.clock, self._interrupt, self.policy.pause_seconds)
        finally:
            self.paused = False

    async def _handle_next(self) -> None:
        while not self.ending.is_set():
            lane = choose_lane([len(buffer) for buffer in self._buffers], self._picks + 1)
            if lane is not None:
                self._picks += 1
                taken = self._buffers[lane].popleft()
                break
            self._news.clear()
            await self._news.wait()
        else:
            return
        self.running += 1
        try:
            await self._handle(taken)
        finally:
            self.running -= 1
            self.held[lane] -= 1
            if self.settled:
                self.settled(lane)

    async def _handle(self, taken: Taken) -> None:
        delivery = taken.delivery
        error: BaseException | None = None
        try:
            # Whatever is logged on the way says of which run and message it is.
            with structlog.contextvars.bound_contextvars(
                run_id=delivery.message.correlation_id, message_id=delivery.message.id
            ):
                await self.handler(delivery)
        except asyncio.CancelledError as cancelled:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise  # we are being aborted: the bus gives the message again
            error = cancelled  # something inside the handler was cancelled: a failure like any other
        except Exception as raised:  # every failure has a consequence
            error = raised
        if error is None:
            self._deaths = 0
            await self._settle(taken, None)
            return
        verdict = after_failure(
            error, attempt=delivery.attempt, first_seen=delivery.first_seen, now=self.clock.now(),
            policy=self.policy, random=self.random,
        )  # fmt: skip
        if isinstance(verdict, Dead) and delivery.queue == DEAD_QUEUE:
            # Behind the dead letters is no other queue: what cannot be filed waits there and is tried again.
            verdict = Retry(self.policy.delays[-1], verdict.reason)
        self._deaths = self._deaths + 1 if isinstance(verdict, Dead) else 0
        _tell(delivery, error, verdict)
        if isinstance(verdict, Halt):
            self.end(error)
        await self._settle(taken, verdict)

    async def _settle(self, taken: Taken, verdict: Retry | Dead | Halt | None) -> None:
        """Carry out what was decided; what cannot be carried out is given back, so nothing is lost."""
        for try_number in range(1, SETTLE_TRIES + 1):
            try:
                await _carry_out(taken, verdict)
            except SyncError as error:
                log.warning(
                    "the bus did not take what became of a message", action="settle_failed", detail=str(error),
                    message=taken.delivery.message.id, queue=taken.delivery.queue, tried=try_number,
                )  # fmt: skip
                if self.ending.is_set():
                    break
                await wait(self.clock, self._interrupt, self.random.uniform(0.5, 1.0) * 2**try_number)
            else:
                self._report(taken.delivery, verdict)
                return
        with contextlib.suppress(SyncError):  # then its connection is gone, and the broker gives it again by itself
            await taken.release()

    def _report(self, delivery: Delivery, verdict: Retry | Dead | Halt | None) -> None:
        if not self.observe:
            return
        outcome, reason = "done", ""
        if isinstance(verdict, Retry):
            outcome, reason = "retry", verdict.cause
        elif isinstance(verdict, Dead):
            outcome, reason = "dead", verdict.reason
        elif isinstance(verdict, Halt):
            outcome = "halt"
        self.observe(Handled(delivery.queue, delivery.message.type, outcome, reason, delivery.attempt))


async def _carry_out(taken: Taken, verdict: Retry | Dead | Halt | None) -> None:
    match verdict:
        case None:
            await taken.done()
        case Retry(delay, cause):
            await taken.retry(delay, cause)
        case Dead(reason):
            await taken.bury(reason)
        case Halt():
            await taken.release()
        case _:
            assert_never(verdict)


def _tell(delivery: Delivery, error: BaseException, verdict: Retry | Dead | Halt) -> None:
    """Log a failure. Our errors speak for themselves; of a foreign one only its name and place are safe to tell."""
    facts: dict[str, object] = {
        "message": delivery.message.id, "type": delivery.message.type, "queue": delivery.queue,
        "attempt": delivery.attempt, "run": delivery.message.correlation_id, "error": type(error).__name__,
    }  # fmt: skip
    if isinstance(error, SyncError):
        facts["detail"] = str(error)
    else:
        facts["place"] = _place(error)
    match verdict:
        case Retry(delay, _):
            say = log.warning if isinstance(error, SyncError) else log.error
            say("a message is tried again later", action="message_retried", seconds=delay, **facts)
        case Dead(reason):
            log.error("a message is dead", action="message_dead", reason=reason, **facts)
        case Halt():
            log.critical("a handler said stop; the message stays where it is", action="consumer_halted", **facts)
        case _:
            assert_never(verdict)


def _place(error: BaseException) -> str:
    """Where a foreign error was raised, as module:line."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}" if trace else ""
