"""What happens at the provider on a weekend: bibs handed out, walk-ups, transfers, refunds, starts that move.

A plain list of moments and changes from a seed; who it happens to is named where it has to be known beforehand.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from random import Random

from runsignup_simulator import World
from runsignup_simulator.model import Race, Registration
from runsignup_simulator.mutations import Asked
from runsignup_simulator.targets import copies_of, has_bib
from tests.weekend.calendar import Calendar, at, timed

#: A third of the bibs is handed out in the last three hours before the first start, the rest since Friday evening.
LATE, LATE_SHARE = timedelta(hours=3), 1 / 3
LAST_MINUTES = timedelta(minutes=5)  # nobody gets a bib later than this before the start
WALK_UP_SHARE = 0.04  # of a race's people, in the last two hours; each gets a bib some minutes later


@dataclass(frozen=True, slots=True)
class Happening:
    """One change at the provider."""

    at: datetime
    asked: Asked


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much happens, over all races of the weekend."""

    bibs: int = 150  # at most, a race
    transfers: int = 30
    refunds: int = 60
    moved_starts: int = 10


def prepare(calendar: Calendar, begins: datetime, seed: int, amounts: Amounts) -> list[Happening]:
    """Take the bibs that will be handed out from those who will get them, and say when what happens, in order."""
    rng = Random(f"{seed}-happenings")
    races = [calendar.world.races[race_id] for race_id in calendar.race_ids]
    happenings: list[Happening] = []
    for race in races:
        happenings += _bibs(calendar.world, race, begins, rng, amounts.bibs)
        happenings += _walk_ups(calendar.world, race, rng)
    several = [race for race in races if len(timed(race)) > 1]
    for kind, number, among in (("transferred", amounts.transfers, several), ("refunded", amounts.refunds, races)):
        for _ in range(number if among else 0):
            race = rng.choice(among)
            gun = first_gun(race)
            happenings.append(
                Happening(_between(rng, max(begins, gun - timedelta(hours=12)), gun), Asked(kind, race_id=race.race_id))
            )
    for race in rng.sample(races, min(len(races), amounts.moved_starts)):
        # Mostly on the day itself, when something is late; by up to two hours.
        told_at = _between(
            rng, max(begins, first_gun(race) - timedelta(hours=14)), first_gun(race) - timedelta(hours=2)
        )
        minutes = rng.choice((-60, -30, 30, 60, 90, 120)) if first_gun(race) - told_at > timedelta(hours=6) else 60
        happenings.append(Happening(told_at, Asked("start_moved", race_id=race.race_id, minutes=minutes)))
    return sorted(happenings, key=lambda each: each.at)


def first_gun(race: Race) -> datetime:
    """When the first of a race's timed events starts."""
    return at(min(event.starts_at or 0 for event in timed(race)))


def _bibs(world: World, race: Race, begins: datetime, rng: Random, most: int) -> Iterable[Happening]:
    """Bibs given out before the start; a few are changed again, or swapped with another's."""
    runs_in = {event.event_id for event in timed(race)}
    wearers = [
        p for p in _active(world, race) if p.event_id in runs_in and has_bib(p) and p.via_registration_id is None
    ]
    gun = first_gun(race)
    for person in rng.sample(wearers, min(len(wearers), most)):
        for each in (person, *copies_of(world, race, person)):
            world.put(race.race_id, each._replace(bib=None))
        late = rng.random() < LATE_SHARE
        given_at = (
            _between(rng, gun - LATE, gun - LAST_MINUTES) if late else _between(rng, begins, max(begins, gun - LATE))
        )
        who = partial(Asked, race_id=race.race_id, registration_id=person.registration_id)
        yield Happening(given_at, who("bib_given", bib=person.bib))
        if rng.random() < 0.03:
            yield Happening(_between(rng, given_at, gun), who("bib_changed"))
        elif rng.random() < 0.01:
            yield Happening(_between(rng, given_at, gun), Asked("bib_swapped", race_id=race.race_id))


def _walk_ups(world: World, race: Race, rng: Random) -> Iterable[Happening]:
    gun = first_gun(race)
    for _ in range(min(20, round(WALK_UP_SHARE * len(_active(world, race))))):
        came_at = _between(rng, gun - timedelta(hours=2), gun - timedelta(minutes=10))
        yield Happening(came_at, Asked("registered", race_id=race.race_id, event_id=rng.choice(timed(race)).event_id))
        yield Happening(came_at + timedelta(minutes=rng.uniform(2, 6)), Asked("bib_given", race_id=race.race_id))


def _active(world: World, race: Race) -> list[Registration]:
    return sorted(person for person in world.roster(race.race_id) if person.active)


def _between(rng: Random, first: datetime, last: datetime) -> datetime:
    return first + (last - first) * rng.random()
