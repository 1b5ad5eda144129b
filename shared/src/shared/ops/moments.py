"""Instants as an operator types them: how long ago, or when."""

import re
from datetime import UTC, datetime, timedelta, tzinfo

from shared.ops.failing import WrongUsage

UNITS = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days"}


def instant(text: str | None, now: datetime, zone: tzinfo = UTC) -> datetime | None:
    """``90s``, ``15min``, ``2h`` or ``3d`` before now, the last ``06:45`` of the zone, or an ISO instant (of the zone,
    unless it says otherwise)."""
    if text is None:
        return None
    ago = re.fullmatch(r"(\d{1,6})\s*(s|min|h|d)", text.strip())
    if ago is not None:
        return now - timedelta(**{UNITS[ago[2]]: int(ago[1])})
    clock = re.fullmatch(r"(\d{1,2}):(\d{2})(?::(\d{2}))?", text.strip())
    if clock is not None:
        return _last(tuple(int(each or 0) for each in clock.groups()), now.astimezone(zone))
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        raise WrongUsage("a time looks like 15min, 2h, 3d, 06:45 or 2027-05-22T05:30") from None
    return (when if when.tzinfo is not None else when.replace(tzinfo=zone)).astimezone(UTC)


def _last(clock: tuple[int, ...], now: datetime) -> datetime:
    """The last time that the clock on a zone's wall showed this: in the hour that autumn repeats, the second of two."""
    try:
        today = now.replace(hour=clock[0], minute=clock[1], second=clock[2], microsecond=0)
    except ValueError:
        raise WrongUsage("a clock shows 00:00 to 23:59") from None
    shown = [day.replace(fold=fold).astimezone(UTC) for day in (today, today - timedelta(days=1)) for fold in (0, 1)]
    return max(each for each in shown if each <= now)
