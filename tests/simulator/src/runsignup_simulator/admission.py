"""The door: the rolling-hour quota per credential and the calls in flight per caller (reference 4)."""

from __future__ import annotations

import math
from collections import Counter, deque
from email.utils import formatdate

from .audit import HOUR, Audit, forget_before
from .policy import Policy
from .requests import Request
from .responses import Response, error, page

ANONYMOUS = "anonymous"


class Admission:
    """Counts the calls that were let in; a refused call does not use up the quota."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._admitted: dict[str, deque[float]] = {}
        self._in_flight: Counter[str] = Counter()
        self._refusals = 0

    def enter(self, request: Request, key: str, now: float, policy: Policy) -> Response | None:
        """Registers the arrival; a Response is the refusal. Every `enter` is followed by one `leave`."""
        account = self._audit.account(key)
        account.arrive(request.endpoint, now)
        caller = caller_of(request)
        self._in_flight[caller] += 1
        self._audit.max_in_flight = max(self._audit.max_in_flight, self._in_flight.total())
        if self._in_flight[caller] > policy.in_flight:
            self._audit.in_flight_violations += 1
            if policy.on_in_flight == "throttle":
                return self._refusal(1, now, policy)
        admitted = self._admitted.setdefault(key, deque())
        forget_before(admitted, now - HOUR)
        if len(admitted) >= policy.quota:
            account.quota_violations += 1
            account.violations_at.append(now)
            if policy.on_quota == "throttle":
                room_at = admitted[len(admitted) - policy.quota] + HOUR if policy.quota else now + HOUR
                return self._refusal(max(1, math.ceil(room_at - now)), now, policy)
        admitted.append(now)
        return None

    def leave(self, request: Request) -> None:
        self._in_flight[caller_of(request)] -= 1

    @property
    def in_flight(self) -> int:
        return self._in_flight.total()

    def forget(self) -> None:
        """A fresh hour for everyone; calls still in flight stay counted."""
        self._admitted.clear()

    def _refusal(self, seconds: int, now: float, policy: Policy) -> Response:
        """The forms in turn, because which one the vendor uses is not established (reference 14)."""
        form = policy.throttle_forms[self._refusals % len(policy.throttle_forms)]
        self._refusals += 1
        if policy.retry_after_seconds is not None:
            seconds = policy.retry_after_seconds
        if form == "error_200":
            return error(14)
        if form == "html_429":
            return page(429, "Too Many Requests")
        when = formatdate(math.ceil(now) + seconds, usegmt=True) if form == "date_429" else str(seconds)
        return error(14, status=429).with_header("Retry-After", when)


def caller_of(request: Request) -> str:
    """Calls without a registration count as one caller: the limit is on the developer, not on the key."""
    return request.query.get("rsu_api_reg", ANONYMOUS)
