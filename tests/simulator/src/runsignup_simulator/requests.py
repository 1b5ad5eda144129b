"""One request as a value: what arrived, split and lower-cased where HTTP says so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

PREFIX = "/rest"


class Request(NamedTuple):
    method: str
    path: str
    """Decoded, without the query, as sent."""
    query: dict[str, str]
    """Of a repeated parameter the last one counts, as in PHP."""
    headers: dict[str, str]
    """Names in lower case."""

    @property
    def route(self) -> tuple[str, ...]:
        """The path's segments after `/rest`, lower-cased: the vendor's paths are not case-sensitive (reference 1)."""
        segments = [segment for segment in self.path.lower().split("/") if segment]
        return tuple(segments[1:]) if segments and segments[0] == PREFIX[1:] else ()

    @property
    def endpoint(self) -> str:
        """The last word of the method's path: `races`, `race`, `participants`, `removed-participants`, ..."""
        route = self.route
        if len(route) == 2 and route[0] == "race":
            return "race"
        return route[-1].removesuffix(".json") if route else ""

    @property
    def race_id(self) -> int | None:
        route = self.route
        asked = route[1] if len(route) >= 2 and route[0] == "race" else self.query.get("race_id", "")
        return int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 19 else None


def parse_request(method: str, target: str, headers: Iterable[tuple[str, str]] = ()) -> Request:
    """Reads a request line's target. Nothing in it is ever refused here: unknown parameters are ignored later."""
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return Request(method.upper(), unquote(parts.path), query, {name.lower(): value for name, value in headers})
