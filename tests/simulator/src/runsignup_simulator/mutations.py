"""What happens at the provider while nobody looks: one request for a change, carried out and reported.

`last_modified` always moves with the world's clock; two changes in one second share it, as in reality.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from . import person_changes, race_changes
from .change import Change
from .model import Race
from .targets import Impossible, pick_race
from .world import World

# kind: (function, how many active people the race needs)
PERSON_KINDS: dict[str, tuple[person_changes.PersonChange, int]] = {
    "registered": (person_changes.registered, 0),
    "edited": (person_changes.edited, 1),
    "bib_given": (person_changes.bib_given, 1),
    "bib_changed": (person_changes.bib_changed, 1),
    "bib_swapped": (person_changes.bib_swapped, 2),
    "bib_cleared": (person_changes.bib_cleared, 1),
    "bib_given_twice": (person_changes.bib_given_twice, 2),
    "checked_in": (person_changes.checked_in, 1),
    "refunded": (person_changes.refunded, 1),
    "deferred": (person_changes.deferred, 1),
    "cleared": (person_changes.cleared, 0),
    "transferred": (person_changes.transferred, 1),
    "restored": (person_changes.restored, 0),
    "removed_edited": (person_changes.removed_edited, 0),
}
RACE_KINDS: dict[str, race_changes.RaceChange] = {
    "start_moved": race_changes.start_moved,
    "race_renewed": race_changes.race_renewed,
    "event_added": race_changes.event_added,
    "race_left_list": race_changes.race_left_list,
    "race_returned": race_changes.race_returned,
    "permission_revoked": race_changes.permission_revoked,
    "permission_restored": race_changes.permission_restored,
}
KEY_KINDS: dict[str, Callable[[World, str], Change]] = {
    "key_revoked": race_changes.key_revoked,
    "key_restored": race_changes.key_restored,
}
KINDS = (*PERSON_KINDS, *RACE_KINDS, *KEY_KINDS)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for a change. What is left open is chosen at random, the same for the same seed and history."""

    kind: str
    race_id: int | None = None
    event_id: int | None = None
    registration_id: int | None = None
    to_event_id: int | None = None
    """Of transferred."""
    bib: int | str | None = None
    """Of bib_given, bib_changed."""
    what: str | None = None
    """Of edited: first_name, last_name, phone, email, address, dob, gender or team."""
    minutes: int | None = None
    """Of start_moved."""
    starts_at: float | None = None
    """Of start_moved: the new instant of the event."""
    without_start: bool = False
    """Of start_moved: the event has no start any more."""
    people: int = 0
    """Of race_renewed: how many register at once in the new edition."""
    key: str | None = None
    race_ids: tuple[int, ...] | None = None
    """Choose among these races only."""


def mutate(world: World, asked: Asked, now: float) -> list[Change]:
    """Carries out one change. Raises Impossible when there is nothing it could happen to, ValueError for nonsense."""
    if asked.kind in KEY_KINDS:
        if asked.key not in world.partners:
            raise Impossible("this change needs the `key` of a partner")
        return [KEY_KINDS[asked.kind](world, asked.key)]
    if asked.kind in RACE_KINDS:
        race = _hidden(world, asked) or _race(world, asked, now, 0)
        return RACE_KINDS[asked.kind](world, race, asked, now)
    if asked.kind in PERSON_KINDS:
        change, fewest = PERSON_KINDS[asked.kind]
        return change(world, _race(world, asked, now, fewest), asked, now)
    raise ValueError(f"no such kind: {asked.kind}; there are {', '.join(KINDS)}")


def _race(world: World, asked: Asked, now: float, fewest_people: int) -> Race:
    race_id = asked.race_id
    if race_id is None and (asked.registration_id is not None or asked.event_id is not None):
        race_id = _home(world, asked)
    if race_id is None:
        return pick_race(world, now, _only(asked.race_ids), fewest_people)
    if race_id not in world.races:
        raise Impossible(f"no race {race_id}")
    return world.races[race_id]


def _hidden(world: World, asked: Asked) -> Race | None:
    """What comes back is one that is away: the first of these, unless one is named."""
    if asked.race_id is not None or asked.event_id is not None:
        return None
    denied = {race_id for key, race_id in world.denied if asked.key in (None, key)}
    for race in world.races.values():
        if asked.kind == "race_returned" and not race.listed:
            return race
        if asked.kind == "permission_restored" and race.race_id in denied:
            return race
    return None


def _home(world: World, asked: Asked) -> int:
    """The race of an event or of a registration, looked up when only that was given."""
    for race in world.races.values():
        if asked.event_id is not None:
            if any(event.event_id == asked.event_id for event in race.events):
                return race.race_id
        elif asked.registration_id is not None and world.roster(race.race_id).get(asked.registration_id):
            return race.race_id
    raise Impossible("no such event or registration")


def _only(race_ids: tuple[int, ...] | None) -> Collection[int] | None:
    return None if race_ids is None else frozenset(race_ids)
