"""How RunSignUp spells numbers, truth, money and time (runsignup.com/API/DocOverview).

Every reader takes any JSON value and returns None for what it cannot read; none raises. The results of the
frequent, short texts are kept, since a roster repeats them thousands of times.
"""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

EASTERN = ZoneInfo("America/New_York")
HIGHEST_ID = 2**63 - 1  # what a bigint holds
FIRST_YEAR, LAST_YEAR = 2000, 2100  # outside these a time is a mistake
EARLIEST, LATEST = 946_684_800, 4_133_980_800  # the same, in Unix seconds

# Digits are ASCII ones: a pattern's \d would take those of every script.
MONEY = re.compile(r"(\()?\s*(-)?\s*\$?\s*(-)?\s*([0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,12})?(?:\.([0-9]{1,6}))?\s*(\))?")
SLASHED_HOUR = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4}) ([0-9]{1,2})")
SLASHED = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4}) ([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")
DASHED = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})[ T]([0-9]{2}):([0-9]{2})(?::([0-9]{2}))?")
DISTANCE = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?|\.[0-9]{1,6})\s*([^\W\d_]{1,20})?\.?")
MINUTES = {f":{minute:02d}": timedelta(minutes=minute) for minute in range(60)}


def number(value: Any) -> int | None:
    """A whole number, or its digits as text: ids change their type between methods and years."""
    if type(value) is int:
        return value if -HIGHEST_ID <= value <= HIGHEST_ID else None
    if type(value) is str and len(value) <= 20 and value.isascii() and value.removeprefix("-").isdigit():
        read = int(value)
        return read if -HIGHEST_ID <= read <= HIGHEST_ID else None
    return None


def identifier(value: Any) -> str | None:
    """An id as text: a whole number from 1 on, without leading zeros."""
    read = number(value)
    return None if read is None or read < 1 else str(read)


def flag(value: Any) -> bool | None:
    """``"T"`` and ``"F"``, which are both true in most languages."""
    if value == "T" or value is True:
        return True
    if value == "F" or value is False:
        return False
    return None


def money(value: Any) -> str | None:
    """The text of a JSON number with exact cents: ``"$1,234.5"`` is ``1234.50``."""
    if type(value) is str:
        return _money(value) if len(value) <= 40 else None
    if type(value) is int:
        return f"{value}.00" if abs(value) < 10**12 else None
    if type(value) is float:
        return _money(f"{Decimal(repr(value)):f}") if 1e-6 <= abs(value) < 1e12 or value == 0 else None
    return None


@lru_cache(maxsize=8192)
def _money(text: str) -> str | None:
    match = MONEY.fullmatch(text.strip())
    if match is None:
        return None
    opening, minus, second_minus, whole, cents, closing = match.groups()
    negatives = sum(sign is not None for sign in (opening, minus, second_minus))
    if (whole is None and cents is None) or (opening is None) != (closing is None) or negatives > 1:
        return None
    digits = (whole or "0").replace(",", "").lstrip("0") or "0"
    amount = f"{digits}.{(cents or '').ljust(2, '0')}"
    return f"-{amount}" if negatives and amount.strip("0.") else amount


def epoch(value: Any) -> int | None:
    """Unix seconds of a time that makes sense."""
    seconds = number(value)
    return seconds if seconds is not None and EARLIEST <= seconds < LATEST else None


def instant(value: Any) -> datetime | None:
    """Unix seconds as an aware time."""
    seconds = epoch(value)
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def eastern(value: Any) -> datetime | None:
    """``9/7/2021 15:15`` or ``2021-09-07 15:15:22``, US Eastern: what the vendor means when it names no zone.

    In the hour that autumn repeats, the first one is meant (nothing in the text tells); a time in the hour that
    spring leaves out moves forward by that hour.
    """
    if type(value) is not str or len(value) > 19:
        return None
    # An offset holds for a whole hour of the clock, and a roster's registrations share few hours.
    minutes = MINUTES.get(value[-3:])
    hour = None if minutes is None else _eastern_hour(value[:-3])
    return local(value, EASTERN) if hour is None or minutes is None else hour + minutes


@lru_cache(maxsize=32_768)
def _eastern_hour(text: str) -> datetime | None:
    match = SLASHED_HOUR.fullmatch(text)
    if match is None:
        return None
    month, day, year, hour = map(int, match.groups())
    return _absolute((year, month, day, hour, 0, 0), EASTERN)


def local(value: Any, zone: tzinfo) -> datetime | None:
    """The same spellings in any zone, with the same rules for the hours of spring and autumn."""
    if type(value) is not str:
        return None
    text = value.strip()
    if match := SLASHED.fullmatch(text):
        month, day, year, hour, minute, second = (int(part or 0) for part in match.groups())
    elif match := DASHED.fullmatch(text):
        year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
    else:
        return None
    return _absolute((year, month, day, hour, minute, second), zone)


def _absolute(parts: tuple[int, int, int, int, int, int], zone: tzinfo) -> datetime | None:
    """A wall clock's time as an instant. ``fold=0``: the earlier of two, and in a gap the offset before it."""
    if not FIRST_YEAR <= parts[0] <= LAST_YEAR:
        return None
    try:
        return datetime(*parts, tzinfo=zone, fold=0).astimezone(UTC)
    except ValueError:  # a day or an hour that does not exist
        return None


@lru_cache(maxsize=512)
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; no name at all; a folder of the zone files
        return None


def zone(value: Any) -> ZoneInfo | None:
    """An IANA time zone by its name."""
    return _zone(value) if type(value) is str and 0 < len(value) <= 64 else None


def distance(value: Any) -> tuple[Decimal, str | None] | None:
    """``5K``, ``13.1 Miles``: a number and the unit as it is spelled. Words alone have no number."""
    if type(value) is int or type(value) is float:
        value = repr(value)
    match = DISTANCE.fullmatch(value.strip()) if type(value) is str and len(value) <= 64 else None
    return None if match is None else (Decimal(match[1]), match[2])
