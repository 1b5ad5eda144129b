"""One field at a time: its value, or None and a note that says why. Blank is absent, and needs no note."""

from collections.abc import Callable, Sequence
from datetime import date
from functools import lru_cache
from typing import Any, TypeVar

from shared.providers.runsignup.cleaning import tame
from shared.providers.runsignup.spelling import identifier

T = TypeVar("T")
NOTHING: dict[str, Any] = {}
PLAIN = {str, type(None)}
GENDERS = {"M", "F", "X"}  # runsignup.com/API/DocOverview


def tamed(record: dict[str, Any], known: frozenset[str], notes: list[str]) -> dict[str, Any]:
    """A storable copy of a record, with a note for each known field that had to change.

    Unknown fields change without a note: their names are a stranger's words.
    """
    clean: dict[str, Any] = {}
    for name, value in record.items():
        if name == "user" and type(value) is dict:
            clean[name] = {field: _tamed(field, item, known, notes) for field, item in value.items()}
        else:
            clean[tame(name, set())] = _tamed(name, value, known, notes)
    return clean


def _tamed(name: str, value: Any, known: frozenset[str], notes: list[str]) -> Any:
    found: set[str] = set()
    value = tame(value, found)
    if found and name in known:
        notes.append(f"{name}: {', '.join(sorted(found))}")
    return value


def read(reader: Callable[[Any], T | None], value: Any, name: str, fault: str, notes: list[str]) -> T | None:
    """A field through its reader."""
    if value is None or value == "":
        return None
    result = reader(value)
    if result is None:
        notes.append(f"{name}: {fault}")
    return result


def ids(record: Any, event_id: Any) -> tuple[str, str] | str:
    """Registration and event of a record, or the word for why it cannot be stored."""
    registration = identifier(record)
    if registration is None:
        return "id_missing" if record is None else "id_not_a_number"
    event = identifier(event_id)
    if event is None:
        return "event_id_missing" if event_id is None else "event_id_not_a_number"
    return registration, event


def table(value: Any, name: str, notes: list[str]) -> dict[str, Any]:
    """An object; an empty one for anything else."""
    if type(value) is dict:
        return value
    if value is not None:
        notes.append(f"{name}: not an object")
    return NOTHING


def text(value: Any, name: str, notes: list[str]) -> str | None:
    """Text exactly as received, blanks included; a whole number as its digits, for types change between methods."""
    if value is None or type(value) is str:
        return value
    if type(value) is int:
        return str(value)
    notes.append(f"{name}: not text")
    return None


def texts(get: Callable[[str], Any], names: Sequence[str], notes: list[str]) -> list[str | None]:
    """Several texts at once: looked through in C when each is text or absent, as nearly always."""
    values = list(map(get, names))
    if PLAIN.issuperset(map(type, values)):
        return values
    return [text(value, name, notes) for value, name in zip(values, names, strict=True)]


def worn(value: Any, name: str, notes: list[str]) -> str | None:
    """A bib or a chip: a blank one is none."""
    if value is None:
        return None
    result = text(value, name, notes)
    return result if result and not result.isspace() else None


def gender(value: Any, notes: list[str]) -> str | None:
    """M, F or X."""
    if type(value) is str and value in GENDERS:
        return value
    if value is not None and value != "":
        notes.append("gender: unknown word")
    return None


def age(value: Any, notes: list[str]) -> int | None:
    """An age as sent; what day it refers to is not documented."""
    if value is None or (type(value) is int and -(2**31) <= value < 2**31):
        return value
    if value != "":
        notes.append("age: not a whole number")
    return None


def birthday(value: Any, notes: list[str]) -> date | None:
    """``1986-01-06``; a day that does not exist is none."""
    if value is None or value == "":
        return None
    result = _day(value) if type(value) is str and len(value) == 10 else None
    if result is None:
        notes.append("dob: not a date")
    return result


@lru_cache(maxsize=32_768)
def _day(value: str) -> date | None:
    if value[4] != "-" or value[7] != "-":
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        return None
