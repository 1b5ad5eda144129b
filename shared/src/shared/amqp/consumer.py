"""Consumes lanes with manual acknowledgement, through restarts of the broker and cut connections."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import structlog
from aio_pika import Message
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from shared.amqp import wire
from shared.amqp.connection import Link
from shared.amqp.errors import translated
from shared.amqp.publisher import Outgoing, Publisher
from shared.bus.lanes import Pool
from shared.bus.port import Delivery
from shared.bus.topology import DEAD_EXCHANGE, retry_exchange
from shared.clock import Clock, wait
from shared.errors import Misconfigured, SyncError

log = structlog.get_logger()

ANSWER_TIMEOUT = 10.0  # seconds for the broker to answer a question
WATCH_SECONDS = 30.0  # how often the broker is asked whether it still knows us as a consumer
REFUSALS = 10  # refused log-ins or declarations in a row after which a person must look, and the consumer ends


@dataclass(slots=True)
class AmqpTaken:
    """One unacknowledged message."""

    consumer: "AmqpConsumer"
    incoming: AbstractIncomingMessage
    delivery: Delivery

    async def done(self) -> None:
        await self.consumer.acknowledge(self.incoming)

    async def retry(self, delay: int, cause: str) -> None:
        now = self.consumer.clock.now()
        await self._move(retry_exchange(delay), self.delivery.queue, wire.retried(self.delivery, now, cause))

    async def bury(self, reason: str) -> None:
        now = self.consumer.clock.now()
        await self._move(DEAD_EXCHANGE, self.delivery.queue, wire.buried(self.delivery, now, reason))

    async def release(self) -> None:
        await self.consumer.acknowledge(self.incoming, give_back=True)

    async def _move(self, exchange: str, routing_key: str, message: Message) -> None:
        """Publish, and only when that is confirmed acknowledge: twice is possible, never is not."""
        name = f"{self.delivery.message.type} {self.delivery.message.id}"
        await self.consumer.publisher.send(Outgoing(exchange, routing_key, message, name))
        await self.consumer.acknowledge(self.incoming)


class AmqpConsumer:
    """Keeps a channel with a consumer per lane open, and feeds a pool from it, until it ends."""

    def __init__(
        self, link: Link, publisher: Publisher, pool: Pool, *, clock: Clock, lanes: Sequence[str], prefetch: int
    ) -> None:
        self.publisher = publisher
        self.clock = clock
        self.counts: Counter[str] = Counter()  # opened, stale (acknowledged on a channel that was gone)
        self._link = link
        self._pool = pool
        self._lanes = lanes
        self._prefetch = prefetch
        self._lost = asyncio.Event()
        self._ended = asyncio.Event()
        self._aborted = False
        self._returning = False  # what is not being handled goes back at once
        self._consuming: list[tuple[AbstractQueue, str]] = []
        self._channel: AbstractChannel | None = None
        self._supervisor: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to consume. Raises what keeps it from it, so that a service does not start half."""
        await self._open()
        self._pool.start()
        self._supervisor = asyncio.create_task(self._supervise(), name=f"consumer of {self._lanes[0]}")

    async def stop(self) -> None:
        self._pool.end()
        try:
            await self._ended.wait()
        except asyncio.CancelledError:
            self._pool.abort()  # whoever waits has run out of patience
            raise

    async def abort(self) -> None:
        """End at once, as a crash would: handlers are cut short, and what they held is given again."""
        self._aborted = True
        self._pool.abort()
        await self._ended.wait()

    async def wait(self) -> None:
        await self._ended.wait()
        if self._pool.failure:
            raise self._pool.failure

    async def acknowledge(self, incoming: AbstractIncomingMessage, *, give_back: bool = False) -> None:
        """Acknowledge or give back. On a channel that is gone both are void: the broker gives it again anyway."""
        try:
            with translated("acknowledging"):
                async with asyncio.timeout(ANSWER_TIMEOUT):
                    await (incoming.nack(requeue=True) if give_back else incoming.ack())
        except SyncError:
            self.counts["stale"] += 1
            log.info("a message was settled too late and comes again", action="ack_stale", queue=self._lanes[0])

    async def _supervise(self) -> None:
        refusals = 0
        while not self._pool.ending.is_set():
            if self._channel is None:
                try:
                    await self._open(again=True)
                    refusals = 0
                except SyncError as error:
                    refusals = refusals + 1 if isinstance(error, Misconfigured) else 0
                    if refusals >= REFUSALS:
                        self._pool.end(error)
                        break
                    log.warning("cannot consume yet", action="consume_retried", detail=str(error))
                    await wait(self.clock, self._lost, self._link.wait())
                    continue
            await self._until_lost()
            if not self._pool.ending.is_set():
                await self._let_go()
                self._pool.clear()  # all of it comes again on the next channel
        await self._finish()

    async def _open(self, *, again: bool = False) -> None:
        channel = await self._link.channel(confirms=False, again=again)
        self._lost.clear()
        self._channel = channel  # held before anything can fail, so that it is closed in any case
        self._consuming = []
        try:
            with translated(f"consuming {', '.join(self._lanes)}"):
                async with asyncio.timeout(ANSWER_TIMEOUT):
                    channel.close_callbacks.add(self._on_loss)
                    underlay = await channel.get_underlay_channel()
                    underlay.on_consumer_cancel_callbacks.add(self._on_cancel)
                    await channel.set_qos(prefetch_count=self._prefetch)
                    for lane, name in enumerate(self._lanes):
                        queue = await channel.get_queue(name, ensure=False)
                        tag = await queue.consume(partial(self._on_message, channel, lane))
                        self._consuming.append((queue, tag))
        except BaseException:
            await self._let_go()
            raise
        self.counts["opened"] += 1
        log.info("consuming", action="consuming", lanes=list(self._lanes), prefetch=self._prefetch)

    async def _on_message(self, channel: AbstractChannel, lane: int, incoming: AbstractIncomingMessage) -> None:
        if channel is not self._channel:
            return  # given up: it comes again on the next one
        taken = AmqpTaken(self, incoming, wire.arrived(incoming, self._lanes[lane], self.clock.now()))
        if self._returning:
            await taken.release()
        else:
            self._pool.put(lane, taken)  # when ending nobody picks it, and it goes back with the others

    def _on_loss(self, _sender: object, _error: BaseException | None) -> None:
        self._lost.set()

    def _on_cancel(self, _frame: object) -> None:
        log.warning("the broker ended our consumer", action="consumer_cancelled", lanes=list(self._lanes))
        self._lost.set()

    async def _until_lost(self) -> None:
        """Return when the channel is lost, the broker does not know us any more, or we are ending."""
        ending = asyncio.create_task(self._pool.ending.wait())
        lost = asyncio.create_task(self._lost.wait())
        starving = False
        try:
            while True:
                tick = asyncio.create_task(self.clock.sleep(WATCH_SECONDS))
                try:
                    await asyncio.wait({ending, lost, tick}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    tick.cancel()
                if ending.done() or lost.done():
                    return
                known, fed = await self._watch()
                if not known or (starving and not fed):
                    log.error("the broker has lost us; consuming anew", action="consumer_missing")
                    return
                starving = not fed
        finally:
            ending.cancel()
            lost.cancel()

    async def _watch(self) -> tuple[bool, bool]:
        """Whether every lane has a consumer by the broker's count, and whether what waits in one reaches us."""
        known = fed = True
        try:
            with translated("asking for our consumers"):
                async with asyncio.timeout(ANSWER_TIMEOUT):
                    channel = await self._link.channel(confirms=False)
                    try:
                        for lane, name in enumerate(self._lanes):
                            queue = await channel.declare_queue(name, passive=True)
                            known = known and bool(queue.declaration_result.consumer_count)
                            fed = fed and not (queue.declaration_result.message_count and not self._pool.held[lane])
                    finally:
                        await channel.close()
        except SyncError:
            return False, False
        return known, fed

    async def _let_go(self) -> None:
        channel, self._channel = self._channel, None
        if channel and not channel.is_closed:
            with contextlib.suppress(SyncError), translated("closing a channel"):
                await asyncio.wait_for(channel.close(), ANSWER_TIMEOUT)

    async def _finish(self) -> None:
        """Consumers first, then what is in hand, then the channel."""
        for queue, tag in self._consuming:
            if self._channel and not self._channel.is_closed:
                with contextlib.suppress(SyncError), translated("ending a consumer"):
                    await queue.cancel(tag, timeout=ANSWER_TIMEOUT)
        if not self._aborted:  # then the channel's end returns all of it at once
            self._returning = True
            for _, taken in self._pool.clear():
                await taken.release()
        await self._pool.finished()
        await self._let_go()
        self._ended.set()
