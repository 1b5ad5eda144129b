"""Hand-written messages, before any is published."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest

from shared.contracts import ParticipantsFetched, SyncRequest
from shared.errors import Never
from shared.ops.injecting import Entry, as_message, parse, validate

NOW = datetime(2026, 6, 6, 8, tzinfo=UTC)
ID = UUID(int=77)
REQUEST: dict[str, Any] = {
    "kind": "race",
    "provider": "runsignup",
    "timing_partner_id": 1,
    "credential_id": 1,
    "race_id": "7",
}


def wrong(document: Any) -> str:
    with pytest.raises(Never) as caught:
        validate(Entry("line 1", document), ID, NOW)
    return str(caught.value)


def test_lines_are_counted_as_an_editor_counts_them_and_blank_ones_passed_over() -> None:
    assert [each.place for each in parse(b'{"a": 1}\n\n  \r\n{"b": 2}\r\n')] == ["line 1", "line 4"]


def test_an_array_is_taken_item_by_item() -> None:
    assert list(parse(b' [{"a": 1}, 2]')) == [Entry("item 1", {"a": 1}), Entry("item 2", 2)]


@pytest.mark.parametrize(("raw", "place"), [(b"{nonsense", "line 1"), (b"[1, 2", "the array"), (b"\xff\xfe", "line 1")])
def test_what_is_not_json_is_an_entry_without_a_document(raw: bytes, place: str) -> None:
    assert list(parse(raw)) == [Entry(place, None)]


def test_nothing_is_no_message() -> None:
    assert list(parse(b" \n \n")) == []


def test_an_envelope_and_a_run_are_filled_in_where_they_were_left_out() -> None:
    envelope, body = validate(Entry("line 1", {"type": "sync.request.v1", "data": REQUEST}), ID, NOW)
    assert (envelope.id, envelope.occurred_at, envelope.source) == (ID, NOW, "hub")
    assert isinstance(body, SyncRequest)
    assert body.run_id == ID
    message = as_message(envelope, body)
    assert message.routing_key == "sync.request.v1.runsignup.routine"
    assert message.correlation_id == str(ID)


def test_what_is_given_is_kept() -> None:
    other = UUID(int=5)
    document = {"id": str(other), "type": "sync.request.v1", "data": {**REQUEST, "run_id": str(ID)}}
    envelope, body = validate(Entry("line 1", document), UUID(int=9), NOW)
    assert envelope.id == other
    assert getattr(body, "run_id") == ID  # noqa: B009 — a field of one kind of body


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (None, "not JSON"),
        ([], "not a JSON object"),
        ({"type": "nonsense", "data": {}}, "type is not one of ours"),
        ({"type": "sync.request.v1"}, "data"),
        ({"type": "sync.request.v1", "data": {**REQUEST, "provider": "haku"}}, "provider"),
        ({"type": "sync.request.v1", "data": {**REQUEST, "race_id": None}}, "race_id"),
        ({"type": "sync.request.v1", "data": {**REQUEST, "kind": "bib"}}, "bib"),
        ({"type": "sync.request.v1", "data": {**REQUEST, "timing_partner_id": "Quorvexil"}}, "timing_partner_id"),
        ({"id": "Quorvexil", "type": "sync.request.v1", "data": REQUEST}, "id"),
    ],
)
def test_a_wrong_message_is_told_by_its_field_and_never_by_its_value(document: Any, said: str) -> None:
    sentence = wrong(document)
    assert said in sentence or said == "data"
    assert "Quorvexil" not in sentence
    assert "haku" not in sentence


def test_a_message_that_no_broker_takes_is_refused() -> None:
    data = {
        "run_id": str(ID),
        "attempt": 1,
        "sequence": 1,
        "provider": "runsignup",
        "timing_partner_id": 1,
        "credential_id": 1,
        "race_id": "7",
        "fetched_at": NOW.isoformat(),
        "records": [{"note": "x" * 9_000_000}],
    }
    envelope, body = validate(Entry("line 1", {"type": "participants.fetched.v1", "data": data}), ID, NOW)
    with pytest.raises(Never, match="bytes"):
        as_message(envelope, body)


def test_a_message_survives_its_own_way_to_bytes() -> None:
    envelope, body = validate(Entry("line 1", {"type": "sync.request.v1", "data": REQUEST}), ID, NOW)
    assert validate(Entry("line 1", orjson.loads(as_message(envelope, body).body)), UUID(int=1), NOW)[1] == body


def test_a_record_edited_by_hand_does_not_pass_for_the_one_it_was_made_from() -> None:
    data = {
        "run_id": str(ID),
        "attempt": 1,
        "provider": "runsignup",
        "timing_partner_id": 1,
        "credential_id": 1,
        "sequence": 1,
        "fetched_at": NOW.isoformat(),
        "race_id": "7",
        "identities": [["5", "0" * 32, True]],
        "mapping_version": 1,
        "records": [{"registration_id": 5}],
    }
    _, body = validate(Entry("line 1", {"type": "participants.fetched.v1", "data": data}), ID, NOW)
    assert isinstance(body, ParticipantsFetched)
    assert body.identities is None
