"""How RunSignUp spells truth, money, dates and numbers (reference 3)."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

EASTERN = ZoneInfo("America/New_York")


@lru_cache(maxsize=64)
def zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def flag(value: bool) -> str:
    return "T" if value else "F"


def money(cents: int) -> str:
    return f"${cents // 100:,}.{cents % 100:02d}"


def loose(at: float, tz: ZoneInfo = EASTERN) -> str:
    """`M/D/YYYY HH:MM`, not padded: race and participant dates (Eastern), event times (race's zone)."""
    local = datetime.fromtimestamp(at, tz)
    return f"{local.month}/{local.day}/{local.year} {local.hour:02d}:{local.minute:02d}"


def padded_day(at: float, tz: ZoneInfo) -> str:
    """`MM/DD/YYYY`: the calendar days of a race."""
    return datetime.fromtimestamp(at, tz).strftime("%m/%d/%Y")


def loose_midnight(at: float, tz: ZoneInfo) -> str:
    """`M/D/YYYY 00:00`: the days of an edition."""
    local = datetime.fromtimestamp(at, tz)
    return f"{local.month}/{local.day}/{local.year} 00:00"


def text_second(at: float) -> str:
    """`YYYY-MM-DD HH:MM:SS` Eastern: the two dates of a removed participant."""
    return datetime.fromtimestamp(at, EASTERN).strftime("%Y-%m-%d %H:%M:%S")


def is_true(value: str | None) -> bool:
    """Only `T` is true; anything else is a client's mistake, and false."""
    return value == "T"


def whole_number(value: str | None) -> int | None:
    """A uint of a request, or None where the text is something else."""
    if value is None or not value.isascii() or not value.isdigit() or len(value) > 18:
        return None
    return int(value)


def day_asked(text: str, now: float) -> date | None:
    """A date of a request: `YYYY-mm-dd`, a Unix timestamp, `today` or `tomorrow`; None when it is none of these."""
    today = datetime.fromtimestamp(now, EASTERN).date()
    if text == "today":
        return today
    if text == "tomorrow":
        return today + timedelta(days=1)
    seconds = whole_number(text)
    if seconds is not None:
        return datetime.fromtimestamp(min(seconds, 253_370_764_800), EASTERN).date()
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None


def instant_asked(text: str, now: float) -> float | None:
    """The same spellings as an instant: an Eastern midnight unless it was a timestamp."""
    seconds = whole_number(text)
    if seconds is not None:
        return float(seconds)
    day = day_asked(text, now)
    if day is None:
        return None
    return datetime(day.year, day.month, day.day, tzinfo=EASTERN).timestamp()
