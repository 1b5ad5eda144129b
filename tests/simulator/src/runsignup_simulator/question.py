"""What an endpoint is asked: the request, who asks, when, under which policy."""

from __future__ import annotations

from typing import NamedTuple

from .access import Caller
from .policy import Policy
from .requests import Request
from .responses import Response, error
from .spelling import is_true, whole_number
from .world import World


class Question(NamedTuple):
    world: World
    request: Request
    caller: Caller
    policy: Policy
    now: float

    @property
    def wire_format(self) -> str:
        """XML unless JSON was asked for (reference 3). The newer `.json` methods know JSON only."""
        if self.request.path.lower().endswith(".json"):
            return "json"
        return self.request.query.get("format", "xml").lower()

    def text(self, name: str) -> str | None:
        return self.request.query.get(name)

    def number(self, name: str) -> int | None:
        return whole_number(self.request.query.get(name))

    def true(self, name: str) -> bool:
        return is_true(self.request.query.get(name))

    def refuse(self, code: int) -> Response:
        return error(code, self.wire_format)

    def window(self, ceiling: int, size_name: str = "results_per_page") -> tuple[int, int]:
        """Page number and page size: defaults for what is missing or no number, and the ceiling served silently."""
        page = self.number("page") or 1
        size = self.number(size_name) or self.policy.default_page
        return page, min(size, ceiling)
