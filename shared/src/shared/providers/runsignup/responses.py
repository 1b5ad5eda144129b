"""Opens an answer: JSON, or the failure it is. The body is read before the status, for errors come with HTTP 200.

An error body taken for an empty list would read as "nobody is registered", so whatever cannot be understood
raises; nothing that this module returns is a guess.
"""

import contextlib
import json
import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

import orjson

from shared.providers.port import Answer, Consequence, ProviderFailure
from shared.providers.runsignup.cleaning import can_be_sent, tame
from shared.providers.runsignup.errors import MEANINGS, failure, failure_of_status
from shared.providers.runsignup.spelling import FIRST_YEAR, LAST_YEAR, number

LONGEST_WAIT = 3600.0  # seconds: the hour over which calls are counted
TOLERANT_LIMIT = 16 * 1024 * 1024  # bytes that are worth a second, slower reading

UNREADABLE: Any = object()

# The vendor's client libraries: a root <error> with error_code, when JSON was not understood to be wanted.
XML_ERROR = re.compile(rb"\s*(?:<\?xml[^>]*\?>)?\s*<error>.{0,500}?<error_code>\s*([0-9]{1,6})\s*<", re.DOTALL)


def open_answer(answer: Answer) -> tuple[Any, datetime | None]:
    """The JSON of a good answer and the provider's clock; raises ProviderFailure for any other answer."""
    answered_at = http_date(answer.headers.get("date"))
    retry_after = wait_asked(answer.headers.get("retry-after"), answered_at)
    good = 200 <= answer.status < 300

    def named(code: str) -> ProviderFailure:
        return failure(code, status=answer.status, retry_after=retry_after, answered_at=answered_at)

    def unnamed(code: str, *, own: bool = False) -> ProviderFailure:
        # Without a known code in the body, a status that is no success says more than the body's shape.
        if good:
            return named(code)
        return failure_of_status(answer.status, own=own, retry_after=retry_after, answered_at=answered_at)

    head = answer.body[:1024].lstrip()
    if not head:
        raise unnamed("empty")
    if head.startswith(b"<"):
        match = XML_ERROR.match(answer.body)
        if match is not None and (code := _known(int(match[1]))) is not None:
            raise named(code)
        raise unnamed("markup")
    document = UNREADABLE
    with contextlib.suppress(ValueError):  # whose text is the body: the failure must not carry it along
        document = decode(answer.body)
    if document is UNREADABLE:
        raise unnamed("not_json")
    error = _error_in(document)
    if error is not None:
        code = _code_of(error)
        if code is None or (answer.status == 429 and MEANINGS[code][0] is Consequence.LATER):
            raise unnamed("error_unknown", own=True)
        raise named(code)
    if not good:
        raise unnamed("unknown_form")
    return document, answered_at


def decode(body: bytes) -> Any:
    """JSON that can be stored and sent on, nesting aside (see `as_json`); ValueError when it is none.

    The fast reader refuses a whole page for half a surrogate pair or one wrong byte; so a page that it refuses
    is read once more by the slow one, and made storable.
    """
    try:
        return orjson.loads(body)
    except ValueError:
        if len(body) > TOLERANT_LIMIT:
            raise
    document = _decode_slowly(body)
    return document if can_be_sent(document) else tame(document, set(), keep_nul=True)


def _decode_slowly(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8-sig", "replace"), parse_constant=_no_number, parse_int=_bounded_int)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _bounded_int(digits: str) -> int | float:
    return int(digits) if len(digits) <= 19 else math.copysign(math.inf, -1 if digits[0] == "-" else 1)


def _error_in(document: Any) -> Any:
    """The error in a body, in whatever place; None when there is none."""
    for part in document if isinstance(document, list) else (document,):
        if isinstance(part, dict):
            if part.get("error") is not None:
                return part["error"]
            if "error_code" in part:
                return part
    return None


def _code_of(error: Any) -> str | None:
    """An object with a code, or only a word (OAuth, and the methods under /v2)."""
    code = number(error.get("error_code")) if isinstance(error, dict) else None
    return None if code is None else _known(code)


def _known(code: int) -> str | None:
    return f"error_{code}" if f"error_{code}" in MEANINGS else None


def http_date(text: str | None) -> datetime | None:
    """An HTTP date as an aware time; None when it is missing or makes no sense."""
    if text is None or len(text) > 64:
        return None
    try:
        moment = parsedate_to_datetime(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if FIRST_YEAR <= moment.year <= LAST_YEAR else None


def wait_asked(text: str | None, answered_at: datetime | None) -> float | None:
    """The seconds of a Retry-After, in either of its forms, at most an hour.

    A date is measured against the provider's own clock, so ours may be wrong; without that clock it says nothing.
    """
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return LONGEST_WAIT if len(text) > 6 else min(float(text), LONGEST_WAIT)
    until = http_date(text)
    if until is None or answered_at is None:
        return None
    return min(max((until - answered_at).total_seconds(), 0.0), LONGEST_WAIT)


def read_quota(answer: Answer) -> tuple[int, int] | None:
    """The key's limit and what remains of it, by the names that everybody uses: RunSignUp was not seen to send any."""
    limit, remaining = (number(answer.headers.get(f"x-ratelimit-{name}")) for name in ("limit", "remaining"))
    return None if limit is None or remaining is None or not 0 <= remaining <= limit else (limit, remaining)
