"""Everybody of one race, with what makes serving them cheap: sorted ids and encoded rows.

A row is encoded once per set of include flags and again only after it changed, so that a page of
2,500 people costs a bisect, a slice and a join.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Sequence

from .model import Registration

Flags = frozenset[str]


class Roster:
    """The registrations of a race, active and removed. Changes only through `put`."""

    def __init__(self, registrations: Iterable[Registration] = ()) -> None:
        self._all: dict[int, Registration] = {}
        self._active: dict[int, list[int]] = {}
        self._removed: dict[int, list[int]] = {}
        self._merged: dict[tuple[bool, tuple[int, ...]], list[int]] = {}
        self._encoded: dict[Flags, dict[int, bytes]] = {}
        self.newest = 0
        """The newest `last_modified`: answers "nothing changed" without a scan."""
        for registration in registrations:
            self._all[registration.registration_id] = registration
            self._side(registration).setdefault(registration.event_id, []).append(registration.registration_id)
            self.newest = max(self.newest, registration.last_modified)
        for ids in (*self._active.values(), *self._removed.values()):
            ids.sort()

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Registration]:
        return iter(self._all.values())

    def __getitem__(self, registration_id: int) -> Registration:
        return self._all[registration_id]

    def get(self, registration_id: int) -> Registration | None:
        return self._all.get(registration_id)

    def put(self, registration: Registration) -> None:
        """Adds the registration or replaces the one of the same id, and forgets its encoded rows."""
        registration_id = registration.registration_id
        before = self._all.get(registration_id)
        if before is None or before.active != registration.active or before.event_id != registration.event_id:
            if before is not None:
                ids = self._side(before)[before.event_id]
                del ids[bisect_left(ids, registration_id)]
            insort(self._side(registration).setdefault(registration.event_id, []), registration_id)
            self._merged.clear()
        self._all[registration_id] = registration
        for rows in self._encoded.values():
            rows.pop(registration_id, None)
        self.newest = max(self.newest, registration.last_modified)

    def ids(self, event_ids: Sequence[int], *, active: bool = True) -> list[int]:
        """The ascending ids of these events together. The list is shared: read it, do not change it."""
        side = self._active if active else self._removed
        if len(event_ids) == 1:
            return side.get(event_ids[0], [])
        key = (active, tuple(sorted(event_ids)))
        merged = self._merged.get(key)
        if merged is None:
            # Sorted runs one after another: the sort merges them in linear time.
            merged = sorted(id_ for event_id in key[1] for id_ in side.get(event_id, ()))
            self._merged[key] = merged
        return merged

    def count(self, event_id: int, *, active: bool = True) -> int:
        return len((self._active if active else self._removed).get(event_id, ()))

    def rows(self, ids: Sequence[int], flags: Flags, encode: Callable[[Registration, Flags], bytes]) -> list[bytes]:
        """The encoded rows of these ids, encoding only those not yet encoded under these flags."""
        known = self._encoded.setdefault(flags, {})
        for id_ in ids:
            if id_ not in known:
                known[id_] = encode(self._all[id_], flags)
        return [known[id_] for id_ in ids]

    def _side(self, registration: Registration) -> dict[int, list[int]]:
        return self._active if registration.active else self._removed
