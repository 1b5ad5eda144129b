"""How many people each event has, and which registration ids: the sums of the plan, exactly."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable, Sequence

from .drafts import DraftEvent, DraftRace
from .model import Event
from .plan import WorldPlan

FIRST_REGISTRATION_ID = 7_100_001


def set_sizes(plan: WorldPlan, races: list[DraftRace], rng: random.Random) -> None:
    """Log-normal crowds; some events and whole races are empty; one event is the largest of all."""
    future = [race.editions[0] for race in races if race.editions[0].future]
    largest = _largest(races)
    empty_races = {id(edition) for edition in rng.sample(future, min(2, len(future) // 10))}
    weights = {}
    for edition in future:
        for event in edition.events:
            nobody = id(edition) in empty_races or rng.random() < 0.05
            weights[id(event)] = 0.0 if nobody or event is largest else rng.lognormvariate(0, 1.2)
    events = [event for edition in future for event in edition.events]
    _spread(plan, events, [weights[id(event)] for event in events], plan.future_people - plan.largest_event)
    largest.size = plan.largest_event
    past = [e for race in races for edition in race.editions if not edition.future for e in edition.events]
    _spread(plan, past, [rng.lognormvariate(0, 1.2) for _ in past], plan.people - plan.future_people)
    for race in races:
        for edition in race.editions:
            _fit_bundle(edition.events)


def apportion(total: int, weights: Sequence[float], cap: int) -> list[int]:
    """Whole shares of `total` in proportion to the weights, none above `cap`; a zero weight gets nothing."""
    sizes = [0] * len(weights)
    open_places = [i for i, weight in enumerate(weights) if weight > 0]
    left = total
    while left:
        if not open_places:
            raise ValueError(f"{total} people do not fit into {len(weights)} events of at most {cap}")
        whole = sum(weights[i] for i in open_places)
        given = 0
        for i in open_places:
            more = min(cap - sizes[i], int(left * weights[i] / whole))
            sizes[i] += more
            given += more
        if given == 0:
            for i in open_places[:left]:
                if sizes[i] < cap:
                    sizes[i] += 1
                    given += 1
        left -= given
        open_places = [i for i in open_places if sizes[i] < cap]
    return sizes


def number_everybody(
    plan: WorldPlan, events: Iterable[Event], active: dict[int, int], now: float, rng: random.Random
) -> tuple[dict[int, tuple[array[int], array[int]]], int]:
    """Per event its registration ids and times, from one counter that ascends with time; and the next free id."""
    listed = list(events)
    keys: list[int] = []
    for place, event in enumerate(listed):
        count = active[event.event_id]
        count += round(count * plan.removed_share)
        closes = int(min(now - 60, event.over_at or now))
        span = closes - event.opens_at
        keys.extend(((event.opens_at + int(span * rng.random() ** 0.5)) << 20) | place for _ in range(count))
    keys.sort()
    numbered = [(array("q"), array("q")) for _ in listed]
    for registration_id, key in enumerate(keys, FIRST_REGISTRATION_ID):
        ids, times = numbered[key & 0xFFFFF]
        ids.append(registration_id)
        times.append(key >> 20)
    by_event = {event.event_id: pair for event, pair in zip(listed, numbered, strict=True)}
    return by_event, FIRST_REGISTRATION_ID + len(keys)


def _largest(races: list[DraftRace]) -> DraftEvent:
    """The home of the 25,000: a plain future event, of a calm race where there is one."""
    plain = [
        (edition.urgent, race.partner, event)
        for race in races
        for edition in race.editions[:1]
        if edition.future
        for event in edition.events[:1]
        if not event.virtual and not event.bundle
    ]
    if not plain:
        raise ValueError("no plain future event can take the largest crowd; change the seed or the plan")
    return min(plain, key=lambda found: found[:2])[2]


def _spread(plan: WorldPlan, events: list[DraftEvent], weights: list[float], total: int) -> None:
    mean = total // max(1, len(events))
    cap = max(plan.largest_event // 4, 6 * mean, 10)
    for event, size in zip(events, apportion(total, weights, cap), strict=True):
        event.size = size


def _fit_bundle(events: list[DraftEvent]) -> None:
    """A bundle's people are in its two sub-events too, so it cannot be larger than half of either."""
    for event in events:
        if event.bundle:
            fits = min(events[0].size, events[1].size) // 2
            events[1].size += max(0, event.size - fits)
            event.size = min(event.size, fits)
