"""Which answer is data and which is a failure, status by status."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.providers.port import Answer, Consequence, ProviderFailure
from shared.providers.runsignup.cleaning import DEEPEST, as_json
from shared.providers.runsignup.errors import MEANINGS
from shared.providers.runsignup.responses import http_date, open_answer, wait_asked
from tests.unit.shared.providers.runsignup.cases import answer, sample


def failure_of(given: Answer) -> ProviderFailure:
    with pytest.raises(ProviderFailure) as caught:
        open_answer(given)
    assert caught.value.__cause__ is None
    return caught.value


@pytest.mark.parametrize(
    ("case", "code", "consequence"),
    [
        ("error_6", "error_6", Consequence.CREDENTIAL),
        ("error_7", "error_7", Consequence.RACE),
        ("error_14", "error_14", Consequence.THROTTLED),
        ("error_17", "error_17", Consequence.EVERYTHING),
        ("error_201", "error_201", Consequence.RACE),
        ("error_301", "error_301", Consequence.RACE),
        ("error_word", "http_401", Consequence.CREDENTIAL),
        ("page_404", "http_404", Consequence.LATER),
        ("page_522", "http_522", Consequence.LATER),
        ("xml_error", "error_14", Consequence.THROTTLED),
    ],
)
def test_a_recorded_failure_has_its_consequence(case: str, code: str, consequence: Consequence) -> None:
    failure = failure_of(sample(case))
    assert (failure.code, failure.consequence) == (code, consequence)


@pytest.mark.parametrize("number", [1, 2, 3, 8, 9, 10, 11, 12, 15, 104, 123, 514, 515])
def test_a_wrong_request_stays_wrong(number: int) -> None:
    assert failure_of(answer({"error": {"error_code": number}})).consequence is Consequence.NEVER


@pytest.mark.parametrize("number", [4, 5, 16, 99, 231, 999, 10**12, -1, None, "x", [], {}])
def test_an_error_that_is_passing_or_unknown_is_tried_again_later(number: object) -> None:
    assert failure_of(answer({"error": {"error_code": number, "error_msg": "?"}})).consequence is Consequence.LATER


@pytest.mark.parametrize("number", [13, 101, 102, 103, 151])
def test_a_refused_account_stops_its_credential(number: int) -> None:
    assert failure_of(answer({"error": {"error_code": number}})).consequence is Consequence.CREDENTIAL


def test_an_error_code_may_come_as_text() -> None:
    assert failure_of(answer({"error": {"error_code": "7"}})).code == "error_7"


def test_an_error_inside_an_array_is_an_error() -> None:
    assert failure_of(answer([{"error": {"error_code": 6}}])).code == "error_6"


def test_an_error_code_without_its_envelope_is_an_error() -> None:
    assert failure_of(answer({"error_code": 201, "error_msg": "Race not found."})).code == "error_201"


def test_an_error_as_a_word_is_an_error() -> None:
    assert failure_of(answer({"error": "something", "details": {}})).code == "error_unknown"


@pytest.mark.parametrize(
    ("status", "consequence"),
    [
        (400, "never"),
        (401, "credential"),
        (403, "race"),
        (404, "never"),
        (429, "throttled"),
        (500, "later"),
        (503, "later"),
    ],
)
def test_an_error_without_a_code_means_what_its_status_says(status: int, consequence: str) -> None:
    failure = failure_of(answer({"error": "text"}, status))
    assert (failure.code, failure.consequence) == (f"http_{status}", consequence)


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 410, 500, 502, 503, 520, 524])
def test_a_strangers_page_stops_nothing(status: int) -> None:
    """A firewall's 403 for everybody must not read as thirteen refused keys."""
    failure = failure_of(Answer(status, {}, b"<html>denied</html>"))
    assert (failure.code, failure.consequence) == (f"http_{status}", Consequence.LATER)


@pytest.mark.parametrize("body", [b"", b"<html></html>", b'{"error": {"error_code": 4}}', b"slow down"])
def test_too_many_requests_throttles_in_whatever_form(body: bytes) -> None:
    assert failure_of(Answer(429, {}, body)).consequence is Consequence.THROTTLED


