"""The calendar of the busiest weekend: 285 races with 937 events of 13 partners, some dozens of them on these days.

The peaks are those of product.md: at the busiest minute 49 events of 12 races are within their minute window, of one
partner 23 events of 2 races.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import combinations, count
from random import Random

from runsignup_simulator import World, WorldPlan, generate
from runsignup_simulator.drafts import draft_races
from runsignup_simulator.model import Event, Race
from runsignup_simulator.spelling import EASTERN, zone

#: An event is asked for by the minute from so long before its start until so long after it.
BEFORE, AFTER = timedelta(hours=4), timedelta(hours=1)
#: When races start, in their own zones; waves follow a quarter of an hour apart.
STARTS = ((6, 30), (7, 0), (7, 0), (7, 30), (8, 0), (8, 0), (8, 30), (9, 0), (10, 0), (17, 30))
WAVE_SECONDS, LAST_WAVE_SECONDS = 900, 7_200


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much there is: by default what product.md tells of the busiest weekend."""

    races: int = 285
    events: int = 937
    people: int = 40_000
    partners: int = 13
    on_saturday: int = 22
    on_sunday: int = 14
    peak: tuple[int, int] | None = (12, 49)  # races and events in their window at the busiest minute
    peak_of_one: int = 23  # events of the busiest partner then, on two races
    together: int = 0  # instead: so many races of one key, all on Saturday morning


@dataclass(frozen=True, slots=True)
class Calendar:
    """A world, and which of its races start on the weekend."""

    world: World
    race_ids: tuple[int, ...]


def busiest_weekend(seed: int, now: datetime, sizes: Sizes) -> Calendar:
    """The world as it stands on that Friday, with some of its races moved to Saturday and Sunday."""
    rng = Random(f"{seed}-weekend")
    saturday = now.astimezone(EASTERN).date() + timedelta(days=1)
    for world in _worlds(seed, now, sizes):
        moved: dict[int, Race] = {}
        if sizes.together:
            _gather(world, rng, moved, saturday, sizes.together)
        elif sizes.peak is not None and not _busiest_minute(world, rng, moved, saturday, sizes):
            continue
        _fill(world, rng, moved, saturday, sizes, sizes.on_saturday)
        _fill(world, rng, moved, saturday + timedelta(days=1), sizes, sizes.on_saturday + sizes.on_sunday)
        world.races.update(moved)
        return Calendar(world, tuple(moved))
    raise AssertionError("there is always another world")


def _worlds(seed: int, now: datetime, sizes: Sizes) -> Iterator[World]:
    """Those of this seed that have as many races as wanted: the generator leaves that to chance."""
    plan = WorldPlan(
        partners=sizes.partners,
        events=sizes.events,
        future_events=sizes.events,
        people=sizes.people,
        future_people=sizes.people,
        largest_event=sizes.people // 8,
        events_per_race=2.6,
        races_within_4_hours=0,
        races_within_24_hours=0,
        races_just_over=0,
    )
    for each in count(seed * 1000):
        plan = replace(plan, seed=each)
        drafts = draft_races(plan, now.timestamp(), Random(f"{each}-calendar"))
        if len(drafts) == sizes.races:
            yield generate(plan, now.timestamp())


def _busiest_minute(world: World, rng: Random, moved: dict[int, Race], day: date, sizes: Sizes) -> bool:
    """Races whose events are all in their window at nine o'clock Eastern: as many, with as many events, as ever.

    False when no partner of this world has two large enough.
    """
    assert sizes.peak is not None
    nine = datetime(day.year, day.month, day.day, 9, tzinfo=EASTERN).timestamp()
    fitting: dict[int, Race] = {}
    for race in world.races.values():
        if all(not event.virtual for event in race.events):
            there = [each for each in _on(race, day, rng) if all(_in_window(event, nine) for event in each.events)]
            if there:
                fitting[race.race_id] = there[0]
    races, events = sizes.peak
    pair = min(
        (
            sorted(pair, key=_events)
            for partner in world.partners.values()
            for pair in combinations([fitting[each] for each in partner.race_ids if each in fitting], 2)
            if sum(map(_events, pair)) >= sizes.peak_of_one
        ),
        key=lambda pair: sum(map(_events, pair)),
        default=None,
    )
    if pair is None:
        return False
    pair[1] = _spread(pair[1], sum(map(_events, pair)) - sizes.peak_of_one)
    moved.update((race.race_id, race) for race in pair)
    others = [race for race in fitting.values() if _partner(world, race) != _partner(world, pair[0])]
    while True:
        chosen = rng.sample(others, races - len(pair))
        if sum(map(_events, chosen)) == events - sizes.peak_of_one:
            break
    moved.update((race.race_id, race) for race in chosen)
    return True


