"""The three ways to fail, for a handler and for a command.

    SyncError
    ├── Later   try again after a while (a provider is down, the database restarts)
    ├── Never   trying again cannot help (an undecodable message, a refused race)
    └── Stop    nothing can go on until a person acts (a newer schema, a missing secret key)

Messages say what happened, to what (ids), and what to do. Never a person, a secret or a response body.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from socket import gaierror


class SyncError(Exception):
    """Something in the sync went wrong; the leaf says what follows. What to do about it may be told apart."""

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message if remedy is None else f"{message}; {remedy}")
        self.what = message
        self.remedy = remedy


class Later(SyncError):
    """It may work later; ``retry_after`` (seconds) is set when the other side said when."""

    def __init__(self, message: str, *, retry_after: float | None = None, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.retry_after = retry_after


class Overtaken(Later):
    """Somebody else has written the same row meanwhile: done again at once, it finds that row."""


class Never(SyncError):
    """It will not work however often it is tried; ``reason`` is a short, bounded word for metrics."""

    def __init__(self, message: str, *, reason: str = "unusable") -> None:
        super().__init__(message)
        self.reason = reason


class Stop(SyncError):
    """The service must not go on; the message is left where it is and the process ends non-zero."""


class Misconfigured(Stop):
    """A setting is missing or unusable; the message names it and says what to put there."""


def kind_of(error: BaseException) -> str:
    """What kind of failure it is when something cannot be reached. Its own text may hold an address, or more."""
    return "nobody knows its host's name" if isinstance(error, gaierror) else type(error).__name__


@contextmanager
def advised(remedy: str) -> Iterator[None]:
    """What whoever starts should do when it is not there yet, behind what is said of that."""
    try:
        yield
    except Later as error:
        raise Later(error.what, remedy=remedy) from None
