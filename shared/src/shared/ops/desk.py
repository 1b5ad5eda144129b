"""Where a command works: the database, its clock, the settings. Opened for the command, closed behind it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from random import SystemRandom
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

from shared.clock import SystemClock
from shared.errors import Later, Misconfigured, advised
from shared.postgres import Database
from shared.postgres.beats import living
from shared.postgres.embedded import EmbeddedPostgres
from shared.postgres.migrate import migrate, require_current
from shared.runtime.service import sealer_of
from shared.secrets import Sealer
from shared.settings import Settings, load

T = TypeVar("T")

#: Without these three nothing that is asked for is ever written.
NEEDED = ("scheduler", "fetcher", "writer")


@dataclass(frozen=True, slots=True)
class Desk:
    """What a command is given. Its clock is the database's, as every service's is."""

    settings: Settings
    database: Database
    clock: SystemClock
    embedded: bool

    def new_id(self) -> UUID:
        """A random identifier."""
        return UUID(int=SystemRandom().getrandbits(128), version=4)

    def sealer(self) -> Sealer:
        """What seals and opens keys; raises Misconfigured when there is no usable secret key."""
        return sealer_of(self.settings, self.embedded)

    async def silent(self) -> list[str]:
        """The services without which nothing goes on, that do not live."""
        alive = await living(self.database, self.clock.now())
        return [name for name in NEEDED if name not in alive]


def check_address(address: str) -> None:
    """Raise Misconfigured for a database address that is none, without repeating it: it holds a password."""
    try:
        parts = urlsplit(address)
        if parts.scheme in {"postgresql", "postgres"} and (parts.port is None or parts.port > 0):
            return
    except ValueError:
        pass  # its text quotes the port, which may be half a password
    raise Misconfigured(
        "the database's address must look like postgresql://user:password@host:5432/name, "
        "special characters of the password percent-encoded",
        remedy="correct HUB_DATABASE_URL or DB_HOST and its sisters",
    )


def place(address: str) -> str:
    """Which server an address leads to, in words without user and password."""
    parts = urlsplit(address)
    return f"{parts.hostname}:{parts.port or 5432}" if parts.hostname else "the embedded one"


def reaching(address: str) -> AbstractContextManager[None]:
    """Where a database is reached for the first time: one that does not answer has to be started, or is another."""
    return advised(f"start {place(address)}, or correct HUB_DATABASE_URL")


@asynccontextmanager
async def address_of(settings: Settings) -> AsyncIterator[tuple[str, bool]]:
    """The database's address, and whether it is the embedded one, which is started for the time it is needed."""
    address = settings.database()
    if address is not None:
        check_address(address)
        yield address, False
        return
    try:
        embedded = EmbeddedPostgres(settings.home)
        address = await asyncio.to_thread(embedded.__enter__)
    except OSError as error:
        raise Misconfigured(
            f"the embedded database under HUB_HOME cannot be used ({type(error).__name__})",
            remedy="set HUB_HOME to a folder that this user may write, or HUB_DATABASE_URL",
        ) from None
    try:
        yield address, True
    finally:
        await asyncio.to_thread(embedded.__exit__, None, None, None)


@asynccontextmanager
async def open_desk(settings: Settings | None = None) -> AsyncIterator[Desk]:
    """Open the database, its schema checked (the embedded one is migrated). Raises Later, Stop."""
    settings = settings or load(Settings)
    async with address_of(settings) as (address, embedded):
        with reaching(address):
            if embedded:
                await migrate(address)
            await require_current(address)
            database = await Database.connect(address, size=2, name="hub:operator")
        try:
            clock = SystemClock()
            await database.set_clock(clock)
            yield Desk(settings, database, clock, embedded)
        finally:
            await database.close()


def at_desk(work: Callable[[Desk], Coroutine[Any, Any, T]]) -> T:
    """Do a command's work at a desk opened for it."""

    async def go() -> T:
        async with open_desk() as desk:
            return await work(desk)

    return asyncio.run(go())


async def require_services(desk: Desk, patience: float = 3.0) -> None:
    """Return once scheduler, fetcher and writer live; raises Later when they still do not after some seconds.

    A short while is waited, so that `hub up &` followed by a command works.
    """
    waited = 0.0
    while missing := await desk.silent():
        if waited >= patience:
            raise Later(nobody_runs(missing))
        await desk.clock.sleep(0.25)
        waited += 0.25


def nobody_runs(missing: list[str]) -> str:
    """The sentence for services that do not live."""
    if len(missing) == len(NEEDED):
        return "no service is running, so nothing would be synced; start them with `hub up`, or your deployment"
    names = " and no ".join(missing)
    return f"no {names} is running, so nothing would be written; start it with `hub up`, or in your deployment"
