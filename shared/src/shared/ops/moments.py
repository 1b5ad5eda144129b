"""Instants as an operator types them: how long ago, or when."""

import re
from datetime import UTC, datetime, timedelta

from shared.ops.failing import WrongUsage

UNITS = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days"}


def instant(text: str | None, now: datetime) -> datetime | None:
    """``90s``, ``15min``, ``2h`` or ``3d`` before now, or an ISO instant (UTC unless it says otherwise)."""
    if text is None:
        return None
    ago = re.fullmatch(r"(\d{1,6})\s*(s|min|h|d)", text.strip())
    if ago is not None:
        return now - timedelta(**{UNITS[ago[2]]: int(ago[1])})
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        raise WrongUsage("a time looks like 15min, 2h, 3d or 2027-05-22T05:30") from None
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)
