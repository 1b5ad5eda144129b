"""A batch's records stay unopened until somebody asks, and are then what they were."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.telling import introduce
from shared.contracts import ParticipantsFetched, decode, encode
from shared.contracts.records import Unopened, document_of
from shared.errors import Never
from shared.providers.registry import by_name
from writer.mapped import identities

PROVIDER = by_name("runsignup")
RACE = "81001"
NOW = datetime(2027, 5, 22, 12, tzinfo=UTC)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
#: What looks like the place where records begin, wherever it stands.
TRAP = st.just({"a": ',"records":[', "records": [1, {"records": []}]})
RECORDS = st.lists(JSON | TRAP | st.fixed_dictionaries({"registration_id": st.integers(1, 9)}), max_size=6)


def batch(**fields: Any) -> ParticipantsFetched:
    return ParticipantsFetched(
        run_id=UUID(int=1),
        attempt=1,
        provider=PROVIDER.name,
        timing_partner_id=7,
        sequence=1,
        fetched_at=NOW,
        credential_id=12,
        race_id=RACE,
        **fields,
    )


def sent(body: ParticipantsFetched) -> bytes:
    return encode(body, id=UUID(int=2), occurred_at=NOW, source="fetcher").body


def received(raw: bytes) -> ParticipantsFetched:
    _, body = decode(raw)
    assert isinstance(body, ParticipantsFetched)
    return body


@given(RECORDS)
def test_what_the_fetcher_says_of_its_records_is_what_the_writer_would_find(records: list[Any]) -> None:
    body = received(sent(batch(**introduce(records, PROVIDER, RACE))))
    assert isinstance(body.records, Unopened) or not records
    assert identities(PROVIDER, body) == PROVIDER.identify(records, RACE)
    assert list(body.records) == orjson.loads(orjson.dumps(records))


@given(RECORDS, st.booleans())
def test_a_message_is_the_same_whether_its_records_are_opened_or_not(records: list[Any], introduced: bool) -> None:
    raw = sent(batch(**introduce(records, PROVIDER, RACE)) if introduced else batch(records=records))
    document = document_of(raw)
    document["data"]["records"] = list(document["data"]["records"])
    assert document == orjson.loads(raw)
    assert sent(received(raw)) == raw


def test_another_order_of_fields_is_read_as_well() -> None:
    document = orjson.loads(sent(batch(**introduce([{"registration_id": 5}], PROVIDER, RACE))))
    document["data"] = dict(reversed(document["data"].items()))
    for order in (document, dict(reversed(document.items()))):
        assert list(received(orjson.dumps(order)).records) == [{"registration_id": 5}]


def test_nobody_is_taken_at_the_word_of_another_mapping() -> None:
    records = [{"registration_id": 5}]
    fields = introduce(records, PROVIDER, RACE)
    other = batch(**fields | {"mapping_version": PROVIDER.mapping_version + 1, "identities": [("6", "0" * 32, True)]})
    assert identities(PROVIDER, received(sent(other))) == PROVIDER.identify(records, RACE)


@pytest.mark.parametrize(
    "identities",
    [[], [("5", "0" * 31, True)], [("5", "G" * 32, True)], [["5", "0" * 32]]],
)
def test_identities_that_do_not_fit_are_refused(identities: list[Any]) -> None:
    document = orjson.loads(sent(batch(records=[{"registration_id": 5}])))
    document["data"]["identities"] = identities
    with pytest.raises(Never):
        list(received(orjson.dumps(document)).records)


def test_records_that_are_no_json_are_refused_once_they_are_asked_for() -> None:
    raw = sent(batch(**introduce([{"registration_id": 5}], PROVIDER, RACE))).replace(b":5}]}}", b":5,]}}")
    body = received(raw)
    with pytest.raises(Never, match="records are not JSON"):
        list(body.records)
