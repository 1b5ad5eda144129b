"""The messages are a promise: what was sent once stays readable, and what is wrong is refused in words."""

import copy
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from shared.contracts import MESSAGES, Envelope, decode, encode
from shared.contracts.messages import BATCH_RECORDS
from shared.errors import Never
from tests.contracts.schema import SAMPLES, SCHEMAS, UPDATE, schema_of, text_of

TYPES = tuple(MESSAGES)
PRIVATE = "Xaviera-Quux-4711"  # stands where a value is wrong, and must be in no error


def sample(message_type: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((SAMPLES / f"{message_type}.json").read_text("utf-8"))
    return document


def refusal(document: object) -> Never:
    """How a message is refused."""
    with pytest.raises(Never) as caught:
        decode(document if isinstance(document, bytes) else orjson.dumps(document))
    return caught.value


# -- Golden files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message_type", TYPES)
def test_the_schema_of_a_message_is_the_one_that_was_promised(message_type: str) -> None:
    path = SCHEMAS / f"{message_type}.json"
    golden = path.read_text("utf-8") if path.exists() else ""

    if text_of(message_type) != golden:
        pytest.fail(
            f"{message_type} differs from {path.relative_to(path.parents[3])}. An optional field more is fine: run\n"
            f"    {UPDATE}\nand tell it in shared/MESSAGES.md. Anything else is a new type, both alive for a while."
        )


def test_no_schema_and_no_sample_is_left_of_a_message_that_is_gone() -> None:
    assert {path.stem for path in SCHEMAS.glob("*.json")} == set(TYPES)
    assert {path.stem for path in SAMPLES.glob("*.json")} == set(TYPES)


@pytest.mark.parametrize("message_type", TYPES)
def test_types_are_noun_verb_and_version(message_type: str) -> None:
    noun, verb, version = message_type.split(".")
    assert noun.isalpha()
    assert verb.isalpha()
    assert version == "v1"
    assert message_type == MESSAGES[message_type].TYPE


# -- Samples ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message_type", TYPES)
def test_what_was_sent_once_is_still_read(message_type: str) -> None:
    document = sample(message_type)

    envelope, body = decode(orjson.dumps(document))

    assert type(body) is MESSAGES[message_type]
    assert envelope.type == message_type
    assert envelope.correlation_id == UUID(document["correlation_id"])
    # Read and said again, it says the same, beside what was added since.
    said = orjson.loads(orjson.dumps(body.content()))
    assert {**said, **document["data"]} == said


@pytest.mark.parametrize("message_type", TYPES)
def test_a_sample_is_what_its_schema_describes(message_type: str) -> None:
    validator = Draft202012Validator(schema_of(message_type), format_checker=Draft202012Validator.FORMAT_CHECKER)

    assert [error.message for error in validator.iter_errors(sample(message_type))] == []


@pytest.mark.parametrize("message_type", TYPES)
def test_what_we_send_is_what_its_schema_describes(message_type: str) -> None:
    _, body = decode(orjson.dumps(sample(message_type)))

    message = encode(body, id=UUID(int=1), occurred_at=datetime(2027, 5, 22, tzinfo=UTC), source="test")

    Draft202012Validator(schema_of(message_type)).validate(orjson.loads(message.body))
    assert message.routing_key.startswith(message_type)
    assert decode(message.body)[1] == body


# -- Read tolerantly -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message_type", TYPES)
def test_unknown_fields_are_ignored_wherever_they_stand(message_type: str) -> None:
    document = sample(message_type)
    _, plain = decode(orjson.dumps(document))

    def add(value: Any) -> None:
        if isinstance(value, dict):
            for part in value.values():
                add(part)
            value["from_the_future"] = {"deep": [1, 2, 3]}
        elif isinstance(value, list):
            for part in value:
                add(part)

    data = document["data"]
    for name, value in data.items():
        if name not in {"records", "diffs", "changes"}:
            add(value)
    for diff in (*data.get("diffs", ()), *data.get("changes", ())):
        diff["from_the_future"] = 1
    data["from_the_future"] = 1
    document["from_the_future"] = 1

    assert decode(orjson.dumps(document))[1] == plain


@pytest.mark.parametrize("message_type", TYPES)
def test_optional_fields_may_be_missing(message_type: str) -> None:
    document = sample(message_type)
    required = MESSAGES[message_type].model_json_schema()["required"]
    document["data"] = {name: value for name, value in document["data"].items() if name in required}
    if message_type == "sync.request.v1":
        document["data"]["kind"] = "discover"  # the one kind that is about no race
    del document["correlation_id"], document["causation_id"]

    envelope, body = decode(orjson.dumps(document))

    assert envelope.correlation_id is None
    assert type(body) is MESSAGES[message_type]


# -- Refuse in words -------------------------------------------------------------------------------------------------


def _required_paths() -> list[tuple[str, str]]:
    return [(each, name) for each in TYPES for name in MESSAGES[each].model_json_schema()["required"]]


@pytest.mark.parametrize(("message_type", "field"), _required_paths())
def test_a_missing_field_is_named_and_no_value_is_told(message_type: str, field: str) -> None:
    document = sample(message_type)
    del document["data"][field]

    error = refusal(document)

    assert error.reason == "invalid"
    assert str(error) == f"{field}: is missing"


@pytest.mark.parametrize("field", [name for name in Envelope.model_json_schema()["required"] if name != "type"])
def test_a_missing_field_of_the_envelope_is_named(field: str) -> None:
    document = sample("sync.request.v1")
    del document[field]

    assert str(refusal(document)) == f"{field}: is missing"


@pytest.mark.parametrize(("message_type", "field"), _required_paths())
def test_a_wrong_value_is_named_by_its_field_and_not_told(message_type: str, field: str) -> None:
    document = sample(message_type)
    document["data"][field] = [PRIVATE] if field == "counts" else {PRIVATE: PRIVATE}

    error = refusal(document)

    assert error.reason == "invalid"
    assert str(error).startswith(field)
    assert PRIVATE not in str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__


@pytest.mark.parametrize("data", [None, [], 7, PRIVATE])
def test_a_message_without_a_body_is_refused(data: object) -> None:
    error = refusal({**sample("sync.request.v1"), "data": data})

    assert error.reason == "invalid"
    assert PRIVATE not in str(error)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe{}",
        b"\x80abc",
        b"{",
        b'{"id": NaN}',
        b'{"a": "' + PRIVATE.encode() + b'"',
        b"[" * 200_000,
        b'{"data":' * 200_000,
        b'{"type": "\xed\xa0\x80"}',
    ],
    ids=["nothing", "utf-16", "not-utf-8", "cut", "nan", "cut-with-a-person", "deep-list", "deep-object", "surrogate"],
)
def test_bytes_that_are_no_json_are_undecodable(raw: bytes) -> None:
    error = refusal(raw)

    assert error.reason == "undecodable"
    assert PRIVATE not in str(error)


