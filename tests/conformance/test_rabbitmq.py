"""What only a broker of its own process can do to us: die, pause, cut the connection, refuse, count crashes."""

import asyncio
from random import Random
from urllib.parse import urlsplit

import aio_pika
import pytest
import structlog
from pamqp.common import FieldValue

from shared.amqp import AmqpBus, declare, publisher
from shared.bus.port import Bus, Delivery
from shared.bus.topology import DEAD_QUEUE, DELIVERY_LIMIT, EXCHANGE
from shared.clock import SystemClock
from shared.errors import Later, Misconfigured, SyncError
from tests.conformance.buses import (
    LANES,
    NEAR,
    PROVIDERS,
    QUICK,
    RACEDAY,
    Seen,
    a_request,
    depth_is,
    eventually,
    rabbitmq,
)
from tests.conftest import Broker
from tests.services import SETTLED_SECONDS


async def connect(url: str) -> AmqpBus:
    return await AmqpBus.connect(url, SystemClock(), PROVIDERS, Random(2), QUICK)


async def publish_until_taken(bus: Bus, message_id: str) -> None:
    """What the outbox does: try until it is confirmed."""
    while True:
        try:
            await bus.publish([a_request(RACEDAY, id=message_id)])
        except Later:
            await asyncio.sleep(0.1)
        else:
            return


async def test_a_broker_killed_and_started_loses_nothing_confirmed_and_consumers_come_back(broker: Broker) -> None:
    async with rabbitmq(QUICK, broker.url) as world:
        seen = Seen()
        consumer = await world.bus.consume(LANES, seen, concurrency=4)
        await asyncio.sleep(SETTLED_SECONDS)
        confirmed: list[str] = []
        enough = asyncio.Event()

        async def publish_on(name: str) -> None:
            number = 0
            while not enough.is_set():
                number += 1
                await publish_until_taken(world.bus, f"{name}{number}")
                confirmed.append(f"{name}{number}")

        async with asyncio.TaskGroup() as group:
            for name in "abcd":
                group.create_task(publish_on(name))
            await eventually(lambda: len(confirmed) > 200)
            await broker.kill()
            await broker.start()
            at_return = len(confirmed)
            # A node needs a moment to elect its queues' leaders; a reconnection waits up to 15 s.
            await eventually(lambda: len(confirmed) > at_return + 200, 40)
            enough.set()
        await eventually(lambda: set(confirmed) <= set(seen.ids), 30)
        await world.bus.ping()
        await consumer.stop()
        await consumer.wait()


async def test_a_cut_connection_comes_back_and_loses_nothing(amqp_url: str) -> None:
    bus = await connect(amqp_url)
    gate = asyncio.Event()

    async def wait(_: Delivery) -> None:
        await gate.wait()

    seen = Seen(wait)
    await bus.consume([NEAR], seen, concurrency=2, prefetch=4)
    await bus.publish([a_request(id=f"n{number}") for number in range(10)])
    await eventually(lambda: len(seen) == 2)
    await bus.sever()
    gate.set()
    # The two in hand are acknowledged on a channel that is gone, so they come twice; that is what "at least once" is.
    await eventually(lambda: set(seen.ids) == {f"n{number}" for number in range(10)})
    await depth_is(bus, NEAR, 0)
    await publish_until_taken(bus, "after")
    await bus.close()


async def test_a_consumer_that_the_broker_ends_begins_anew(amqp_url: str) -> None:
    """A queue that was deleted under us is declared again, and consumed."""
    bus = await connect(amqp_url)
    seen = Seen()
    await bus.consume([NEAR], seen, concurrency=1)
    async with await aio_pika.connect(amqp_url) as other:
        await (await other.channel()).queue_delete(NEAR)

    async def try_again() -> None:
        while True:
            try:
                await bus.publish([a_request(id="x")])
            except SyncError:
                await asyncio.sleep(0.1)
            else:
                return

    await asyncio.wait_for(try_again(), 15)
    await eventually(lambda: len(seen))
    await bus.close()


async def test_a_broker_in_need_makes_publishing_fail_later(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "PUBLISH_TIMEOUT", 1.0)
    bus = await connect(broker.url)
    await broker.pause()
    try:
        with pytest.raises(Later, match="in time"):
            await bus.publish([a_request()])
    finally:
        await broker.resume()
    await publish_until_taken(bus, "after")
    await bus.close()


async def test_a_message_that_crashes_its_consumer_again_and_again_is_dead_in_the_end(amqp_url: str) -> None:
    bus = await connect(amqp_url)
    await bus.publish([a_request(id="poison")])

    async def hang(_: Delivery) -> None:
        await asyncio.Event().wait()

    crashes = 0
    while not await bus.depth(DEAD_QUEUE):
        held = Seen(hang)
        consumer = await bus.consume([NEAR], held, concurrency=1)
        try:
            await eventually(lambda: len(held), 1.0)  # noqa: B023 - awaited here
            crashes += 1
        except TimeoutError:
            pass
        await consumer.abort()  # type: ignore[attr-defined]  # for tests only, so not of the port
    assert DELIVERY_LIMIT <= crashes <= DELIVERY_LIMIT + 1
    seen = Seen()
    await bus.consume([DEAD_QUEUE], seen, concurrency=1)
    await eventually(lambda: len(seen))
    letter = seen.deliveries[0]
    assert letter.message.id == "poison"
    assert letter.death
    assert (letter.death.reason, letter.death.queue) == ("delivery_limit", NEAR)
    await bus.close()


