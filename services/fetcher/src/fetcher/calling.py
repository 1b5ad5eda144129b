"""One call: a place in the limiter, the question, the answer read, and what an error means for the key.

Two retry layers at most: here a second try after a moment, when the first failed on its way (each try is a call of its
own and counts); everything longer is the bus's, with minutes between.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from fetcher.budget import Postpone
from fetcher.gate import Gate
from fetcher.ledger import Going, Granted, Ledger, Wish
from fetcher.settings import FetcherSettings
from shared.errors import Later
from shared.providers.port import Answer, Call, Client, Consequence, Credential, Page, Provider, ProviderFailure
from shared.runtime import House
from shared.telemetry import metrics
from shared.telemetry.tracing import span

log = structlog.get_logger()

#: A throttled key that was not told for how long waits this long; a refused caller registration, that long.
THROTTLED = timedelta(seconds=60)
#: And one that was told "at once" waits this long: the answer before it said that there were too many calls.
BREATH = timedelta(seconds=5)
STOPPED = timedelta(minutes=5)


class Postponed(Exception):
    """The call may not go out before ``until``."""

    def __init__(self, until: datetime, reason: str) -> None:
        super().__init__(reason)
        self.until = until
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Answered:
    """A page, and when its call was sent."""

    page: Page
    called_at: datetime


@dataclass(frozen=True, slots=True)
class Question:
    """A call, whose it is, and how its answer is read."""

    call: Call
    read: Callable[[Answer], Page]
    endpoint: str
    credential: Credential
    wish: Wish
    going: Going  # written when it goes out


@dataclass(slots=True)
class Caller:
    """Asks one provider in the name of keys."""

    house: House
    provider: Provider
    client: Client
    ledger: Ledger
    gate: Gate
    settings: FetcherSettings

    async def ask(self, question: Question) -> Answered:
        """Ask and read. Raises Postponed, or ProviderFailure when the tries within seconds did not help."""
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self.settings.call_attempts),
            wait=self._moment,
            retry=retry_if_exception(_worth_another_try),
            sleep=self.house.clock.sleep,
            reraise=True,
        )
        return await retrying(self._once, question)

    def _moment(self, state: RetryCallState) -> float:
        """Seconds before another try; from the randomness of the house, so that a simulated run repeats."""
        return self.house.random.uniform(0, min(5.0, 0.5 * 2 ** (state.attempt_number - 1)))

    async def _once(self, question: Question) -> Answered:
        wish = question.wish
        granted = await self.gate.enter(wish, question.going)
        if isinstance(granted, Postpone):
            raise Postponed(granted.until, granted.reason)
        outcome, quota = "cancelled", None
        called_at = self.house.clock.now()
        try:
            with span(f"call {self.provider.name} {question.endpoint}", wish.run_id, sync_class=wish.sync_class):
                answer = await self.client.ask(question.call, question.credential)
            quota = self.provider.read_quota(answer)
            page = question.read(answer)
            outcome = "ok"
            return Answered(page, called_at)
        except ProviderFailure as failure:
            outcome = failure.code
            await self._consequences(failure, wish)
            raise
        finally:
            await self._finish(wish, granted, outcome, quota)
            metrics.calls.labels(self.provider.name, question.endpoint, outcome).inc()
            took = (self.house.clock.now() - called_at).total_seconds()
            metrics.call_seconds.labels(self.provider.name).observe(took)

    async def _finish(self, wish: Wish, granted: Granted, outcome: str, quota: tuple[int, int] | None) -> None:
        try:
            await self.ledger.finish(wish, granted, outcome, self.house.clock.now(), quota)
        except Later as error:  # its slot is a lease and its count has an end: both end by themselves
            log.warning("A call's end could not be recorded.", action="call_unrecorded", error=str(error))
        self.gate.look()

    async def _consequences(self, failure: ProviderFailure, wish: Wish) -> None:
        """What a failure means for more than this call; the run's own fate is its handler's."""
        now = self.house.clock.now()
        if failure.consequence is Consequence.LATER:
            await self.ledger.rest(wish, now)
        if failure.consequence is Consequence.THROTTLED:
            told = failure.retry_after
            wait = THROTTLED if told is None else max(timedelta(seconds=told), BREATH)
            await self.ledger.block(wish, now + wait, "throttled")
            await self.ledger.shrink(wish, now)
            raise Postponed(now + wait, "throttled") from None
        if failure.consequence is Consequence.EVERYTHING:
            log.error(
                "The provider refuses our caller registration: nothing is called until it is corrected.",
                action="caller_refused",
                provider=self.provider.name,
            )
            await self.ledger.stop_everything(wish.provider_id, now + STOPPED, failure.code, now)
            raise Postponed(now + STOPPED, failure.code) from None


def _worth_another_try(error: BaseException) -> bool:
    return (
        isinstance(error, ProviderFailure)
        and error.consequence is Consequence.LATER
        and error.retry_after is None
        and error.code != "timeout"  # it took a minute already
    )
