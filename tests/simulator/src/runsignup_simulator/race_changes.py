"""What can happen to a race, its events, and the keys that see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from . import person_changes
from .change import Change
from .model import Event, Race
from .targets import Impossible, open_events
from .world import World

if TYPE_CHECKING:
    from .mutations import Asked

RaceChange = Callable[[World, Race, "Asked", float], list[Change]]
YEAR = 364 * 86_400
"""52 weeks: the same day of the week."""


def start_moved(world: World, race: Race, asked: Asked, now: float) -> list[Change]:
    """One event's start, or those of all open events by the same minutes. Ends move along."""
    minutes = asked.minutes if asked.minutes is not None else world.random.choice((-120, -60, -15, 15, 30, 60, 120))
    moved = {event.event_id for event in open_events(world, race, now)}
    if asked.event_id is not None:
        moved = {asked.event_id}
    if not moved & {event.event_id for event in race.events}:
        raise Impossible(f"race {race.race_id} has no such open event")
    done, events = [], []
    for event in race.events:
        after = event
        if event.event_id in moved:
            after = _moved(event, asked, minutes * 60)
            done.append(Change("start_moved", race.race_id, event.event_id, None, event.starts_at, after.starts_at))
        events.append(after)
    world.change_race(replace(race, events=tuple(events)), now)
    return done


def race_renewed(world: World, race: Race, asked: Asked, now: float) -> list[Change]:
    """Next year's edition: the newest one's events with new ids, a year later, and nobody in them yet."""
    newest = max(event.race_event_days_id for event in race.events)
    days_id = world.new_days_id()
    old = [event for event in race.events if event.race_event_days_id == newest]
    ids = {event.event_id: world.new_event_id() for event in old}
    shift = YEAR
    while any(event.starts_at is not None and event.starts_at + shift < now for event in old):
        shift += YEAR
    new = [
        replace(
            event,
            event_id=ids[event.event_id],
            race_event_days_id=days_id,
            starts_at=None if event.starts_at is None else event.starts_at + shift,
            ends_at=None if event.ends_at is None else event.ends_at + shift,
            opens_at=int(now),
            sub_event_ids=tuple(ids[id_] for id_ in event.sub_event_ids if id_ in ids),
        )
        for event in old
    ]
    renewed = world.change_race(replace(race, events=(*race.events, *new)), now)
    done = [Change("race_renewed", race.race_id, event.event_id, None, newest, days_id) for event in new]
    for place in range(asked.people):
        wanted = replace(asked, event_id=new[place % len(new)].event_id)
        done.extend(person_changes.registered(world, renewed, wanted, now))
    return done


def event_added(world: World, race: Race, asked: Asked, now: float) -> list[Change]:
    """A late event beside the open ones, half an hour after the first."""
    events = open_events(world, race, now)
    if not events:
        raise Impossible(f"race {race.race_id} has no open event")
    model = events[0]
    added = replace(
        model,
        event_id=world.new_event_id(),
        name=f"{model.name} (second wave)",
        starts_at=None if model.starts_at is None else model.starts_at + 1_800,
        ends_at=None,
        virtual=False,
        sub_event_ids=(),
        opens_at=int(now),
    )
    world.change_race(replace(race, events=(*race.events, added)), now)
    return [Change("event_added", race.race_id, added.event_id, None, None, added.starts_at)]


def race_left_list(world: World, race: Race, asked: Asked, now: float) -> list[Change]:
    """Get Races no longer shows it; its other methods still answer."""
    world.change_race(replace(race, listed=False), now)
    return [Change("race_left_list", race.race_id, before=race.listed, after=False)]


def race_returned(world: World, race: Race, asked: Asked, now: float) -> list[Change]:
    world.change_race(replace(race, listed=True), now)
    return [Change("race_returned", race.race_id, before=race.listed, after=True)]


def permission_revoked(world: World, race: Race, asked: Asked, now: float) -> list[Change]:
    """One key, or all of the race's keys, may no longer read it: error 7, and gone from their list."""
    keys = _keys(world, race, asked)
    world.denied.update((key, race.race_id) for key in keys)
    return [Change("permission_revoked", race.race_id, key=key) for key in keys]


def permission_restored(world: World, race: Race, asked: Asked, now: float) -> list[Change]:
    keys = _keys(world, race, asked)
    world.denied.difference_update((key, race.race_id) for key in keys)
    return [Change("permission_restored", race.race_id, key=key) for key in keys]


def key_revoked(world: World, key: str) -> Change:
    """The key no longer authenticates: error 6 everywhere."""
    world.partners[key] = replace(world.partners[key], revoked=True)
    return Change("key_revoked", key=key)


def key_restored(world: World, key: str) -> Change:
    world.partners[key] = replace(world.partners[key], revoked=False)
    return Change("key_restored", key=key)


def _keys(world: World, race: Race, asked: Asked) -> list[str]:
    if asked.key is not None:
        return [asked.key]
    return [key for key, partner in world.partners.items() if race.race_id in partner.race_ids]


def _moved(event: Event, asked: Asked, seconds: int) -> Event:
    if asked.without_start:
        return replace(event, starts_at=None, ends_at=None)
    if asked.starts_at is not None:
        seconds = int(asked.starts_at) - event.starts_at if event.starts_at is not None else 0
        return replace(
            event,
            starts_at=int(asked.starts_at),
            ends_at=None if event.ends_at is None else event.ends_at + seconds,
        )
    return replace(
        event,
        starts_at=None if event.starts_at is None else event.starts_at + seconds,
        ends_at=None if event.ends_at is None else event.ends_at + seconds,
    )
