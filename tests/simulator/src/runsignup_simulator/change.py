"""The report of one thing that happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Change:
    """What was done to whom, with the value before and after where there is one."""

    kind: str
    race_id: int | None = None
    event_id: int | None = None
    registration_id: int | None = None
    before: Any = None
    after: Any = None
    new_registration_id: int | None = None
    key: str | None = None
