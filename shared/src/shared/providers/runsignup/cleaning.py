"""Makes any JSON value storable: no U+0000, no broken characters, no bottomless nesting, no endless numbers.

PostgreSQL takes no U+0000 in text, UTF-8 no half of a surrogate pair, and our own messages neither.
"""

import math
from collections.abc import Sequence
from typing import Any

import orjson

DEEPEST = 64  # levels; what RunSignUp sends has six, what a message can carry is 254

NUL = "U+0000 removed"
BROKEN = "unreadable character"
DEEP = "nested too deeply, cut"


def is_clean(value: Any) -> bool:
    """Whether the value can be stored as it is; one pass in C, so the usual record costs next to nothing."""
    try:
        return is_storable(orjson.dumps(value))
    except TypeError:  # half a surrogate pair, a number beyond 64 bits, too deep
        return False


def is_storable(text: bytes) -> bool:
    """The same, of what is JSON text already."""
    # Looking for one byte is several times faster than for three or six, and most records have neither.
    return (b"\\" not in text or b"\\u0000" not in text) and (text.isascii() or b"\xef\xbf\xbd" not in text)


def can_be_sent(value: Any) -> bool:
    """Whether a message can carry the value."""
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


def as_json(records: Sequence[Any]) -> list[bytes]:
    """Records as JSON texts that a message can carry.

    One that is nested too deeply for that is cut. What the fast reader takes has no other fault, so nobody looks for
    one before: that would be a second encoding of each page.
    """
    try:
        return [orjson.dumps(each) for each in records]
    except TypeError:
        sendable = (each if can_be_sent(each) else tame(each, set(), keep_nul=True) for each in records)
        return [orjson.dumps(each) for each in sendable]


def tame(value: Any, found: set[str], *, keep_nul: bool = False, depth: int = 0) -> Any:
    """A storable copy of a value; says in ``found`` what was wrong with it.

    ``keep_nul`` leaves U+0000 to be found later, where a note can be made of it.
    """
    if isinstance(value, str):
        return _tame_text(value, found, keep_nul)
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return math.inf if value > 0 else -math.inf  # a number still, and no reader's idea of one
    if not isinstance(value, dict | list | tuple):
        return value
    if depth == DEEPEST:
        found.add(DEEP)
        return None
    if isinstance(value, dict):
        return {
            _tame_text(key, found, keep_nul): tame(item, found, keep_nul=keep_nul, depth=depth + 1)
            for key, item in value.items()
        }
    return [tame(item, found, keep_nul=keep_nul, depth=depth + 1) for item in value]


def _tame_text(text: str, found: set[str], keep_nul: bool) -> str:
    if "\x00" in text and not keep_nul:
        found.add(NUL)
        text = text.replace("\x00", "")
    if not text.isascii():
        # Joins the halves of a pair that were sent apart, and puts U+FFFD for a half that is alone.
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        if "\ufffd" in text:
            found.add(BROKEN)
    return text


def compact(value: Any) -> str:
    """A clean value as compact JSON."""
    return orjson.dumps(value).decode()