def test_a_code_counts_more_than_its_status() -> None:
    assert failure_of(answer({"error": {"error_code": 17}}, 500)).consequence is Consequence.EVERYTHING


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "empty"),
        (b" \r\n", "empty"),
        (b"<?xml version='1.0'?><race/>", "markup"),
        (b"\n <!DOCTYPE html>", "markup"),
        (b"OK", "not_json"),
        (b'[{"event": {"event_id": 1, "participants": []}, "participants": [{"regi', "not_json"),
        (b"[NaN]", "not_json"),
        (b"[" * 100_000, "not_json"),
        (b"[" * 100_000 + b"]" * 100_000, "not_json"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "not_json"),
    ],
)
def test_an_unreadable_answer_is_tried_again_later(body: bytes, code: str) -> None:
    failure = failure_of(Answer(200, {}, body))
    assert (failure.code, failure.consequence) == (code, Consequence.LATER)


def test_good_data_under_a_bad_status_is_no_data() -> None:
    assert failure_of(answer([], 503)).code == "http_503"


def test_half_a_surrogate_pair_does_not_cost_the_page() -> None:
    document, _ = open_answer(Answer(200, {}, rb'[{"a": "x\ud800y", "b": "\ud83d\ude00\u0000"}]'))
    assert document == [{"a": "x\ufffdy", "b": "\U0001f600\x00"}]


def test_a_wrong_byte_does_not_cost_the_page() -> None:
    assert open_answer(Answer(200, {}, b'["Bj\xf6rn"]'))[0] == ["Bj\ufffdrn"]


def test_nesting_that_no_message_can_carry_is_cut() -> None:
    deep = b'{"registration_id":7,"x":' + b"[" * 400 + b"]" * 400 + b"}"
    document, _ = open_answer(Answer(200, {}, b'[{"registration_id":6,"x":"a\\u0000"},' + deep + b"]"))
    other, cut = as_json(document)
    assert other == b'{"registration_id":6,"x":"a\\u0000"}'
    assert cut == b'{"registration_id":7,"x":' + b"[" * (DEEPEST - 1) + b"null" + b"]" * (DEEPEST - 1) + b"}"


def test_the_providers_clock_is_told_with_the_data_and_with_the_failure() -> None:
    date = "Tue, 24 Nov 2026 15:00:00 GMT"
    expected = datetime(2026, 11, 24, 15, tzinfo=UTC)
    assert open_answer(answer([], date=date))[1] == expected
    assert failure_of(answer({"error": {}}, date=date)).answered_at == expected


@pytest.mark.parametrize(
    "text", [None, "", "yesterday", "Tue, 99 Nov 2026", "Thu, 01 Jan 1970 00:00:00 GMT", "x" * 9999]
)
def test_a_clock_that_makes_no_sense_is_none(text: str | None) -> None:
    assert http_date(text) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30.0), ("0", 0.0), ("999999999999", 3600.0), ("Tue, 24 Nov 2026 15:02:00 GMT", 120.0),
     ("Tue, 24 Nov 2026 14:00:00 GMT", 0.0), ("Wed, 25 Nov 2026 15:00:00 GMT", 3600.0), ("-5", None), ("soon", None),
     (None, None), ("", None)],
)  # fmt: skip
def test_a_wait_is_read_in_both_forms_and_bounded(text: str | None, seconds: float | None) -> None:
    assert wait_asked(text, datetime(2026, 11, 24, 15, tzinfo=UTC)) == seconds


def test_a_wait_until_a_date_says_nothing_without_the_providers_clock() -> None:
    assert wait_asked("Tue, 24 Nov 2026 15:02:00 GMT", None) is None


def test_the_wait_comes_with_the_failure() -> None:
    assert failure_of(answer({"error": {"error_code": 14}}, 200, retry_after="7")).retry_after == 7.0


@given(st.text())
def test_headers_never_raise(text: str) -> None:
    wait_asked(text, http_date(text))


@given(st.binary(max_size=200), st.integers(100, 599))
def test_any_body_is_data_or_a_failure(body: bytes, status: int) -> None:
    code = "none"
    try:
        open_answer(Answer(status, {}, body))
    except ProviderFailure as failure:
        code = failure.code
    assert code in {"none", f"http_{status}", *MEANINGS}


@pytest.mark.parametrize("status", [200, 400, 503])
def test_no_failure_repeats_the_body(status: int) -> None:
    secret = "Marker-Person-4711"
    bodies = [
        secret.encode(),
        b"<error><error_code>6</error_code>" + secret.encode(),
        b'{"error": {"error_code": 6, "error_msg": "' + secret.encode() + b'"}}',
        b'{"error": "' + secret.encode() + b'"}',
    ]
    for body in bodies:
        failure = failure_of(Answer(status, {}, body))
        assert secret not in f"{failure!s}{failure!r}{failure.code}{failure.__context__!r}"
