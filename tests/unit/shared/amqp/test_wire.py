from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from aio_pika import Message as AmqpMessage
from hypothesis import given
from hypothesis import strategies as st

from shared.amqp import wire
from shared.bus.port import Delivery, Message
from shared.bus.topology import DEAD_QUEUE

NOW = datetime(2026, 7, 4, 8, 0, tzinfo=UTC)
MESSAGE = Message("m1", "sync.request.v1", "sync.request.v1.runsignup.near", b"{}", "run-1")
QUEUE = "fetch.runsignup.near"


def transported(message: AmqpMessage, routing_key: str) -> Any:
    """The message as the other side gets it."""
    same = {name: getattr(message, name) for name in ("headers", "message_id", "type", "body", "correlation_id")}
    return SimpleNamespace(redelivered=False, routing_key=routing_key, **same)


def test_a_message_survives_the_way() -> None:
    incoming = transported(wire.outgoing(MESSAGE, NOW), MESSAGE.routing_key)
    assert wire.arrived(incoming, QUEUE, NOW) == Delivery(MESSAGE, QUEUE, 1, NOW)


def test_a_retry_is_the_same_message_as_its_next_attempt() -> None:
    delivery = Delivery(MESSAGE, QUEUE, 3, NOW)
    incoming = transported(wire.retried(delivery, NOW, "Later"), QUEUE)
    assert wire.arrived(incoming, QUEUE, NOW) == Delivery(MESSAGE, QUEUE, 4, NOW)


def test_a_dead_letter_tells_how_it_died_also_after_a_retry_of_its_reader() -> None:
    buried = wire.buried(Delivery(MESSAGE, QUEUE, 3, NOW), NOW, "unknown_race")
    letter = wire.arrived(transported(buried, QUEUE), DEAD_QUEUE, NOW)
    assert letter.message == MESSAGE
    assert letter.death
    assert (letter.death.reason, letter.death.queue, letter.death.attempts) == ("unknown_race", QUEUE, 3)
    again = wire.arrived(transported(wire.retried(letter, NOW, "Later"), DEAD_QUEUE), DEAD_QUEUE, NOW)
    assert (again.death, again.attempt) == (letter.death, 2)


def test_the_brokers_own_headers_are_not_sent_on() -> None:
    """With its x-death in it, a broker drops the second retry of one delay as going round in a circle."""
    incoming = transported(wire.outgoing(MESSAGE, NOW), MESSAGE.routing_key)
    incoming.headers = {**incoming.headers, "x-death": [{"queue": "retry.1s", "reason": "expired", "count": 1}]}
    retried = wire.retried(wire.arrived(incoming, QUEUE, NOW), NOW, "Later")
    assert all(name.startswith("hub-") for name in retried.headers)


def test_every_publish_has_an_amqp_id_of_its_own() -> None:
    ids = {wire.outgoing(MESSAGE, NOW).message_id for _ in range(100)}
    assert len(ids) == 100
    assert MESSAGE.id not in ids


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=20), st.binary(max_size=20))
names = st.sampled_from([
    wire.ID, wire.ROUTING_KEY, wire.ATTEMPT, wire.FIRST_SEEN, wire.DEAD_REASON, wire.DEAD_IN, wire.DEAD_ATTEMPTS,
    wire.DEAD_FIRST_SEEN, wire.DEAD_AT, "x-death",
])  # fmt: skip
values = st.one_of(scalars, st.lists(st.one_of(scalars, st.dictionaries(st.text(max_size=8), scalars)), max_size=2))


@given(st.dictionaries(names, values), st.sampled_from([QUEUE, DEAD_QUEUE]))
def test_no_header_of_anybody_keeps_a_message_from_being_delivered(headers: dict[str, Any], queue: str) -> None:
    incoming = transported(wire.outgoing(MESSAGE, NOW), MESSAGE.routing_key)
    incoming.headers = headers
    delivery = wire.arrived(incoming, queue, NOW)
    assert delivery.message.body == b"{}"
    assert delivery.attempt >= 1
    assert delivery.first_seen.tzinfo
