"""Misfortunes on request: which call one strikes. What it does to the answer is in `damage`."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, fields
from typing import Any

from .requests import Request

KINDS = (
    "http_500", "http_503", "page_522", "slow", "reset", "cut_body", "html_200", "wrong_content_type",
    "duplicate_row", "missing_keys", "extra_keys", "error_body", "short_page", "no_date_header", "clock_skew",
    "empty_answer", "bad_row", "bad_json", "deep_json", "redirect", "huge_body", "gzip_bomb",
)  # fmt: skip
BAD_ROWS = (
    "invalid_date", "nul", "non_numeric_id", "number_for_object", "unknown_gender", "foreign_event", "huge_text",
)  # fmt: skip


NUMBERS = {
    "race_id", "times", "probability", "skip", "for_seconds", "seconds", "code", "status", "megabytes", "depth",
}  # fmt: skip


@dataclass(slots=True)
class Fault:
    """One misfortune. Every condition that is set must hold; without any it strikes every call."""

    kind: str
    id: int = 0
    # Which calls.
    endpoint: str | None = None
    """races, race, participants, removed-participants, get-bib-validation-settings, entity-info, checkin-timestamps."""
    path: str | None = None
    """A part of the path, any case."""
    race_id: int | None = None
    key: str | None = None
    contains: str | None = None
    """A part of the query as `name=value`, for example `search_bib=101`."""
    # How often.
    times: int | None = None
    probability: float = 1.0
    skip: int = 0
    """Lets this many matching calls pass first: strikes in the middle of a walk."""
    for_seconds: float | None = None
    """Ends this long after it was asked for, on the world's clock."""
    # How.
    seconds: float = 2.0
    """Of slow (delay) and clock_skew (may be negative)."""
    late_date: bool = False
    """Of slow: `Date` is the moment of sending, not that of reading the rows."""
    code: int = 4
    """Of error_body."""
    status: int | None = None
    """Of error_body: another HTTP status than 200."""
    shape: str = "object"
    """Of error_body: object, or text for the form that newer methods document (reference 14)."""
    choice: str | None = None
    """Of bad_row: one of BAD_ROWS, or all in turn when not set."""
    megabytes: int = 64
    """Of huge_body and gzip_bomb, decompressed."""
    depth: int = 100_000
    """Of deep_json."""
    location: str = "http://elsewhere.example.com/rest/"
    """Of redirect."""
    retry_after: str | None = None
    """Of http_503."""
    content_type: str = "text/plain"
    """Of wrong_content_type."""
    asked_at: float = 0.0
    matched: int = 0
    struck: int = 0

    def matches(self, request: Request, key: str, now: float) -> bool:
        if self.times is not None and self.struck >= self.times:
            return False
        if self.for_seconds is not None and now >= self.asked_at + self.for_seconds:
            return False
        return (
            (self.endpoint is None or request.endpoint == self.endpoint)
            and (self.path is None or self.path.lower() in request.path.lower())
            and (self.race_id is None or request.race_id == self.race_id)
            and (self.key is None or key == self.key)
            and (self.contains is None or self.contains in (f"{k}={v}" for k, v in request.query.items()))
        )


@dataclass(slots=True)
class Faults:
    """The list of misfortunes in the order they were asked for; a call meets the first that strikes."""

    random: random.Random
    listed: list[Fault] = field(default_factory=list)
    last_id: int = 0

    def add(self, values: dict[str, Any], now: float) -> Fault:
        """Raises ValueError for an unknown kind, condition or choice: a test's typo must not mean "no fault"."""
        settable = {f.name for f in fields(Fault)} - {"id", "asked_at", "matched", "struck"}
        unknown = sorted(set(values) - settable)
        if unknown:
            raise ValueError(f"no such field: {', '.join(unknown)}; there are {', '.join(sorted(settable))}")
        values = {name: _number(name, value) if name in NUMBERS else value for name, value in values.items()}
        fault = Fault(**values)
        if fault.kind not in KINDS:
            raise ValueError(f"no such kind: {fault.kind}; there are {', '.join(KINDS)}")
        if fault.choice is not None and fault.choice not in BAD_ROWS:
            raise ValueError(f"no such choice: {fault.choice}; there are {', '.join(BAD_ROWS)}")
        self.last_id += 1
        fault.id, fault.asked_at = self.last_id, now
        self.listed.append(fault)
        return fault

    def strike(self, request: Request, key: str, now: float) -> Fault | None:
        for fault in self.listed:
            if not fault.matches(request, key, now):
                continue
            fault.matched += 1
            if fault.matched <= fault.skip:
                continue
            if fault.probability < 1.0 and self.random.random() >= fault.probability:
                continue
            fault.struck += 1
            return fault
        return None

    def clear(self, fault_id: int | None = None) -> int:
        before = len(self.listed)
        self.listed = [fault for fault in self.listed if fault_id is not None and fault.id != fault_id]
        return before - len(self.listed)


def _number(name: str, value: Any) -> Any:
    """A number, or text that is a whole one: the truth spells ids as text."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise ValueError(f"{name} is a number, not {value!r}")
