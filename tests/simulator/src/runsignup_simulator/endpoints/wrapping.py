"""The envelope of participants in every form seen in the field (reference 7.2)."""

from __future__ import annotations

from collections.abc import Sequence

WRAPPER_FORMS = ("single", "last", "own", "object")
EMPTY_FORMS = ("event_only", "empty_list", "empty_array")


def wrap(
    form: str, empty_form: str, event_ids: Sequence[int], rows: Sequence[bytes], events_of: Sequence[int]
) -> bytes:
    """Joins encoded rows into one body; `events_of` names each row's event. `event.participants` is always empty."""
    if not rows:
        return _empty(form, empty_form, event_ids)
    if form == "object":
        return _element(event_ids[-1], rows)
    if form == "last":
        # Everybody in the last element, whatever their event; the others lack the key.
        return (
            b"[" + b",".join([*(_element(id_, None) for id_ in event_ids[:-1]), _element(event_ids[-1], rows)]) + b"]"
        )
    if form == "own":
        own: dict[int, list[bytes]] = {event_id: [] for event_id in event_ids}
        for row, event_id in zip(rows, events_of, strict=True):
            own.setdefault(event_id, []).append(row)
        return b"[" + b",".join(_element(id_, people or None) for id_, people in own.items()) + b"]"
    return b"[" + _element(event_ids[0], rows) + b"]"


def _empty(form: str, empty_form: str, event_ids: Sequence[int]) -> bytes:
    if form == "object":
        return _element(event_ids[0], [])
    if empty_form == "empty_array":
        return b"[]"
    shown = event_ids if form in ("last", "own") else event_ids[:1]
    people: list[bytes] | None = [] if empty_form == "empty_list" else None
    return b"[" + b",".join(_element(event_id, people) for event_id in shown) + b"]"


def _element(event_id: int, rows: Sequence[bytes] | None) -> bytes:
    event = b'{"event":{"event_id":%d,"participants":[]}' % event_id
    return event + b"}" if rows is None else event + b',"participants":[' + b",".join(rows) + b"]}"


def wrap_removed(form: str, empty_form: str, event_ids: Sequence[int], rows: dict[int, list[bytes]]) -> bytes:
    """Removed people are under `event`, one element per event (reference 8, quirk 4)."""
    if not any(rows.values()) and empty_form == "empty_array" and form != "object":
        return b"[]"
    elements = [
        b'{"event":{"event_id":%d,"participants":[' % event_id + b",".join(rows.get(event_id, ())) + b"]}}"
        for event_id in event_ids
        if rows.get(event_id) or form != "own" or not any(rows.values())
    ]
    if form == "object" and len(event_ids) == 1:
        return elements[0]
    return b"[" + b",".join(elements) + b"]"
