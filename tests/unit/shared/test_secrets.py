"""Keys at rest: what is sealed opens with its key, for its row, and says nothing in between."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Misconfigured, Never
from shared.secrets import KEY_BYTES, NONCE_BYTES, Sealer, fingerprint, new_key, row_name

SEALER = Sealer(b"k" * KEY_BYTES)
ROW = row_name(12, 2, 7, "PRINCIPAL")
SECRET = "SECRET-4711"
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def refused(sealed: bytes, row: str = ROW, sealer: Sealer = SEALER) -> Never:
    with pytest.raises(Never, match="cannot be opened") as caught:
        sealer.open(sealed, row)
    assert caught.value.reason == "sealed_otherwise"
    assert SECRET not in str(caught.value)
    return caught.value


@given(secret=texts, row=texts)
def test_what_was_sealed_opens_again(secret: str, row: str) -> None:
    assert SEALER.open(SEALER.seal(secret, row), row) == secret


@given(row=texts.filter(lambda row: row != ROW))
def test_a_ciphertext_moved_to_another_row_does_not_open(row: str) -> None:
    refused(SEALER.seal(SECRET, ROW), row)


@pytest.mark.parametrize(
    "other",
    [
        row_name(13, 2, 7, "PRINCIPAL"),
        row_name(12, 3, 7, "PRINCIPAL"),
        row_name(12, 2, 8, "PRINCIPAL"),
        row_name(12, 2, 7, "ANOTHER"),
    ],
    ids=["row", "provider", "partner", "principal"],
)
def test_every_part_of_a_row_binds_its_secret(other: str) -> None:
    refused(SEALER.seal(SECRET, ROW), other)


def test_another_key_does_not_open_it() -> None:
    refused(SEALER.seal(SECRET, ROW), sealer=Sealer(b"x" * KEY_BYTES))


@given(data=st.data())
def test_one_changed_bit_anywhere_keeps_it_shut(data: st.DataObject) -> None:
    sealed = bytearray(SEALER.seal(SECRET, ROW))
    place = data.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= 1 << data.draw(st.integers(0, 7))

    refused(bytes(sealed))


@given(length=st.integers(0, NONCE_BYTES + len(SECRET) + 15))
def test_a_shortened_ciphertext_is_refused_in_words(length: int) -> None:
    refused(SEALER.seal(SECRET, ROW)[:length])


def test_sealing_twice_gives_two_ciphertexts_and_none_shows_the_secret() -> None:
    first, second = SEALER.seal(SECRET, ROW), SEALER.seal(SECRET, ROW)

    assert first != second
    assert first[:NONCE_BYTES] != second[:NONCE_BYTES]
    assert SECRET.encode() not in first


def test_the_refusal_names_the_row_and_the_remedy_and_not_the_principal() -> None:
    said = str(refused(SEALER.seal(SECRET, "elsewhere")))

    assert "credential 12 (provider 2, partner 7" in said
    assert "set the right key, or enter the secret again" in said
    assert "PRINCIPAL" not in said


# -- The key itself --------------------------------------------------------------------------------------------------


def test_a_new_key_is_usable_and_never_the_same() -> None:
    key, other = new_key(), new_key()

    assert key != other
    assert Sealer.from_text(key).open(Sealer.from_text(key).seal(SECRET, ROW), ROW) == SECRET


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hunter2-hunter2",
        "not base64 at all!",
        base64.b64encode(b"k" * 16).decode(),
        base64.b64encode(b"k" * 31).decode(),
        base64.b64encode(b"k" * 33).decode(),
        "k" * 32,
        "ключ" * 8,
        base64.b64encode(b"k" * 32).decode()[:-1],
    ],
)
def test_a_key_of_another_length_or_spelling_is_refused_without_its_value(text: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        Sealer.from_text(text)

    assert str(caught.value) == "HUB_SECRET_KEY must be 32 bytes in base64; make one with `openssl rand -base64 32`"
    assert caught.value.__cause__ is None


@given(text=st.text(max_size=80))
def test_whatever_stands_in_the_setting_it_is_a_key_or_refused(text: str) -> None:
    try:
        Sealer.from_text(text)
    except Misconfigured:
        return
    assert len(base64.b64decode(text)) == KEY_BYTES


# -- Names of keys ---------------------------------------------------------------------------------------------------


@given(principal=texts)
def test_a_fingerprint_is_twelve_hex_digits_and_always_the_same(principal: str) -> None:
    assert fingerprint(principal) == fingerprint(principal)
    assert len(fingerprint(principal)) == 12
    assert set(fingerprint(principal)) <= set("0123456789abcdef")


def test_two_keys_have_two_fingerprints() -> None:
    assert fingerprint("one") != fingerprint("two")


def test_a_rows_name_holds_a_fingerprint_and_not_the_principal() -> None:
    assert "PRINCIPAL" not in ROW
    assert fingerprint("PRINCIPAL") in ROW


def test_a_former_key_opens_and_the_present_one_seals() -> None:
    old, new = new_key(), new_key()
    sealed = Sealer.from_text(old).seal("s3cret", "row")
    both = Sealer.from_text(new, f" {old}, ")
    assert both.open(sealed, "row") == "s3cret"
    assert not both.is_present(sealed, "row")
    again = both.seal("s3cret", "row")
    assert both.is_present(again, "row")
    assert Sealer.from_text(new).open(again, "row") == "s3cret"
    with pytest.raises(Never):
        Sealer.from_text(old).open(again, "row")


def test_a_former_key_of_the_wrong_length_is_named_without_its_value() -> None:
    with pytest.raises(Misconfigured, match="HUB_FORMER_SECRET_KEYS") as caught:
        Sealer.from_text(new_key(), "c2hvcnQ=")
    assert "c2hvcnQ=" not in str(caught.value)
