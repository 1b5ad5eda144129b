"""What is printed, before it is printed."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.ops.show import clean, fit, length, many, since, size, table, wrap


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172_800, "2 d")],
)
def test_a_duration_has_one_unit(seconds: int, text: str) -> None:
    assert length(timedelta(seconds=seconds)) == text


def test_what_never_happened_was_never() -> None:
    assert since(None, datetime(2026, 6, 1, tzinfo=UTC)) == "never"


def test_a_number_of_things_agrees_with_its_noun() -> None:
    assert (many(1, "race"), many(0, "race"), many(1_200, "race")) == ("1 race", "0 races", "1,200 races")
    assert (many(1, "person"), many(2, "person")) == ("1 person", "2 people")


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (999, "999 B"), (1_000, "1 kB"), (2_500_000, "2 MB"), (10**13, "10.0 TB")]
)
def test_a_size_has_one_unit(number: int, text: str) -> None:
    assert size(number) == text


def test_a_name_cannot_steer_the_terminal() -> None:
    assert clean("A\x1b[2J\x07da \u202erev\u202c\n O'Neil 🏃") == "A[2Jda rev O'Neil 🏃"


def test_a_table_that_fits_is_left_as_it_is() -> None:
    assert fit([">id", "*name", "state"], [2, 20, 6], 80) == [2, 20, 6]


def test_elastic_columns_give_way_the_widest_first() -> None:
    assert fit(["id", "*name", "*reason"], [10, 60, 30], 80) == [10, 36, 30]


def test_an_elastic_column_keeps_six_characters() -> None:
    assert fit(["id", "*name"], [90, 30], 80) == [90, 6]


def test_a_line_that_fits_is_left_as_it_is() -> None:
    assert wrap("  a  | ▁▂ |  b", 80) == "  a  | ▁▂ |  b"


def test_a_longer_line_goes_on_where_it_is_told_and_breaks_no_word_and_no_command() -> None:
    text = (
        "label  one two three, then `hub adopt --check`, see: hub sync --race R or 018f7d3a-0000-7000-8000-000000000001"
    )
    assert wrap(text, 27, hang=7).split("\n") == [
        "label  one two three, then",
        "       `hub adopt --check`,",
        "       see:",
        "       hub sync --race R or",
        "       018f7d3a-0000-7000-8000-000000000001",  # too long for any line, and whole
    ]


def test_wide_letters_count_as_what_they_take() -> None:
    assert wrap("走る 走る", 8) == "走る\n走る"


def test_a_reason_that_is_too_long_for_its_column_goes_on_below(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    table(None, (">id", "*name", "~reason"), [(1, "Fast Timing Company", "it refused the key for good")])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert " ".join(line[lines[0].index("reason") :].strip() for line in lines[1:]) == "it refused the key for good"
    assert max(map(len, lines)) <= 30
