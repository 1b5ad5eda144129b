"""The house: everything a service is given, and nothing it has to look for."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

from shared.bus.port import Bus
from shared.clock import Clock
from shared.postgres import Database
from shared.secrets import Sealer, no_key
from shared.settings import Settings


class Bells:
    """Wake-ups by word. A loop waits for its bell or its interval, whichever comes first."""

    def __init__(self) -> None:
        self._bells: dict[str, list[asyncio.Event]] = {}

    def bell(self, *words: str) -> asyncio.Event:
        """An event that is set whenever one of the words is heard."""
        event = asyncio.Event()
        for word in (*words, "connected"):
            self._bells.setdefault(word, []).append(event)
        return event

    def ring(self, word: str) -> None:
        """Let everybody who waits for the word look."""
        for event in self._bells.get(word, ()):
            event.set()


@dataclass(slots=True)
class House:
    """What a service runs on. ``stopping`` is set when it should finish what it has begun and return."""

    settings: Settings
    clock: Clock
    random: Random
    database: Database
    bus: Bus
    key: Sealer | None  # of who is given the secret key: scheduler and fetcher
    bells: Bells = field(default_factory=Bells)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    beat: Callable[[str], None] = lambda _loop: None  # a loop says that it is alive

    def sealer(self) -> Sealer:
        """What seals and opens partners' keys; raises Misconfigured when this process was not given the secret key."""
        if self.key is None:
            raise no_key()
        return self.key

    def new_id(self) -> UUID:
        """A random identifier, from the randomness that was passed in."""
        return UUID(int=self.random.getrandbits(128), version=4)