async def test_what_somebody_else_published_with_strange_headers_is_a_delivery_too(amqp_url: str) -> None:
    bus = await connect(amqp_url)
    async with await aio_pika.connect(amqp_url) as other:
        exchange = await (await other.channel()).get_exchange(EXCHANGE)
        strange: dict[str, FieldValue] = {
            "hub-attempt": "many",
            "hub-first-seen": "yesterday",
            "hub-message-id": 7,
            "x-death": "no list",
        }
        await exchange.publish(
            aio_pika.Message(b"?", message_id="theirs", headers=strange), "sync.request.v1.runsignup.near"
        )
    seen = Seen()
    await bus.consume([NEAR], seen, concurrency=1)
    await eventually(lambda: len(seen))
    delivery = seen.deliveries[0]
    assert (delivery.message.id, delivery.message.type, delivery.attempt) == ("theirs", "", 1)
    await bus.close()


async def test_a_queue_browser_is_told_what_a_message_is(amqp_url: str) -> None:
    bus = await connect(amqp_url)
    await bus.publish([a_request(id="m1")])
    async with await aio_pika.connect(amqp_url) as other:
        found = await (await (await other.channel()).get_queue(NEAR)).get()
        await found.nack()
    await bus.close()
    assert (found.type, found.correlation_id, found.content_type) == ("sync.request.v1", "run-1", "application/json")
    assert found.headers["hub-message-id"] == "m1"
    assert found.message_id not in {None, "m1"}
    assert found.timestamp
    assert found.delivery_mode == aio_pika.DeliveryMode.PERSISTENT


async def test_the_same_id_may_be_published_twice(amqp_url: str) -> None:
    bus = await connect(amqp_url)
    await bus.publish([a_request(id="same"), a_request(id="same")])
    await depth_is(bus, NEAR, 2)
    await bus.close()


async def test_a_queue_with_other_properties_is_a_matter_for_a_person(amqp_url: str) -> None:
    async with await aio_pika.connect(amqp_url) as other:
        await (await other.channel()).declare_queue(NEAR, durable=True)
    with pytest.raises(Misconfigured, match="near exists with other properties"):
        await connect(amqp_url)


async def test_declaring_twice_at_once_is_harmless(amqp_url: str) -> None:
    buses = await asyncio.gather(*(connect(amqp_url) for _ in range(3)))
    await asyncio.gather(*(bus.close() for bus in buses))


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ("wrong password", Misconfigured),
        ("no such vhost", Misconfigured),
        ("nobody there", Later),
        ("no address", Misconfigured),
    ],
)
async def test_a_broker_that_cannot_be_used_is_said_so_without_the_password(
    amqp_url: str, change: str, kind: type[SyncError]
) -> None:
    parts = urlsplit(amqp_url)
    url = {
        "wrong password": f"amqp://{parts.username}:hunter2@{parts.hostname}:{parts.port}{parts.path}",
        "no such vhost": f"amqp://{parts.username}:{parts.password}@{parts.hostname}:{parts.port}/hunter2",
        "nobody there": f"amqp://{parts.username}:hunter2@127.0.0.1:1{parts.path}",
        "no address": "hunter2",
    }[change]
    with structlog.testing.capture_logs() as logs, pytest.raises(kind) as raised:
        async with asyncio.timeout(30):
            await connect(url)
    assert "hunter2" not in f"{raised.value} {logs}"


async def test_only_the_declared_is_declared_again_by_the_next_connection(amqp_url: str) -> None:
    """Services whose user may not configure go without: somebody else has declared."""
    async with await aio_pika.connect(amqp_url) as other:
        await declare.declare(other, PROVIDERS, QUICK.delays)
    bus = await AmqpBus.connect(amqp_url, SystemClock(), PROVIDERS, Random(2), QUICK, may_declare=False)
    await bus.publish([a_request()])
    await depth_is(bus, NEAR, 1)
    await bus.close()


async def test_without_a_topology_publishing_fails_later(amqp_url: str) -> None:
    bus = await AmqpBus.connect(amqp_url, SystemClock(), PROVIDERS, Random(2), QUICK, may_declare=False)
    with pytest.raises(Later, match="missing"):
        await bus.publish([a_request()])
    with pytest.raises(Later, match="missing"):
        await bus.consume([NEAR], Seen(), concurrency=1)
    with pytest.raises(Later):
        await bus.ping()
    await bus.close()
