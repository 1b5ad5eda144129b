"""`shared/MESSAGES.md` is for people without our code: it must be whole, and true."""

import json
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from shared.amqp import wire
from shared.bus.topology import (
    CLASSES,
    DEAD_EXCHANGE,
    DEAD_QUEUE,
    DELIVERY_LIMIT,
    EXCHANGE,
    MAX_MESSAGE_BYTES,
    OPTIONAL_TYPES,
    RETRY_DELAYS,
    queues,
)
from shared.contracts import MESSAGES, Envelope, decode
from tests.contracts.schema import fields_of, schema_of

PAGE = (Path(__file__).parents[2] / "shared" / "MESSAGES.md").read_text("utf-8")
TYPES = tuple(MESSAGES)


def section(heading: str) -> str:
    """From a heading to the next one."""
    match = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert match is not None, f"the page has no heading {heading}"
    return match[1]


def sample_in(text: str) -> Any:
    blocks = re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1
    return json.loads(blocks[0])


@pytest.mark.parametrize("message_type", TYPES)
def test_every_field_of_a_message_is_in_its_section(message_type: str) -> None:
    told = set(re.findall(r"`([a-z_]+)`", section(f"`{message_type}`")))

    assert fields_of(MESSAGES[message_type].model_json_schema()) - told == set()


@pytest.mark.parametrize("message_type", TYPES)
def test_no_section_speaks_of_a_field_that_does_not_exist(message_type: str) -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \|", section(f"`{message_type}`"), re.MULTILINE)

    assert set(rows) == set(MESSAGES[message_type].model_fields)
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize("message_type", TYPES)
def test_every_word_that_a_field_may_have_is_told(message_type: str) -> None:
    words = {
        word
        for name, part in MESSAGES[message_type].model_json_schema().get("$defs", {}).items()
        if name not in {"SyncClass", "Reason"}  # told once, for all
        for word in part.get("enum", ())
    }

    told = set(re.findall(r"`([a-z_]+)`", section(f"`{message_type}`")))
    assert words - told == set()


@pytest.mark.parametrize("message_type", TYPES)
def test_the_sample_of_a_section_is_a_message_of_its_type(message_type: str) -> None:
    sample = sample_in(section(f"`{message_type}`"))

    Draft202012Validator(schema_of(message_type)).validate(sample)
    _, body = decode(orjson.dumps(sample))
    assert type(body) is MESSAGES[message_type]
    assert set(sample["data"]) <= set(type(body).model_fields)


def test_there_is_a_section_for_each_message_and_no_other() -> None:
    assert re.findall(r"^### `(.+)`$", PAGE, re.MULTILINE) == list(TYPES)


def test_the_envelope_is_told_field_by_field() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \|", section("The envelope"), re.MULTILINE)

    assert rows == [*Envelope.model_fields, "data"]


def test_every_queue_binding_and_exchange_is_told() -> None:
    text = section("On the wire")
    for queue in queues(("<provider>",)):
        for name in (queue.name, *queue.bindings):
            general = re.sub(rf"\b({'|'.join(CLASSES)})$", "<class>", name)
            assert f"`{general}`" in text
    for name in (EXCHANGE, DEAD_EXCHANGE, DEAD_QUEUE, "hub.retry.<n>s", "retry.<n>s", *CLASSES):
        assert f"`{name}`" in text
    assert f"{', '.join(map(str, RETRY_DELAYS[:-1]))} or {RETRY_DELAYS[-1]} seconds" in text
    assert DELIVERY_LIMIT == 20
    assert "twenty times" in text
    assert f"at most {MAX_MESSAGE_BYTES // 2**20} MiB" in section("The envelope")
    assert frozenset({"bib.changed.v1"}) == OPTIONAL_TYPES


def test_every_header_is_told() -> None:
    headers = {value for value in vars(wire).values() if isinstance(value, str) and value.startswith("hub-")}

    assert headers
    assert headers - set(re.findall(r"`(hub-[a-z-]+)`", section("On the wire"))) == set()
