"""Small XML, for clients that forgot `format=json` (reference 3, quirk 2)."""

from __future__ import annotations

import re
from typing import Any
from xml.sax.saxutils import escape

# XML 1.0 has no way to write these.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def to_xml(root: str, value: Any) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{_element(root, value)}\n'.encode()


def _element(name: str, value: Any) -> str:
    if isinstance(value, dict):
        inner = "".join(_element(key, item) for key, item in value.items())
    elif isinstance(value, list | tuple):
        inner = "".join(_element(_singular(name), item) for item in value)
    elif value is None:
        return f"<{name}/>"
    else:
        inner = escape(_FORBIDDEN.sub("", str(value)))
    return f"<{name}>{inner}</{name}>"


def _singular(name: str) -> str:
    return name[:-1] if name.endswith("s") else "item"
