"""Sorting and paging of registrations, with the cheap way for what a good client asks: ids ascending by keyset."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence

from ..model import Registration
from ..roster import Roster

SortKey = Callable[[Registration], tuple[bool, str | int]]


def _text(read: Callable[[Registration], str | None]) -> SortKey:
    return lambda person: ((value := read(person)) is None, (value or "").lower())


def _number(read: Callable[[Registration], int | None]) -> SortKey:
    return lambda person: ((value := read(person)) is None, value or 0)


# The sorts of reference 7.1 (and `last_modified` of 8).
SORTS: dict[str, SortKey] = {
    "registration_id": _number(lambda p: p.registration_id),
    "registration_date": _number(lambda p: p.registered_at),
    "last_modified": _number(lambda p: p.last_modified),
    "age": _number(lambda p: p.age),
    "name": _text(lambda p: f"{p.runner.last_name} {p.runner.first_name}"),
    "first_name": _text(lambda p: p.runner.first_name),
    "last_name": _text(lambda p: p.runner.last_name),
    "bib_num": _number(lambda p: p.bib if isinstance(p.bib, int) else None),
    "chip_num": _text(lambda p: p.chip),
    "gender": _text(lambda p: p.runner.gender),
}


def sort_asked(text: str | None, default: str) -> tuple[str, bool]:
    """(field, descending). An unknown sort is ignored, as every mistyped parameter is (quirk 26)."""
    for candidate in (text or "", default):
        field, _, direction = candidate.split(",")[0].strip().partition(" ")
        if field.lower() in SORTS:
            return field.lower(), direction.strip().upper() == "DESC"
    return "registration_id", False


def keyset(ids: Sequence[int], after: int | None, before: int | None) -> Sequence[int]:
    """The ids strictly greater than `after` and strictly smaller than `before`, of an ascending list."""
    low = 0 if after is None else bisect_right(ids, after)
    high = len(ids) if before is None else bisect_left(ids, before)
    return ids[low:high] if low or high < len(ids) else ids


def page_of(roster: Roster, ids: Sequence[int], sort: tuple[str, bool], page: int, size: int) -> Sequence[int]:
    """One page of ascending ids in the order asked for. Page numbers count from 1; past the end there is nothing."""
    field, descending = sort
    first = (page - 1) * size
    if field == "registration_id":
        if not descending:
            return ids[first : first + size]
        stop = len(ids) - first
        return list(reversed(ids[max(0, stop - size) : max(0, stop)]))
    key = SORTS[field]
    ordered = sorted(ids, key=lambda id_: (key(roster[id_]), id_), reverse=descending)
    return ordered[first : first + size]
