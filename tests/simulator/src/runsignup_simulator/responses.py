"""Answers as values, and the error bodies of reference 14."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from .markup import to_xml

JSON = "application/json; charset=utf-8"
XML = "text/xml; charset=utf-8"
HTML = "text/html; charset=utf-8"

# code: (HTTP status, message); everything but a bad caller registration comes with HTTP 200.
ERRORS: dict[int, tuple[int, str]] = {
    1: (200, "Unknown method."),
    2: (200, "HTTP method not supported."),
    3: (200, "Invalid parameters."),
    4: (200, "Unknown error."),
    5: (200, "Database error."),
    6: (200, "Key authentication failed"),
    7: (200, "Permission Denied"),
    9: (200, "Invalid date."),
    10: (200, "Response format not supported."),
    14: (200, "Request throttled."),
    15: (200, "Invalid id."),
    17: (400, "Invalid API caller credentials."),
    201: (200, "Race not found."),
    301: (200, "Event not found."),
}


class Response(NamedTuple):
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def with_header(self, name: str, value: str) -> Response:
        return self._replace(headers=(*self.headers, (name, value)))

    @property
    def content_type(self) -> str:
        return next((value for name, value in self.headers if name == "Content-Type"), "")


def encode(value: Any) -> bytes:
    """JSON with the slashes escaped, as the vendor sends it. A slash occurs only inside strings."""
    return orjson.dumps(value).replace(b"/", b"\\/")


def answer(body: bytes, content_type: str = JSON, status: int = 200) -> Response:
    return Response(status, (("Content-Type", content_type),), body)


def structured(root: str, value: Any, wire_format: str) -> Response:
    """The value as JSON, or as XML under the given root element: XML is what comes unless JSON was asked for."""
    if wire_format == "json":
        return answer(encode(value))
    inner = value[root] if isinstance(value, dict) and list(value) == [root] else value
    return answer(to_xml(root, inner), XML)


def error(code: int, wire_format: str = "json", *, status: int | None = None, message: str | None = None) -> Response:
    """The error envelope; `status` overrides the usual one, since that of a throttled call is not established."""
    usual, text = ERRORS.get(code, (200, f"Error {code}."))
    body = {"error_code": code, "error_msg": text if message is None else message}
    status = usual if status is None else status
    if wire_format == "json":
        return answer(encode({"error": body}), JSON, status)
    return answer(to_xml("error", body), XML, status)


def page(status: int, title: str) -> Response:
    """A page made by a web server or the CDN before it, not by the API (reference 14: 404, 522)."""
    heading = f"{status} {title}"
    body = f"<html>\r\n<head><title>{heading}</title></head>\r\n<body><h1>{heading}</h1></body>\r\n</html>\r\n"
    return answer(body.encode(), HTML, status)
