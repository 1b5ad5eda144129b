"""The writer, put together."""

from functools import partial

from shared.bus.topology import DEAD_QUEUE, WRITE_QUEUES
from shared.runtime import House
from shared.runtime.consuming import consume_until_stopping
from shared.settings import load
from writer.dead_letters import on_dead_letter
from writer.handlers import on_message
from writer.settings import WriterSettings


async def run(house: House, settings: WriterSettings | None = None) -> None:
    """Apply batches, nearest class first, until the house is stopping."""
    settings = settings or load(WriterSettings)
    handler = partial(on_message, house=house, settings=settings)
    consumer = await house.bus.consume(WRITE_QUEUES, handler, concurrency=settings.write_concurrency)
    keeper = await house.bus.consume([DEAD_QUEUE], partial(on_dead_letter, house=house), concurrency=1)
    await consume_until_stopping(house, [consumer, keeper])
