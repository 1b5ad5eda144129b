"""Numbers, money and time as RunSignUp spells them."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.providers.runsignup import spelling
from shared.providers.runsignup.spelling import eastern, identifier, instant, local, money

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("$55.00", "55.00"),
        ("$1,234.50", "1234.50"),
        ("$12,345,678.90", "12345678.90"),
        ("$0.00", "0.00"),
        ("$5", "5.00"),
        ("5.5", "5.50"),
        (".5", "0.50"),
        ("-$5.00", "-5.00"),
        ("$-5.00", "-5.00"),
        ("($5.00)", "-5.00"),
        ("-$0.00", "0.00"),
        (" $007.10 ", "7.10"),
        ("$0.125", "0.125"),
        (35, "35.00"),
        (35.1, "35.10"),
    ],
)
def test_money_is_an_exact_number(sent: Any, stored: str) -> None:
    assert money(sent) == stored


@pytest.mark.parametrize(
    "sent",
    ["", "$", "free", "$1,2.00", "12,34", "(5.00", "-(5.00)", "--5", "€5.00", "$5.00 USD", "٥", True, [], {},
     "1e5", float("nan"), float("inf"), 10**400, "9" * 50],
)  # fmt: skip
def test_what_is_no_amount_is_none(sent: Any) -> None:
    assert money(sent) is None


@given(st.integers(min_value=-(10**11), max_value=10**11))
def test_money_survives_its_spelling(cents: int) -> None:
    sign = "-" if cents < 0 else ""
    text = f"{sign}${abs(cents) // 100:,}.{abs(cents) % 100:02d}"
    stored = money(text)
    assert stored is not None
    assert Decimal(stored) == Decimal(cents) / 100


@given(st.datetimes(datetime.fromisoformat("2000-01-01"), datetime.fromisoformat("2100-12-31")))
def test_eastern_times_read_back_as_they_were_spelled(moment: datetime) -> None:
    zone = ZoneInfo("America/New_York")
    expected = moment.replace(tzinfo=zone, second=0, microsecond=0).astimezone(UTC)
    slashed = f"{moment.month}/{moment.day}/{moment.year} {moment.hour}:{moment.minute:02d}"
    dashed = f"{moment:%Y-%m-%d %H:%M}:00"
    assert eastern(slashed) == eastern(dashed) == local(slashed, zone) == expected


def test_the_documented_pair_of_text_and_seconds_agrees() -> None:
    assert eastern("9/7/2021 15:15") == datetime.fromtimestamp(1631042122 - 22, UTC)
    assert eastern("2021-09-23 09:54:37") == datetime.fromtimestamp(1632405277, UTC)


def test_the_hour_that_autumn_repeats_is_the_first_one() -> None:
    assert eastern("11/7/2027 1:30") == datetime(2027, 11, 7, 5, 30, tzinfo=UTC)


def test_the_hour_that_spring_leaves_out_moves_forward() -> None:
    skipped = eastern("3/14/2027 2:30")
    assert skipped == datetime(2027, 3, 14, 7, 30, tzinfo=UTC)
    assert skipped == eastern("3/14/2027 3:30")


@pytest.mark.parametrize(
    "text",
    ["2/30/2027 10:00", "13/1/2027 10:00", "5/22/2027 24:00", "5/22/2027 10:60", "5/22/1970 10:00", "5/22/2101 1:00",
     "5/22/2027", "0000-00-00 00:00:00", "soon", "", "x" * 100, 5, None, [], "٥/22/2027 10:00"],
)  # fmt: skip
def test_a_time_that_makes_no_sense_is_none(text: Any) -> None:
    assert eastern(text) is None


@pytest.mark.parametrize("seconds", [0, -1, 10**18, 10**400, "soon", 1.5, True, None])
def test_seconds_that_make_no_sense_are_none(seconds: Any) -> None:
    assert instant(seconds) is None


def test_seconds_may_come_as_text() -> None:
    assert instant("1631042122") == instant(1631042122)


@pytest.mark.parametrize(("sent", "stored"), [(7, "7"), ("7", "7"), ("007", "7"), (2**63 - 1, str(2**63 - 1))])
def test_an_id_is_text(sent: Any, stored: str) -> None:
    assert identifier(sent) == stored


@pytest.mark.parametrize("sent", [0, -1, "-1", 2**63, 10**400, "9" * 6000, True, 1.0, "1.0", "²", " 7", "", None])
def test_what_is_no_id_is_none(sent: Any) -> None:
    assert identifier(sent) is None


@pytest.mark.parametrize("name", ["America/Chicago", "Pacific/Honolulu", "UTC"])
def test_a_zone_is_known_by_its_name(name: str) -> None:
    zone = spelling.zone(name)
    assert zone is not None
    assert zone.key == name


@pytest.mark.parametrize(
    "name", ["Mars/Olympus", "../../etc/passwd", "America", "", "/etc", "x" * 500, "a\x00b", 5, None]
)
def test_what_is_no_zone_is_none(name: Any) -> None:
    assert spelling.zone(name) is None


@pytest.mark.parametrize(
    ("sent", "stored"),
    [("5K", ("5", "K")), ("13.1 Miles", ("13.1", "Miles")), ("100 m", ("100", "m")), (".5 mi.", ("0.5", "mi")),
     ("10", ("10", None)), (3.2, ("3.2", None)), ("Half Marathon", None), ("5K/10K", None), ("", None), ([], None)],
)  # fmt: skip
def test_a_distance_is_a_number_and_its_unit(sent: Any, stored: tuple[str, str | None] | None) -> None:
    assert spelling.distance(sent) == (None if stored is None else (Decimal(stored[0]), stored[1]))


@given(JSON)
def test_no_reader_ever_raises(value: Any) -> None:
    for reader in (
        spelling.number, identifier, spelling.flag, money, spelling.epoch, instant, eastern, spelling.zone,
        spelling.distance,
    ):  # fmt: skip
        reader(value)
    local(value, spelling.EASTERN)
