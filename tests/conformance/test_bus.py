"""What every bus promises, asked of both: the one of this process and RabbitMQ."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from shared.bus.port import Delivery, Message
from shared.bus.topology import DEAD_QUEUE, MAX_MESSAGE_BYTES, SCHEDULE_QUEUE, WATCH_QUEUE
from shared.errors import Later, Misconfigured, Never, Stop
from tests.conformance.buses import (
    BACKFILL,
    LANES,
    NEAR,
    QUICK,
    RACEDAY,
    ROUTINE,
    Seen,
    World,
    a_request,
    depth_is,
    eventually,
    in_process,
    rabbitmq,
)


@pytest.fixture(params=["inprocess", "rabbitmq"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "inprocess":
        async with in_process(QUICK) as world:
            yield world
    else:
        async with rabbitmq(QUICK, request.getfixturevalue("amqp_url")) as world:
            yield world


async def dead_letter(world: World) -> Delivery:
    """The one dead letter there is."""
    seen = Seen()
    consumer = await world.bus.consume([DEAD_QUEUE], seen, concurrency=1)
    await eventually(lambda: len(seen))
    await consumer.stop()
    assert len(seen) == 1
    return seen.deliveries[0]


async def test_a_message_arrives_as_it_was_sent(world: World) -> None:
    message = a_request(body='{"bib":"101 ✓"}'.encode())
    seen = Seen()
    await world.bus.publish([message])
    before = world.clock.now()
    await world.bus.consume([NEAR], seen, concurrency=1)
    await eventually(lambda: len(seen))
    delivery = seen.deliveries[0]
    assert delivery.message == message
    assert (delivery.queue, delivery.attempt, delivery.redelivered, delivery.death) == (NEAR, 1, False, None)
    assert before <= delivery.first_seen <= world.clock.now()


async def test_a_handled_message_never_comes_again(world: World) -> None:
    seen = Seen()
    consumer = await world.bus.consume([NEAR], seen, concurrency=1)
    await world.bus.publish([a_request()])
    await eventually(lambda: world.handled)
    await consumer.stop()
    again = Seen()
    second = await world.bus.consume([NEAR], again, concurrency=1)
    await world.bus.publish([a_request(id="last")])
    await eventually(lambda: len(again))
    await second.stop()
    assert again.ids == ["last"]
    assert [each.outcome for each in world.handled] == ["done", "done"]


async def test_later_gives_the_message_again_after_the_delay(world: World) -> None:
    began = world.clock.now()
    at: list[float] = []

    async def note(delivery: Delivery) -> None:
        at.append((world.clock.now() - began).total_seconds())
        if delivery.attempt == 1:
            raise Later("the provider is down", retry_after=1)

    seen = Seen(note)
    await world.bus.consume([NEAR], seen, concurrency=1)
    await world.bus.publish([a_request(id="a")])
    await eventually(lambda: len(seen) == 2)
    first, second = seen.deliveries
    assert at[1] - at[0] >= 0.95  # the broker counts in milliseconds from its own reading of the clock
    assert (first.attempt, second.attempt) == (1, 2)
    assert second.message == first.message
    assert second.first_seen == first.first_seen
    assert second.queue == NEAR


async def test_later_until_the_attempts_are_used_up_is_dead(world: World) -> None:
    seen = Seen(Later("the database restarts"))
    consumer = await world.bus.consume([NEAR], seen, concurrency=1)
    message = a_request()
    await world.bus.publish([message])
    await depth_is(world.bus, DEAD_QUEUE, 1)
    await consumer.stop()
    assert [delivery.attempt for delivery in seen.deliveries] == [1, 2, 3]
    letter = await dead_letter(world)
    assert letter.message == message
    assert letter.death
    assert (letter.death.reason, letter.death.queue, letter.death.attempts) == ("attempts:Later", NEAR, 3)
    assert letter.death.first_seen == seen.deliveries[0].first_seen
    assert letter.death.died_at
    assert letter.death.died_at >= letter.death.first_seen


async def test_never_is_dead_at_once_with_its_reason(world: World) -> None:
    seen = Seen(Never("no such race: 17", reason="unknown_race"))
    consumer = await world.bus.consume([NEAR], seen, concurrency=1)
    message = a_request()
    await world.bus.publish([message])
    await depth_is(world.bus, DEAD_QUEUE, 1)
    await consumer.stop()
    letter = await dead_letter(world)
    assert len(seen) == 1
    assert letter.message == message
    assert letter.death
    assert (letter.death.reason, letter.death.queue, letter.death.attempts) == ("unknown_race", NEAR, 1)


async def test_stop_leaves_the_message_and_ends_the_consumer_with_that_error(world: World) -> None:
    error = Misconfigured("HUB_SECRET_KEY is missing")
    consumer = await world.bus.consume([NEAR], Seen(error), concurrency=1)
    await world.bus.publish([a_request(id="kept")])
    with pytest.raises(Stop) as raised:
        await asyncio.wait_for(consumer.wait(), 10)
    assert raised.value is error
    await depth_is(world.bus, NEAR, 1)
    seen = Seen()
    await world.bus.consume([NEAR], seen, concurrency=1)
    await eventually(lambda: len(seen))
    assert (seen.ids, seen.deliveries[0].attempt) == (["kept"], 1)


async def test_an_unknown_exception_counts_as_later(world: World) -> None:
    async def stumble(delivery: Delivery) -> None:
        if delivery.attempt == 1:
            raise KeyError("a person's name")

    seen = Seen(stumble)
    await world.bus.consume([NEAR], seen, concurrency=1)
    await world.bus.publish([a_request()])
    await eventually(lambda: len(world.handled) == 2)
    assert [(each.outcome, each.reason) for each in world.handled] == [("retry", "KeyError"), ("done", "")]


async def test_the_reason_of_an_unknown_exception_is_its_class_alone(world: World) -> None:
    consumer = await world.bus.consume([NEAR], Seen(ValueError("Ann Runner, secret 123")), concurrency=1)
    await world.bus.publish([a_request()])
    await depth_is(world.bus, DEAD_QUEUE, 1)
    await consumer.stop()
    letter = await dead_letter(world)
    assert letter.death
    assert letter.death.reason == "attempts:ValueError"


async def test_a_retry_returns_only_to_the_queue_that_it_came_from(world: World) -> None:
    """Two queues get one kind of message only by their bindings, so a retry must not pass the exchange again."""
    watch = Seen(Later("not now"))
    other = Seen()
    await world.bus.consume([WATCH_QUEUE], watch, concurrency=1)
    await world.bus.consume([SCHEDULE_QUEUE, *LANES], other, concurrency=1)
    await world.bus.publish([Message("c1", "participants.changed.v1", "participants.changed.v1", b"{}")])
    await eventually(lambda: len(watch) == 3)
    assert len(other) == 0
    assert {delivery.queue for delivery in watch.deliveries} == {WATCH_QUEUE}


async def test_what_a_dead_consumer_held_is_given_again(world: World) -> None:
    async def hang(_: Delivery) -> None:
        await asyncio.Event().wait()

    held = Seen(hang)
    first = await world.bus.consume([NEAR], held, concurrency=1, prefetch=2)
    await world.bus.publish([a_request(id="a"), a_request(id="b")])
    await eventually(lambda: len(held))
    await world.crash(first)
    seen = Seen()
    await world.bus.consume([NEAR], seen, concurrency=1)
    await eventually(lambda: len(seen) == 2)
    assert sorted(seen.ids) == ["a", "b"]
    assert all(delivery.redelivered and delivery.attempt == 1 for delivery in seen.deliveries)


async def test_no_more_than_the_prefetch_is_taken_before_it_is_handled(world: World) -> None:
    go = asyncio.Event()

    async def wait(_: Delivery) -> None:
        await go.wait()

    seen = Seen(wait)
    await world.bus.publish([a_request() for _ in range(7)])
    await world.bus.consume([NEAR], seen, concurrency=1, prefetch=3)
    await depth_is(world.bus, NEAR, 4)
    await eventually(lambda: len(seen) == 1)
    go.set()
    await eventually(lambda: len(seen) == 7)


async def test_as_many_handlers_run_at_once_as_allowed_and_no_more(world: World) -> None:
    at_once = most = 0

    async def work(_: Delivery) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.02)
        at_once -= 1

    await world.bus.publish([a_request(lane) for lane in LANES for _ in range(4)])
    await world.bus.consume(LANES, Seen(work), concurrency=3)
    await eventually(lambda: len(world.handled) == 16)
    assert most == 3


async def test_the_nearest_class_comes_first(world: World) -> None:
    seen = Seen()
    gate = asyncio.Event()

    async def wait_for_all(_: Delivery) -> None:
        await gate.wait()

    seen = Seen(wait_for_all)
    await world.bus.publish([a_request(RACEDAY, id="first")])
    await world.bus.consume(LANES, seen, concurrency=1, prefetch=3)
    await eventually(lambda: len(seen))
    await world.bus.publish([a_request(lane, id=lane) for lane in reversed(LANES) for _ in range(3)])
    for lane in LANES:
        await depth_is(world.bus, lane, 1 if lane == RACEDAY else 0)  # one of the prefetch is being handled
    gate.set()
    await eventually(lambda: len(seen) == 13)
    order = seen.ids[1:]
    # The third one of the nearest is only sent when a place is free, so it may find a farther one at work.
    assert order[:2] == [RACEDAY, RACEDAY]
    assert [each for each in order if each != RACEDAY] == [NEAR] * 3 + [ROUTINE] * 3 + [BACKFILL] * 3


async def test_the_lowest_class_moves_while_a_near_one_is_busy(world: World) -> None:
    seen = Seen()
    await world.bus.publish([a_request(BACKFILL, id="low") for _ in range(3)])
    await world.bus.publish([a_request(RACEDAY, id="near") for _ in range(60)])
    consumer = await world.bus.consume(LANES, seen, concurrency=1, prefetch=50)
    await eventually(lambda: len(seen) >= 63)
    await consumer.stop()
    assert "low" in seen.ids[:40]
    # Three in the first 48 picks; the prefetched rest of the near ones comes before a fourth could.
    assert seen.ids.index("low") >= 0
    assert max(index for index, each in enumerate(seen.ids) if each == "low") < 55


async def test_messages_of_one_queue_are_handled_in_order(world: World) -> None:
    messages = [a_request(id=f"n{number:03}") for number in range(100)]
    seen = Seen()
    await world.bus.publish(messages)
    await world.bus.consume([NEAR], seen, concurrency=1, prefetch=20)
    await eventually(lambda: len(seen) == 100)
    assert seen.ids == [message.id for message in messages]


async def test_five_hundred_messages_are_confirmed(world: World) -> None:
    """More than a queue of the in-process bus holds, so somebody must read."""
    seen = Seen()
    await world.bus.consume([NEAR], seen, concurrency=8, prefetch=64)
    await world.bus.publish([a_request() for _ in range(500)])
    await eventually(lambda: len(seen) == 500)
    assert len(set(seen.ids)) == 500


async def test_an_oversize_message_is_never_taken_and_nothing_with_it(world: World) -> None:
    with pytest.raises(Never, match="bytes") as raised:
        await world.bus.publish([a_request(), a_request(body=b" " * (MAX_MESSAGE_BYTES + 1))])
    assert raised.value.reason == "oversize"
    assert await world.bus.depth(NEAR) == 0


async def test_a_message_of_a_megabyte_arrives(world: World) -> None:
    seen = Seen()
    await world.bus.publish([a_request(body=b"x" * 1_000_000)])
    await world.bus.consume([NEAR], seen, concurrency=1)
    await eventually(lambda: len(seen))
    assert seen.deliveries[0].message.body == b"x" * 1_000_000


@pytest.mark.parametrize("body", [b"", b"\x00\xff\xfe not JSON", b"{" * 1000], ids=["empty", "bytes", "braces"])
async def test_undecodable_bytes_reach_the_handler_as_they_are(world: World, body: bytes) -> None:
    seen = Seen()
    await world.bus.publish([a_request(body=body)])
    await world.bus.consume([NEAR], seen, concurrency=1)
    await eventually(lambda: len(seen))
    assert seen.deliveries[0].message.body == body


async def test_a_command_that_no_queue_is_bound_to_is_never_taken(world: World) -> None:
    lost = replace(a_request(), routing_key="sync.request.v1.unheard-of.near")
    with pytest.raises(Never) as raised:
        await world.bus.publish([lost])
    assert raised.value.reason == "unroutable"
    assert lost.id in str(raised.value)


async def test_many_unroutable_among_routable_ones_are_all_noticed(world: World) -> None:
    """With one AMQP message id for two publishes in flight, one of these would be reported as taken."""
    lost = replace(a_request(id="twin"), routing_key="sync.request.v1.unheard-of.near")
    good = [a_request(id="twin") for _ in range(20)]
    for _ in range(3):
        with pytest.raises(Never):
            await world.bus.publish([*good, lost])


async def test_an_optional_event_that_nobody_wants_is_dropped(world: World) -> None:
    await world.bus.publish([Message("b1", "bib.changed.v1", "bib.changed.v1", b"{}")])


async def test_a_dead_letter_that_cannot_be_filed_stays_and_keeps_its_story(world: World) -> None:
    consumer = await world.bus.consume([NEAR], Seen(Never("bad", reason="bad")), concurrency=1)
    await world.bus.publish([a_request()])
    await depth_is(world.bus, DEAD_QUEUE, 1)
    await consumer.stop()

    async def refuse_once(delivery: Delivery) -> None:
        if delivery.attempt == 1:
            raise Never("the keeper of dead letters has a defect")

    seen = Seen(refuse_once)
    await world.bus.consume([DEAD_QUEUE], seen, concurrency=1)
    await eventually(lambda: len(seen) == 2)
    first, second = seen.deliveries
    assert first.death == second.death
    assert first.death
    assert first.death.reason == "bad"


async def test_stop_waits_for_the_handlers_in_flight_and_gives_the_rest_back(world: World) -> None:
    go = asyncio.Event()
    finished: list[str] = []

    async def work(delivery: Delivery) -> None:
        await go.wait()
        finished.append(delivery.message.id)

    seen = Seen(work)
    consumer = await world.bus.consume([NEAR], seen, concurrency=1, prefetch=3)
    await world.bus.publish([a_request(id=name) for name in "abcd"])
    await eventually(lambda: len(seen))
    stopping = asyncio.create_task(consumer.stop())
    await depth_is(world.bus, NEAR, 3)  # the prefetched ones are back before the handler is done
    assert not stopping.done()
    go.set()
    await asyncio.wait_for(stopping, 10)
    await consumer.stop()  # safe to repeat
    await consumer.wait()  # ended in order: raises nothing
    assert finished == ["a"]
    assert await world.bus.depth(NEAR) == 3
    rest = Seen()
    await world.bus.consume([NEAR], rest, concurrency=1)
    await eventually(lambda: len(rest) == 3)
    assert rest.ids == ["b", "c", "d"]


async def test_what_arrives_while_a_consumer_ends_goes_back_at_once(world: World) -> None:
    """Not only when the last handler is done, which may take minutes."""
    go = asyncio.Event()

    async def wait(_: Delivery) -> None:
        await go.wait()

    seen = Seen(wait)
    await world.bus.publish([a_request() for _ in range(60)])
    consumer = await world.bus.consume([NEAR], seen, concurrency=1, prefetch=50)
    await eventually(lambda: len(seen))
    stopping = asyncio.create_task(consumer.stop())
    await depth_is(world.bus, NEAR, 59)
    go.set()
    await asyncio.wait_for(stopping, 10)


async def test_a_stop_out_of_patience_cuts_the_handlers_short_and_loses_nothing(world: World) -> None:
    async def hang(_: Delivery) -> None:
        await asyncio.Event().wait()

    seen = Seen(hang)
    consumer = await world.bus.consume([NEAR], seen, concurrency=1)
    await world.bus.publish([a_request()])
    await eventually(lambda: len(seen))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(consumer.stop(), 0.05)
    await asyncio.wait_for(consumer.wait(), 10)
    await depth_is(world.bus, NEAR, 1)


async def test_two_consumers_share_a_queue(world: World) -> None:
    one, other = Seen(), Seen()
    await world.bus.consume([NEAR], one, concurrency=1)
    await world.bus.consume([NEAR], other, concurrency=1)
    await world.bus.publish([a_request() for _ in range(20)])
    await eventually(lambda: len(one) + len(other) == 20)
    assert one.ids
    assert other.ids
    assert not set(one.ids) & set(other.ids)


async def test_a_handler_may_publish(world: World) -> None:
    async def pass_on(delivery: Delivery) -> None:
        await world.bus.publish([a_request(BACKFILL, id=f"from {delivery.message.id}")])

    passed = Seen()
    await world.bus.consume([NEAR], Seen(pass_on), concurrency=2)
    await world.bus.consume([BACKFILL], passed, concurrency=1)
    await world.bus.publish([a_request(id="a"), a_request(id="b")])
    await eventually(lambda: len(passed) == 2)
    assert sorted(passed.ids) == ["from a", "from b"]


async def test_a_run_of_dead_letters_pauses_the_consumer_and_one_success_lets_it_go_on(world: World) -> None:
    at: list[float] = []
    began = world.clock.now()

    async def broken_for_the_first_four(_: Delivery) -> None:
        at.append((world.clock.now() - began).total_seconds())
        if len(at) <= 4:
            raise Never("a bad deployment", reason="bad")

    world.bus.policy = replace(QUICK, pause_after=3, pause_seconds=1.0)
    seen = Seen(broken_for_the_first_four)
    await world.bus.publish([a_request() for _ in range(8)])
    await world.bus.consume([NEAR], seen, concurrency=1)
    await eventually(lambda: len(seen) == 8)
    pauses = [later - earlier >= 0.95 for earlier, later in itertools.pairwise(at)]
    assert pauses == [False, False, True, True, False, False, False]
    await depth_is(world.bus, DEAD_QUEUE, 4)


async def test_ping_answers(world: World) -> None:
    await world.bus.ping()


async def test_a_queue_that_does_not_exist_has_no_depth(world: World) -> None:
    with pytest.raises(Never):
        await world.bus.depth("nowhere")


async def test_after_close_nothing_can_be_published(world: World) -> None:
    await world.bus.consume([NEAR], Seen(), concurrency=1)
    await world.bus.close()
    await world.bus.close()  # safe to repeat
    with pytest.raises(Later, match="closed"):
        await world.bus.publish([a_request()])
    with pytest.raises(Later, match="closed"):
        await world.bus.ping()