def _events(race: Race) -> int:
    return len(race.events)


def _spread(race: Race, later: int) -> Race:
    """The race with its last events a day later."""
    moved = [event if place < _events(race) - later else _later(event) for place, event in enumerate(race.events)]
    return replace(race, events=tuple(moved))


def _later(event: Event, seconds: int = 86_400) -> Event:
    assert event.starts_at is not None
    ends_at = None if event.ends_at is None else event.ends_at + seconds
    return replace(event, starts_at=event.starts_at + seconds, ends_at=ends_at)


def _gather(world: World, rng: Random, moved: dict[int, Race], day: date, races: int) -> None:
    """So many plain races on one morning, on one key."""
    nine = datetime(day.year, day.month, day.day, 9, tzinfo=EASTERN).timestamp()
    plain = [race for race in world.races.values() if not any(event.virtual for event in race.events)]
    rng.shuffle(plain)
    for race in plain:
        there = [each for each in _on(race, day, rng) if _in_window(each.events[0], nine)]
        if there and len(race.events) <= 5 and len(moved) < races:
            moved[race.race_id] = there[0]
    key, *others = world.partners
    world.partners[key] = replace(world.partners[key], race_ids=tuple(sorted(moved)))
    for each in others:
        theirs = tuple(id_ for id_ in world.partners[each].race_ids if id_ not in moved)
        world.partners[each] = replace(world.partners[each], race_ids=theirs)


def _fill(world: World, rng: Random, moved: dict[int, Race], day: date, sizes: Sizes, until: int) -> None:
    """More races for a day, as long as no minute gets busier than the busiest."""
    candidates = list(world.races.values())
    rng.shuffle(candidates)
    for race in candidates:
        if len(moved) >= until:
            return
        if race.race_id in moved or all(event.virtual for event in race.events):
            continue
        for there in _on(race, day, rng):
            if sizes.peak is None or _fits(world, [*moved.values(), there], sizes):
                moved[race.race_id] = there
                break


def _fits(world: World, races: Sequence[Race], sizes: Sizes) -> bool:
    assert sizes.peak is not None
    for at in {(event.starts_at or 0) - BEFORE.total_seconds() for race in races for event in timed(race)}:
        within = {race.race_id: sum(_in_window(event, at) for event in timed(race)) for race in races}
        of_partner: Counter[str] = Counter()
        for race in races:
            of_partner[_partner(world, race)] += within[race.race_id]
        if sum(map(bool, within.values())) > sizes.peak[0] or sum(within.values()) > sizes.peak[1]:
            return False
        if max(of_partner.values()) > sizes.peak_of_one:
            return False
    return True


def timed(race: Race) -> list[Event]:
    """The events of a race that have a gun: the others go on for weeks, from a midnight on."""
    return [event for event in race.events if not event.virtual and event.starts_at is not None]


def _in_window(event: Event, at: float) -> bool:
    assert event.starts_at is not None
    return event.starts_at - BEFORE.total_seconds() <= at <= event.starts_at + AFTER.total_seconds()


def _partner(world: World, race: Race) -> str:
    return next(key for key, partner in world.partners.items() if race.race_id in partner.race_ids)


def _on(race: Race, day: date, rng: Random) -> Iterator[Race]:
    """The race on that day, at one hour after the other."""
    for hour, minute in rng.sample(STARTS, len(STARTS)):
        gun = int(datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone(race.timezone)).timestamp())
        midnight = int(datetime(day.year, day.month, day.day, tzinfo=zone(race.timezone)).timestamp())
        events = []
        for place, event in enumerate(race.events):
            assert event.starts_at is not None
            at = midnight if event.virtual else gun + min(place * WAVE_SECONDS, LAST_WAVE_SECONDS)
            events.append(_later(event, at - event.starts_at))
        yield replace(race, events=tuple(events))


def at(seconds: float) -> datetime:
    """A provider's Unix seconds as an instant."""
    return datetime.fromtimestamp(seconds, UTC)
