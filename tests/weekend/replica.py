"""One replica of each service, on the bus, database and clock that all share; it can be killed."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any
from unittest.mock import patch

import fetcher.app
import scheduler.app
import scheduler.replaying
import shared.runtime.relay
import shared.runtime.service
from shared.bus.inprocess import InProcessBus
from shared.bus.port import Consumer, Handler
from shared.clock import Clock
from shared.postgres import Database
from shared.providers.port import Client
from shared.runtime import House
from shared.runtime.relay import relay
from shared.runtime.service import beats, services
from shared.secrets import Sealer
from shared.settings import Settings
from tests.weekend.stillness import Stillness

#: Looks that are only there for wake-ups that were lost; here none is, and each costs as much as a poll.
UNHURRIED = {"HUB_TICK_SECONDS": "60", "HUB_SWEEP_SECONDS": "30", "HUB_PLAN_SECONDS": "1800", "HUB_LOG_LEVEL": "ERROR"}


@contextmanager
def unhurried() -> Iterator[None]:
    """Let everyone look less often for what they hear of anyway; in production such a look comes every few seconds."""
    with (
        patch.dict(os.environ, UNHURRIED),
        patch.multiple(shared.runtime.service, BEAT_SECONDS=60.0),
        patch.multiple(shared.runtime.relay, STANDBY_SECONDS=10.0, IDLE_SECONDS=60.0),
        patch.multiple(scheduler.app, MEASURE_EVERY=timedelta(minutes=5), CHECK_EVERY=timedelta(minutes=30)),
        patch.multiple(scheduler.replaying, IDLE_SECONDS=60.0, MAPPING_EVERY=timedelta(minutes=10)),
    ):
        yield


class Place:
    """A replica's place at the shared bus: it knows which consumers are its own."""

    def __init__(self, bus: InProcessBus) -> None:
        self._bus = bus
        self.is_durable = True  # it outlives any of its replicas
        self.consumers: list[Any] = []  # of the in-process bus, which can abort them
        self.publish, self.depth, self.ping, self.close = bus.publish, bus.depth, bus.ping, bus.close

    async def consume(
        self, lanes: Sequence[str], handler: Handler, *, concurrency: int, prefetch: int | None = None
    ) -> Consumer:
        """As the bus does."""
        consumer = await self._bus.consume(lanes, handler, concurrency=concurrency, prefetch=prefetch)
        self.consumers.append(consumer)
        return consumer


class Replica:
    """The four services' own code in a house of its own."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        seed: str,
        shared: tuple[Database, InProcessBus, Sealer],
        open_client: Callable[..., Client],
    ) -> None:
        database, bus, sealer = shared
        self.place = Place(bus)
        self.house = House(settings, clock, Random(seed), database, self.place, sealer)
        self._open_client = open_client
        self._tasks: list[asyncio.Task[None]] = []
        self.is_killed = False

    async def start(self, stillness: Stillness) -> None:
        """Start everything, and let the clock wait for what this replica hears, too."""
        house = self.house
        members: dict[str, Coroutine[Any, Any, None]] = {
            "ear": house.database.listen(house.bells.ring),
            "relay": relay(house),
            "beats": beats(house, list(services())),
        }
        for name, run in services().items():
            own = partial(fetcher.app.run, opened=self._open_client) if name == "fetcher" else run
            members[name] = own(house)
        hearing = stillness.attend(house.bells)
        self._tasks = [asyncio.create_task(each, name=name) for name, each in members.items()]
        await hearing

    async def failed(self) -> None:
        """Return when it was killed; raise what else ended one of its tasks."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        if not self.is_killed:
            for task in done:
                task.result()
            raise AssertionError(f"{sorted(task.get_name() for task in done)} returned")

    def at_work(self) -> int:
        """How many of its consumers are handling something."""
        return sum(not consumer.idle() for consumer in self.place.consumers)

    async def kill(self, stillness: Stillness) -> None:
        """End it as a crash would: every task is cut short where it stands, and what it held is given again."""
        self.is_killed = True
        stillness.ignore(self.house.bells)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(consumer.abort() for consumer in self.place.consumers))
        await asyncio.gather(*self._tasks, return_exceptions=True)
