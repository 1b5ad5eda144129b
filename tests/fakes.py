"""Stand-ins for the doors of the house: a clock that is set by hand, a bus that keeps what it was given, a house."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest

from shared.bus.inprocess import InProcessBus
from shared.bus.port import Delivery, Message
from shared.contracts import Body, decode, encode
from shared.postgres import Database
from shared.providers.registry import PROVIDERS
from shared.runtime import House
from shared.settings import Settings, load
from tests.builders import NOON, SEALER
from tests.services import under
from writer.handlers import on_message
from writer.settings import WriterSettings


class ManualClock:
    """Stands where it was set, until a test lets time go by. Whoever sleeps is soon awake, and it is no later."""

    def __init__(self, now: datetime = NOON) -> None:
        self.at = now

    def now(self) -> datetime:
        return self.at

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0.001)

    def pass_(self, seconds: float) -> None:
        """Let time go by."""
        self.at += timedelta(seconds=seconds)


class RecordingBus(InProcessBus):
    """A bus that nobody reads: it takes everything and keeps it."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock, Random(1), providers=tuple(PROVIDERS))
        self.messages: list[Message] = []

    async def publish(self, messages: Sequence[Message]) -> None:
        self.messages += messages

    @property
    def bodies(self) -> list[Body]:
        """What was published, in order."""
        return [decode(each.body)[1] for each in self.messages]


def a_house(database: Database, clock: ManualClock | None = None, *, seed: int = 1) -> House:
    """A house on a real database, with a clock of its own and a bus that only records."""
    clock = clock or ManualClock()
    settings = load(Settings, _env_file=None)
    return House(settings, clock, Random(seed), database, RecordingBus(clock), SEALER)


@asynccontextmanager
async def a_database(url: str, *, size: int = 4) -> AsyncIterator[Database]:
    """A pool of its own, as another process would have."""
    database = await Database.connect(url, size=size, name="test")
    try:
        yield database
    finally:
        await database.close()


def a_delivery(body: Body, *, message_id: UUID | None = None) -> Delivery:
    """A message as a handler gets it."""
    message = encode(body, id=message_id or uuid4(), occurred_at=NOON, source="test")
    return Delivery(message, "test", 1, NOON)


async def write(house: House, *bodies: Body, settings: WriterSettings | None = None) -> None:
    """Let the writer handle messages, one after the other."""
    for body in bodies:
        await on_message(a_delivery(body), house=house, settings=settings or WriterSettings())


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with a_database(database_url) as database:
        yield database


@pytest.fixture
async def other_database(database_url: str) -> AsyncIterator[Database]:
    """Another process's connections to the same database."""
    async with a_database(database_url) as database:
        yield database


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def house(database: Database, clock: ManualClock) -> House:
    return a_house(database, clock)


def house_as(role: str) -> Any:
    """A fixture like ``house``, whose handlers do everything in the database as a service's own role."""

    @pytest.fixture(name="house")
    async def house(database_url: str, clock: ManualClock) -> AsyncIterator[House]:
        async with a_database(under(database_url, role)) as database:
            yield a_house(database, clock)

    return house
