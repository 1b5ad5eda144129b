"""A key's budget as a value: what of it we may use, when somebody else uses it too."""

from datetime import datetime, timedelta

HOUR = timedelta(hours=1)

#: However much others seem to use, we go on trying with this share: only a call tells that there is room again.
LEAST_SHARE = 0.1


def usable_limit(limit: int, others_calls: int, others_seen_at: datetime | None, now: datetime) -> int:
    """What of a limit is ours: all of it, less what somebody else used when it was last seen.

    It grows back evenly within the hour after that, as their calls stop counting.
    """
    if others_seen_at is None:
        return limit
    gone = max(0.0, min(1.0, (now - others_seen_at) / HOUR))
    return max(int(limit * LEAST_SHARE), limit - round(others_calls * (1 - gone)), 1)


def others_when_throttled(usable: int, limit: int, counting: int) -> int:
    """What others use, when the provider refused a call though our own count had room.

    How much is not told: half of the room that we thought to have. Told again, half of the rest.
    """
    return limit - usable + max(0, usable - counting) // 2


def others_when_told(limit: int, remaining: int, counting: int) -> int:
    """What others use, when the provider says what remains: less than our own count leaves."""
    return max(0, limit - remaining - counting)
