"""The book of calls: who called what, how often in any rolling hour, how many at once, and what broke a limit."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

HOUR = 3_600.0


@dataclass(slots=True)
class Account:
    """One credential's calls. Every arrival counts, the refused ones too."""

    total: int = 0
    by_endpoint: Counter[str] = field(default_factory=Counter)
    by_status: Counter[str] = field(default_factory=Counter)
    max_in_hour: int = 0
    quota_violations: int = 0
    violations_at: list[float] = field(default_factory=list)
    arrivals: deque[float] = field(default_factory=deque)

    def arrive(self, endpoint: str, now: float) -> None:
        self.total += 1
        self.by_endpoint[endpoint] += 1
        self.arrivals.append(now)
        forget_before(self.arrivals, now - HOUR)
        self.max_in_hour = max(self.max_in_hour, len(self.arrivals))


@dataclass(slots=True)
class Audit:
    accounts: dict[str, Account] = field(default_factory=dict)
    busy_seconds: float = 0.0
    """From each call's arrival to the end of its answer, summed up: what the provider itself took."""
    max_in_flight: int = 0
    in_flight_violations: int = 0
    caller_refusals: int = 0
    """Calls whose caller registration was wrong (error 17)."""

    def account(self, key: str) -> Account:
        return self.accounts.setdefault(key, Account())

    def report(self) -> dict[str, Any]:
        return {
            "credentials": {
                key: {
                    "calls": account.total,
                    "by_endpoint": dict(account.by_endpoint),
                    "by_status": dict(account.by_status),
                    "max_in_any_hour": account.max_in_hour,
                    "quota_violations": account.quota_violations,
                    "violations_at": account.violations_at[:100],
                }
                for key, account in self.accounts.items()
            },
            "calls": sum(account.total for account in self.accounts.values()),
            "quota_violations": sum(account.quota_violations for account in self.accounts.values()),
            "busy_seconds": self.busy_seconds,
            "max_in_flight": self.max_in_flight,
            "in_flight_violations": self.in_flight_violations,
            "caller_refusals": self.caller_refusals,
        }


def forget_before(times: deque[float], limit: float) -> None:
    """Drops what is an hour old or older: two calls exactly an hour apart are not in one hour."""
    while times and times[0] <= limit:
        times.popleft()