@pytest.mark.parametrize("raw", [b"null", b"[]", b'"text"', b"1e400", b"true"])
def test_json_that_is_no_object_is_undecodable(raw: bytes) -> None:
    assert refusal(raw).reason == "undecodable"


@pytest.mark.parametrize(
    "message_type", [None, "", "sync.request", "sync.request.v2", PRIVATE, {}, ["sync.request.v1"]]
)
def test_an_unknown_type_is_refused_without_repeating_it(message_type: object) -> None:
    error = refusal({**sample("sync.request.v1"), "type": message_type})

    assert error.reason == "unknown_type"
    assert str(error) == "the message's type is not one of ours"


def test_an_instant_without_a_zone_is_refused() -> None:
    document = sample("sync.request.v1")
    document["data"]["modified_after"] = "2027-05-22T11:43:01"

    assert str(refusal(document)) == "modified_after: is not usable (timezone aware)"


def test_a_batch_has_at_most_five_hundred_records() -> None:
    document = sample("participants.fetched.v1")
    document["data"]["records"] = [{}] * BATCH_RECORDS
    decode(orjson.dumps(document))
    document["data"]["records"] = [{}] * (BATCH_RECORDS + 1)

    assert str(refusal(document)).startswith("records: is not usable (too long)")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(message_type=st.sampled_from(TYPES), data=st.data(), value=JSON)
@settings(max_examples=300)
def test_whatever_stands_in_a_field_a_message_is_read_or_refused(
    message_type: str, data: st.DataObject, value: Any
) -> None:
    document = copy.deepcopy(sample(message_type))
    place = data.draw(st.sampled_from([document, document["data"]]))
    place[data.draw(st.sampled_from(sorted(place)))] = value
    try:
        raw = orjson.dumps(document)
    except TypeError:  # half a surrogate pair has no bytes
        return

    with suppress(Never):
        orjson.dumps(decode(raw)[1].content())


@given(raw=st.binary(max_size=200))
def test_whatever_bytes_come_a_message_is_read_or_refused(raw: bytes) -> None:
    with pytest.raises(Never):
        decode(raw)


def test_what_is_wrong_is_told_without_a_key_or_a_value_of_the_message() -> None:
    document = sample("participants.changed.v1")
    document["data"]["run_id"] = "Marker Person"
    document["data"]["diffs"][0]["fields"] = {"Marker Person": "no pair"}

    told = str(refusal(document))

    assert "Marker" not in told
    assert "run_id" in told
    assert "diffs.0.fields" in told


@pytest.mark.parametrize(
    ("kind", "field"), [("race", "race_id"), ("bib", "race_id"), ("bib", "bib")], ids=lambda each: each
)
def test_a_request_names_what_it_asks_for(kind: str, field: str) -> None:
    document = sample("sync.request.v1")
    document["data"] |= {"kind": kind, "bib": "101", "race_id": "81001", field: None}

    assert f"needs {field}" in str(refusal(document))
