"""asyncpg's errors, translated at the door into later, never or stop.

The text names the SQLSTATE and what was being done, never a value: PostgreSQL puts the offending row into DETAIL.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from shared.errors import Later, Never, Overtaken, Stop, SyncError, kind_of

#: What to do about a database that does not do its work.
SEE = "see: hub doctor"

#: The first rule that fits counts: SQLSTATE or its class, what follows, a sentence, and what to do about it.
RULES: tuple[tuple[str, type[SyncError], str, str | None], ...] = (
    ("25006", Later, "the database is read-only just now (a fail-over?)", None),
    ("3D000", Stop, "the database does not exist", "create it, or correct HUB_DATABASE_URL"),
    ("28", Stop, "the database refused our user or password", "correct HUB_DATABASE_URL"),
    ("42501", Stop, "the database role may not do this", "grant it what `hub migrate` grants"),
    ("42P01", Stop, "a table is missing", "run `hub migrate`"),
    ("42703", Stop, "a column is missing", "run `hub migrate`"),
    ("21", Never, "the statement was given the same row twice", None),
    ("22", Never, "the database cannot store one of the values", None),
    ("23505", Overtaken, "somebody else has written the same row meanwhile", None),
    ("08", Later, "the connection to the database broke", SEE),
    ("40", Later, "the database rolled back a conflict", None),
    ("53", Later, "the database is out of connections, memory or disk", SEE),
    ("55", Later, "the database object is in use", None),
    ("57", Later, "the database is shutting down or cancelled the statement", SEE),
    ("58", Later, "the database met a system error", SEE),
)


def translate(error: BaseException, doing: str) -> SyncError:
    """What an error of asyncpg, or of the socket below it, means for us."""
    if isinstance(error, asyncpg.PostgresError):
        state = str(getattr(error, "sqlstate", "") or "")
        for prefix, kind, sentence, remedy in RULES:
            if state.startswith(prefix):
                message = f"{doing}: {sentence} (SQLSTATE {state})"
                return Never(message, reason="unstorable") if kind is Never else kind(message, remedy=remedy)
        return Later(f"{doing}: the database answered with SQLSTATE {state or 'unknown'}")
    if isinstance(error, (asyncpg.exceptions.DataError, OverflowError)) or (
        # the driver's own complaint that it cannot write a value in the column's form
        isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)
    ):
        return Never(f"{doing}: a value does not fit its column", reason="unstorable")
    if isinstance(error, TimeoutError):
        return Later(f"{doing}: the database did not answer in time", remedy=SEE)
    if isinstance(error, asyncpg.InternalClientError):
        # The server's last word (it ends, or crashed) came while the connection lay in the pool, its end did not yet:
        # the driver cannot use such a connection, and says so with an error of its own kind.
        return Later(f"{doing}: the connection to the database broke", remedy=SEE)
    return Later(f"{doing}: the database cannot be reached ({kind_of(error)})", remedy=SEE)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Let no error of asyncpg or its socket out as itself."""
    try:
        yield
    except SyncError:
        raise
    except (
        asyncpg.exceptions.DataError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        OverflowError,
        OSError,
        TimeoutError,
    ) as error:
        raise translate(error, doing) from None  # its text, or its DETAIL, quotes values
