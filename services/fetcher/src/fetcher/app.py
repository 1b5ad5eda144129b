"""The fetcher, put together."""

import asyncio
from collections.abc import Callable
from functools import partial

from fetcher.calling import Caller
from fetcher.gate import Gate
from fetcher.handlers import on_sync_request
from fetcher.ledger import Ledger
from fetcher.settings import FetcherSettings
from shared.bus.topology import fetch_queues
from shared.providers.port import Client
from shared.providers.registry import PROVIDERS, open_client
from shared.runtime import House
from shared.runtime.consuming import consume_until_stopping
from shared.settings import load


async def run(
    house: House, settings: FetcherSettings | None = None, *, opened: Callable[..., Client] = open_client
) -> None:
    """Handle sync requests, nearest class first, until the house is stopping; ``opened`` opens a platform's client."""
    settings = settings or load(FetcherSettings)
    house.sealer()  # without it no key would open: said at the start
    ledger = Ledger(house.database, settings)
    gate = Gate(ledger, house.clock, house.bells)
    clients = {name: opened(name, house.settings, timeout_seconds=settings.call_seconds) for name in PROVIDERS}
    callers = {name: Caller(house, PROVIDERS[name], client, ledger, gate, settings) for name, client in clients.items()}
    handler = partial(on_sync_request, house=house, settings=settings, callers=callers)
    consumers = [
        await house.bus.consume(fetch_queues(name), handler, concurrency=settings.fetch_concurrency)
        for name in PROVIDERS
    ]
    try:
        await consume_until_stopping(house, consumers, gate.run())
    finally:
        await asyncio.gather(*(each.close() for each in clients.values()))
