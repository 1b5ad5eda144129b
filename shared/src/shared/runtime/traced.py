"""A bus whose publishing and handling are spans of their runs' traces."""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack

from shared.bus.port import Bus, Consumer, Delivery, Handler, Message
from shared.telemetry.tracing import span


class TracedBus:
    """Passes everything on to another bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.is_durable = bus.is_durable
        self.depth = bus.depth
        self.ping = bus.ping
        self.close = bus.close

    async def publish(self, messages: Sequence[Message]) -> None:
        with ExitStack() as spans:
            for (kind, run), count in Counter((each.type, each.correlation_id) for each in messages).items():
                spans.enter_context(span(f"publish {kind}", run, messages=count))
            await self._bus.publish(messages)

    async def consume(
        self, lanes: Sequence[str], handler: Handler, *, concurrency: int, prefetch: int | None = None
    ) -> Consumer:
        async def traced(delivery: Delivery) -> None:
            message = delivery.message
            facts: dict[str, str | int] = {"queue": delivery.queue, "attempt": delivery.attempt, "message": message.id}
            with span(f"handle {message.type}", message.correlation_id, **facts):
                await handler(delivery)

        return await self._bus.consume(lanes, traced, concurrency=concurrency, prefetch=prefetch)
