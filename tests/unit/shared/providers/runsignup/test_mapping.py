"""A raw record as ours: what is stored, what is left empty, and what the note says."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.participant import Participant, Removal, Unusable
from shared.providers.runsignup import mapping
from shared.providers.runsignup.columns import PRICES
from shared.providers.runsignup.mapping import identify, map_participant, map_removal
from shared.providers.runsignup.readers import read_participants, read_removed
from tests.unit.shared.providers.runsignup.cases import raw_person, sample


def mapped(raw: Any) -> Participant:
    participant = map_participant(raw, "81001")
    assert isinstance(participant, Participant)
    return participant


def removal(record: Any, event_id: Any = 900101) -> Removal:
    result = map_removal([event_id, record], "81001")
    assert isinstance(result, Removal)
    return result


def test_a_full_record_is_stored_whole() -> None:
    ada = mapped(read_participants(sample("participants")).records[0])
    assert ada._replace(address="", team_info="", payment_info="", additional_data="", content_hash=b"") == Participant(
        registration_id="7100001",
        race_id="81001",
        event_id="900101",
        user_id="600001",
        first_name="Ada",
        middle_name="Q",
        last_name="Lindqvist",
        email="ada.lindqvist@example.com",
        dob=date(1990, 2, 17),
        gender="F",
        phone="555-010-0101",
        profile_image_url=None,
        address="",
        bib="101",
        chip=None,
        age=37,
        registered_at=datetime(2027, 1, 12, 20, 15, tzinfo=UTC),
        team_info="",
        payment_info="",
        additional_data="",
        provider_modified_at=datetime.fromtimestamp(1810850564, UTC),
        notes=None,
        content_hash=b"",
    )
    assert len(ada.content_hash) == 16


def test_the_json_columns_have_the_keys_that_operators_know() -> None:
    ada = mapped(read_participants(sample("participants")).records[0])
    assert json.loads(ada.address) == {
        "street": "12 Elm St", "city": "Springdale", "state": "IA", "zipcode": "50000", "country_code": "US",
    }  # fmt: skip
    assert json.loads(ada.team_info) == {
        "team_id": 5501, "team_name": "River Otters", "team_type_id": 61, "team_type": "Corporate", "team_gender": "C",
        "team_bib_num": "3",
    }  # fmt: skip
    assert json.loads(ada.payment_info) == {
        "race_fee": 35.0, "offline_payment_amount": 0, "processing_fee": 3.1, "processing_fee_paid_by_user": 3.1,
        "processing_fee_paid_by_race": 0, "partner_fee": 0, "affiliate_profit": 0, "extra_fees": 0, "amount_paid": 38.1,
        "rsu_transaction_id": 410001, "transaction_id": "ay_000000000000000A_0",
    }  # fmt: skip
    additional = json.loads(ada.additional_data)
    assert additional.pop("question_responses")[0]["response"] == "Sam Lindqvist"
    assert additional.pop("participant_addons")[0]["addon_name"] == "Parking pass"
    assert additional == {
        "usatf_discount_amount_in_cents": 0, "usatf_discount_additional_field": None, "giveaway": "Women's M",
        "giveaway_option_id": 31, "fundraiser_id": None, "fundraiser_charity_id": None, "fundraiser_charity_name": None,
        "team_fundraiser_id": None, "multi_race_bundle_id": None, "multi_race_bundle": None,
        "signed_waiver_details": None, "imported": False,
    }  # fmt: skip


def test_the_keys_are_there_when_nothing_was_sent() -> None:
    bare, full = mapped(raw_person()), mapped(read_participants(sample("participants")).records[0])
    for column in ("address", "team_info", "payment_info", "additional_data"):
        absent = json.loads(getattr(bare, column))
        assert absent.keys() == json.loads(getattr(full, column)).keys()
        assert set(absent.values()) == {None}


def test_an_imported_record_without_account_is_stored() -> None:
    ek = mapped(read_participants(sample("participants")).records[1])
    assert (ek.user_id, ek.first_name, ek.middle_name, ek.gender, ek.phone, ek.notes) == (
        None,
        "Björn",
        "",
        None,
        None,
        None,
    )
    assert json.loads(ek.additional_data)["imported"] is True


def test_gender_x_is_kept() -> None:
    assert mapped(read_participants(sample("participants")).records[2]).gender == "X"


def test_money_keeps_its_cents_and_absent_is_not_zero() -> None:
    payment = mapped(raw_person(race_fee="$1,234.50", amount_paid="$0.00")).payment_info
    assert '"race_fee":1234.50' in payment
    assert '"amount_paid":0.00' in payment
    assert '"extra_fees":null' in payment


def test_prices_are_each_their_own_whatever_the_others_are() -> None:
    prices = ["$1.00", "$2.00", "$3.00", "$4.00", "$5.00", "$6.00", "$7.00", "$8.00", "$9.00"]
    usual = dict(zip(PRICES, prices, strict=True))
    assert list(json.loads(mapped(raw_person(**usual)).payment_info).values())[:9] == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    for other, stored in ((None, None), ("", None), (5, 5), ("free", None), ("$1.00\n$2.00", None), ("x" * 500, None)):
        payment = json.loads(mapped(raw_person(**{**usual, "partner_fee": other})).payment_info)
        assert list(payment.values())[:9] == [1, 2, 3, 4, 5, stored, 7, 8, 9]


@pytest.mark.parametrize("bib", [None, "", " ", "\t\n", "\u00a0", "\x00"])
def test_a_blank_bib_is_none(bib: Any) -> None:
    assert mapped(raw_person(bib_num=bib, chip_num=bib))[13:15] == (None, None)


@pytest.mark.parametrize(("bib", "stored"), [(101, "101"), ("0101", "0101"), (" A17 ", " A17 "), (0, "0")])
def test_a_bib_is_text_as_received(bib: Any, stored: str) -> None:
    assert mapped(raw_person(bib_num=bib)).bib == stored


@pytest.mark.parametrize(
    "name",
    ["O'Neill", " Ada ", "Zoë 🏃‍♀️", "محمد", "x" * 300, "&amp;", "a\tb\r\n\x07", "'; DROP TABLE x; --", "", "\\u0000"],
)
def test_text_is_stored_exactly_as_received(name: str) -> None:
    participant = mapped(raw_person(user={"first_name": name}))
    assert (participant.first_name, participant.notes) == (name, None)


def test_a_million_characters_are_simply_stored() -> None:
    text = "x" * 1_000_000
    participant = mapped(
        raw_person(user={"last_name": text, "address": {"street": text}}, bib_num=text, team_name=text)
    )
    assert (participant.last_name, participant.bib, participant.notes) == (text, text, None)
    assert json.loads(participant.address)["street"] == text


def test_u0000_is_removed_and_noted() -> None:
    participant = mapped(
        raw_person(
            user={"first_name": "A\x00da", "address": {"city": "\x00"}}, question_responses=[{"resp\x00onse": "n\x00o"}]
        )
    )
    assert participant.first_name == "Ada"
    assert json.loads(participant.address)["city"] == ""
    assert json.loads(participant.additional_data)["question_responses"] == [{"response": "no"}]
    assert participant.notes == (
        "first_name: U+0000 removed; address: U+0000 removed; question_responses: U+0000 removed"
    )


def test_half_a_surrogate_pair_is_replaced_and_noted() -> None:
    participant = mapped(raw_person(user={"first_name": "A\ud800"}, giveaway="\udc00"))
    assert participant.first_name == "A\ufffd"
    assert participant.notes == "first_name: unreadable character; giveaway: unreadable character"


def test_a_character_that_was_lost_on_the_way_is_noted() -> None:
    assert mapped(raw_person(user={"last_name": "Bj\ufffdrn"})).notes == "last_name: unreadable character"


def test_bottomless_nesting_is_cut_and_noted() -> None:
    deep: Any = []
    for _ in range(500):
        deep = [deep]
    assert mapped(raw_person(question_responses=deep)).notes == "question_responses: nested too deeply, cut"


@pytest.mark.parametrize(
    "day", ["2001-02-30", "0000-00-00", "01/02/2003", "20010203", "2001-W01-1", "soon", 20010203, []]
)
def test_a_birthday_that_does_not_exist_is_none_and_noted(day: Any) -> None:
    participant = mapped(raw_person(user={"dob": day}))
    assert (participant.dob, participant.notes) == (None, "dob: not a date")


@pytest.mark.parametrize("word", ["m", "Male", "U", 1, True, [], {}])
def test_an_unknown_gender_is_none_and_noted(word: Any) -> None:
    participant = mapped(raw_person(user={"gender": word}))
    assert (participant.gender, participant.notes) == (None, "gender: unknown word")


@pytest.mark.parametrize("age", ["37", 37.5, True, 2**31, [], {}])
def test_an_age_that_is_no_number_is_none_and_noted(age: Any) -> None:
    participant = mapped(raw_person(age=age))
    assert (participant.age, participant.notes) == (None, "age: not a whole number")


@pytest.mark.parametrize("user", [5, "Ada", [], True])
def test_a_number_where_a_person_belongs_leaves_the_person_empty(user: Any) -> None:
    participant = mapped(raw_person(user=user))
    assert participant[3:12] == (None,) * 9
    assert participant.notes == "user: not an object"


def test_an_address_says_the_same_in_whatever_order_it_comes() -> None:
    usual = {"street": "1 Å St", "city": "", "state": None, "zipcode": "08057", "country_code": "US"}
    other = {"country": "USA", **dict(reversed(usual.items()))}
    first, second = (mapped(raw_person(user={"address": each})).address for each in (usual, other))
    assert first == second
    assert json.loads(first) == usual


def test_a_number_where_an_address_belongs_leaves_it_empty() -> None:
    participant = mapped(raw_person(user={"first_name": "Ada", "address": 5}))
    assert set(json.loads(participant.address).values()) == {None}
    assert (participant.first_name, participant.notes) == ("Ada", "address: not an object")


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("registration_date", "2/30/2027 10:00", "not a time"),
        ("last_modified", "soon", "not a time"),
        ("last_modified", 10**17, "not a time"),
        ("race_fee", "free", "not an amount"),
        ("usatf_discount_amount_in_cents", [], "not an amount"),
        ("imported", "maybe", "neither T nor F"),
        ("bib_num", {}, "not text"),
        ("chip_num", 1.5, "not text"),
        ("transaction_id", [], "not text"),
        ("team_bib_num", {}, "not text"),
    ],
)
def test_a_field_that_cannot_be_used_is_left_empty_and_noted(field: str, value: Any, fault: str) -> None:
    assert mapped(raw_person(**{field: value})).notes == f"{field}: {fault}"


def test_an_account_that_is_no_number_is_left_empty() -> None:
    assert mapped(raw_person(user={"user_id": "me"})).notes == "user_id: not an id"


def test_all_faults_are_noted_together() -> None:
    assert mapped(raw_person(user={"dob": "x", "gender": "y"}, age="z")).notes == (
        "dob: not a date; gender: unknown word; age: not a whole number"
    )


@pytest.mark.parametrize(
    ("raw", "unusable"),
    [
        (None, Unusable("not_an_object", None)),
        ([], Unusable("not_an_object", None)),
        ("Ada", Unusable("not_an_object", None)),
        ({}, Unusable("id_missing", None)),
        (raw_person(None), Unusable("id_missing", None)),
        (raw_person("seven"), Unusable("id_not_a_number", None)),
        (raw_person(-1), Unusable("id_not_a_number", None)),
        (raw_person(1.0), Unusable("id_not_a_number", None)),
        (raw_person(10**30), Unusable("id_not_a_number", None)),
        (raw_person(7, event_id=None), Unusable("event_id_missing", "7")),
        (raw_person(7, event_id="10K"), Unusable("event_id_not_a_number", "7")),
    ],
)
def test_a_record_without_usable_ids_is_unusable(raw: Any, unusable: Unusable) -> None:
    assert map_participant(raw, "81001") == unusable


def test_ids_as_text_are_the_same_ids() -> None:
    as_text, as_number = mapped(raw_person("7100001", event_id="900101")), mapped(raw_person(7100001))
    assert as_text._replace(content_hash=as_number.content_hash) == as_number


def test_the_hash_is_the_same_for_the_same_and_another_for_anything_else() -> None:
    base = raw_person()
    variants = [
        base, {**base, "bib_num": 7}, {**base, "age": 7}, {**base, "chip_num": "7"}, {**base, "race_fee": "$0.00"},
        {**base, "user": {**base["user"], "email": ""}}, {**base, "user": {**base["user"], "phone": ""}},
        {**base, "age": "7"}, {**base, "last_modified": 1810850565}, {**base, "team_id": 7},
    ]  # fmt: skip
    assert len({mapped(raw).content_hash for raw in variants}) == len(variants)
    assert mapped(base).content_hash == mapped(dict(base)).content_hash
    assert mapped(base).content_hash != getattr(map_participant(base, "81002"), "content_hash", None)


def test_what_crossed_a_message_maps_the_same() -> None:
    for record in read_participants(sample("participants")).records:
        assert mapped(json.loads(json.dumps(record))) == mapped(record)


def test_removals_tell_why_and_who_follows() -> None:
    varga, haddad = (map_removal(list(pair), "81001") for pair in read_removed(sample("removed")).records)
    assert varga == Removal(
        "7100005", "81001", "900101", "removed", None, datetime.fromtimestamp(1805070605, UTC), "Tomas", "Varga"
    )
    assert haddad == Removal(
        "7100006",
        "81001",
        "900101",
        "transferred",
        "7100004",
        datetime.fromtimestamp(1801663451, UTC),
        "Noor",
        "Haddad",
    )


def test_a_removals_number_counts_more_than_its_text() -> None:
    record = raw_person(7, last_modified="2021-09-23 09:54:37")
    assert removal(record).provider_modified_at == datetime.fromtimestamp(1632405277, UTC)
    assert removal({**record, "last_modified_ts": 1632405278}).provider_modified_at == datetime.fromtimestamp(
        1632405278, UTC
    )


@pytest.mark.parametrize("reason", [None, "", "  ", 5, [], "\x00"])
def test_a_removal_without_reason_is_removed(reason: Any) -> None:
    assert removal(raw_person(7, removed_reason=reason)).reason == "removed"


def test_a_new_word_for_a_removal_is_kept() -> None:
    assert removal(raw_person(7, removed_reason="teleported")).reason == "teleported"


@pytest.mark.parametrize(
    ("pair", "reason"),
    [(None, "not_an_object"), ([], "not_an_object"), ([1], "not_an_object"), ([1, 2], "not_an_object"),
     ([1, {}], "id_missing"), ([1, {"registration_id": "x"}], "id_not_a_number"),
     ([None, raw_person()], "event_id_missing"), ([{}, raw_person()], "event_id_not_a_number")],
)  # fmt: skip
def test_a_removal_without_usable_ids_is_unusable(pair: Any, reason: str) -> None:
    result = map_removal(pair, "81001")
    assert isinstance(result, Unusable)
    assert result.reason == reason


KEYS = [
    *read_participants(sample("participants")).records[0],
    "user_id", "first_name", "middle_name", "last_name", "email", "address", "dob", "gender", "phone",
    "profile_image_url", "street", "city", "state", "zipcode", "country_code", "removed_reason", "new_registration_id",
    "last_modified_ts", "surprise",
]  # fmt: skip
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()))
    | st.sampled_from(["T", "F", "$1.00", "M", "2001-02-03", "9/7/2021 15:15", "\x00", "\ud800", 7, "7", 10**30, -1])
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner, max_size=6),
    max_leaves=25,
)
RECORDS = st.dictionaries(st.sampled_from(KEYS), VALUES) | VALUES


@given(RECORDS, st.booleans())
def test_mapping_never_raises_and_gives_only_what_can_be_stored(raw: Any, identified: bool) -> None:
    if identified and isinstance(raw, dict):
        raw = {**raw, "registration_id": 7, "event_id": 8}
    participant = map_participant(raw, "81001")
    map_removal(raw, "81001")
    map_removal([8, raw], "81001")
    assert isinstance(participant, Participant) or not (identified and isinstance(raw, dict))
    if isinstance(participant, Participant):
        for text in participant:
            if isinstance(text, str):
                assert "\x00" not in text
                text.encode()
        for column in (
            participant.address,
            participant.team_info,
            participant.payment_info,
            participant.additional_data,
        ):
            assert "\\u0000" not in column.replace("\\\\", "")
            assert isinstance(json.loads(column), dict)


@given(RECORDS, st.booleans())
def test_who_it_is_and_its_hash_are_told_without_mapping(raw: Any, identified: bool) -> None:
    if identified and isinstance(raw, dict):
        raw = {**raw, "registration_id": 7, "event_id": 8}
    (who,) = identify([raw], "81001")
    mapped = map_participant(raw, "81001")
    assert map_participant(raw, "81001", who) == mapped
    if isinstance(mapped, Participant):
        assert (who.registration_id, who.content_hash) == (mapped.registration_id, mapped.content_hash)
    elif mapped.record_id is not None:
        assert who.registration_id == mapped.record_id
    # What crossed a message is the same record.
    if who.is_clean:
        assert identify(json.loads(json.dumps([raw])), "81001") == [who]


def test_another_mapping_knows_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    before = identify([raw_person()], "81001")
    monkeypatch.setattr(mapping, "MAPPING_VERSION", mapping.MAPPING_VERSION + 1)
    assert identify([raw_person()], "81001")[0].content_hash != before[0].content_hash
