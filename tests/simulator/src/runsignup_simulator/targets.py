"""Finding whom something can happen to: somebody of a race that a client can still see."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

from .model import Event, Race, Registration
from .world import World, current_events, future_events


class Impossible(ValueError):
    """What was asked for cannot happen: there is nobody, or nothing, it could happen to."""


Fits = Callable[[Registration], bool]
TRIES = 40


def has_bib(person: Registration) -> bool:
    return person.bib is not None and str(person.bib).strip() != ""


def open_events(world: World, race: Race, now: float) -> list[Event]:
    """Events a sync polls: future, shown by Get Races, and not closed to every key."""
    linked = [key for key, partner in world.partners.items() if race.race_id in partner.race_ids]
    if not race.listed or all((key, race.race_id) in world.denied for key in linked):
        return []
    shown = {event.event_id for event in current_events(race, now)}
    return [event for event in future_events(race, now) if event.event_id in shown]


def pick_race(world: World, now: float, race_ids: Collection[int] | None, fewest_people: int = 1) -> Race:
    """A race with open events and enough people; a large race is likelier, but not by its whole size."""
    races, weights = [], []
    for race in world.races.values():
        if race_ids is not None and race.race_id not in race_ids:
            continue
        events = open_events(world, race, now)
        people = sum(world.active_count(race, event) for event in events)
        if events and people >= fewest_people:
            races.append(race)
            weights.append(1 + math.sqrt(people))
    if not races:
        raise Impossible("no race with open events and enough people")
    return world.random.choices(races, weights)[0]


def pick_event(world: World, race: Race, now: float, event_id: int | None) -> Event:
    if event_id is not None:
        for event in race.events:
            if event.event_id == event_id:
                return event
        raise Impossible(f"race {race.race_id} has no event {event_id}")
    events = open_events(world, race, now)
    if not events:
        raise Impossible(f"race {race.race_id} has no open event")
    return world.random.choice(events)


def pick_person(
    world: World, race: Race, event_ids: Sequence[int], fits: Fits = lambda _: True, *, active: bool = True
) -> Registration:
    """Somebody of these events who fits: a few lucky draws, then the first in a walk from a random place."""
    roster = world.roster(race.race_id)
    ids = roster.ids(event_ids, active=active)
    for _ in range(TRIES if ids else 0):
        person = roster[world.random.choice(ids)]
        if fits(person):
            return person
    start = world.random.randrange(len(ids)) if ids else 0
    for id_ in (*ids[start:], *ids[:start]):
        if fits(roster[id_]):
            return roster[id_]
    raise Impossible(f"nobody in race {race.race_id} to whom this can happen")


def copies_of(world: World, race: Race, person: Registration) -> list[Registration]:
    """The sub-event registrations that a bundle registration made."""
    event = next((event for event in race.events if event.event_id == person.event_id), None)
    if event is None or not event.sub_event_ids:
        return []
    roster = world.roster(race.race_id)
    ids = roster.ids(event.sub_event_ids, active=person.active)
    return [roster[id_] for id_ in ids if roster[id_].via_registration_id == person.registration_id]
