"""What follows from a handler's failure: once more after a while, the dead letters, or the end of the consumer."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from shared.bus.topology import RETRY_DELAYS
from shared.errors import Later, Never, Stop


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient the house is with a message.

    The defaults wait about 2, 6, 18, 54 seconds and so on up to ten minutes between tries: eight tries in half an
    hour. Whatever is tried inside one attempt (a provider's call) multiplies with it.
    """

    attempts: int = 8
    age: timedelta = timedelta(hours=2)  # since the first attempt began; a wait asked for by a provider can be long
    first_delay: float = 2.0  # seconds before the second attempt
    factor: float = 3.0  # how much longer each further wait is
    delays: tuple[int, ...] = RETRY_DELAYS  # the waits that exist, in seconds, ascending
    pause_after: int = 25  # dead letters in a row, after which a consumer pauses
    pause_seconds: float = 60.0  # how long; then one message is tried, and the rest follow if it went well


@dataclass(frozen=True, slots=True)
class Retry:
    """Give the message again after ``delay`` seconds, which is one of the policy's delays."""

    delay: int
    cause: str


@dataclass(frozen=True, slots=True)
class Dead:
    """Put the message with the dead letters; ``reason`` is a short word without persons or secrets."""

    reason: str


@dataclass(frozen=True, slots=True)
class Halt:
    """Leave the message where it is and end the consumer."""


Verdict = Retry | Dead | Halt


def after_failure(
    error: BaseException, *, attempt: int, first_seen: datetime, now: datetime, policy: Policy, random: Random
) -> Verdict:
    """Decide what becomes of a message whose handler raised ``error`` in its ``attempt``-th attempt (from 1).

    Stop halts, Never is dead at once, everything else is tried again until the attempts or the age are used up.
    Of an exception group, a Stop inside counts most; it is Never only if all of it is.
    """
    cause = _leading(error)
    if isinstance(cause, Stop):
        return Halt()
    if isinstance(cause, Never):
        return Dead(_word(cause.reason) or "unusable")
    name = _word(type(cause).__name__) or "error"
    if attempt >= policy.attempts:
        return Dead(f"attempts:{name}")
    if now - first_seen >= policy.age:
        return Dead(f"age:{name}")
    return Retry(_delay(cause, attempt, policy, random), name)


def _delay(cause: BaseException, attempt: int, policy: Policy, random: Random) -> int:
    if isinstance(cause, Later) and cause.retry_after is not None:
        wanted = cause.retry_after  # no jitter below it: coming early would be refused again
    else:
        longest = policy.delays[-1]
        # The exponent is bounded since a float cannot hold every power; beyond it, it is the longest anyway.
        backoff = min(policy.first_delay * policy.factor ** min(attempt - 1, 32), longest)
        wanted = backoff * random.uniform(0.5, 1.5)  # half as much either way spreads what failed together
    return next((delay for delay in policy.delays if delay >= wanted), policy.delays[-1])


def _leading(error: BaseException) -> BaseException:
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [_leading(each) for each in error.exceptions]
    for kind in (Stop, Later):
        for leaf in leaves:
            if isinstance(leaf, kind):
                return leaf
    return next((leaf for leaf in leaves if not isinstance(leaf, Never)), leaves[0])


def _word(text: str) -> str:
    """Make a bounded word of letters, digits and a few signs, whatever someone put into a reason."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text)[:48].strip("-")
