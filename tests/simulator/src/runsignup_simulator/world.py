"""The state of the pretend provider: partners, races, and their people, made when first looked at."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace

from .model import Event, Partner, Race, Registration
from .roster import Roster

RosterMaker = Callable[[Race], Roster]

FUTURE_GRACE_SECONDS = 3_600
"""An event counts as future until an hour past its end: polling reaches past the gun."""


class World:
    """Partners and races by id. Race by race, people are invented on first use, the same for the same seed."""

    def __init__(
        self,
        partners: Iterable[Partner],
        races: Iterable[Race],
        make_roster: RosterMaker,
        *,
        counts: dict[int, int],
        next_registration_id: int,
        seed: int,
    ) -> None:
        self.partners: dict[str, Partner] = {partner.key: partner for partner in partners}
        self.races: dict[int, Race] = {race.race_id: race for race in races}
        self.random = random.Random(f"{seed}-mutations")
        self.seed = seed
        self.denied: set[tuple[str, int]] = set()
        """(key, race) pairs whose permission was withdrawn."""
        self.next_bibs: dict[int, int] = {}
        """Per event the next number to give out."""
        self._planned = counts
        self._make_roster = make_roster
        self._rosters: dict[int, Roster] = {}
        self._next_registration_id = next_registration_id
        # New editions draw from the counters that gave the first ones their ids.
        self._next_event_id = 1 + max((e.event_id for r in self.races.values() for e in r.events), default=900_000)
        self._next_days_id = 1 + max(
            (e.race_event_days_id for r in self.races.values() for e in r.events), default=80_000
        )

    def roster(self, race_id: int) -> Roster:
        made = self._rosters.get(race_id)
        if made is None:
            made = self._rosters[race_id] = self._make_roster(self.races[race_id])
        return made

    def active_count(self, race: Race, event: Event) -> int:
        """How many people are active in the event, without inventing them for the question's sake."""
        made = self._rosters.get(race.race_id)
        return self._planned.get(event.event_id, 0) if made is None else made.count(event.event_id)

    def new_registration_id(self) -> int:
        """Ids come from one counter for the whole provider, so they ascend with time."""
        self._next_registration_id += 1
        return self._next_registration_id - 1

    def new_event_id(self) -> int:
        self._next_event_id += 1
        return self._next_event_id - 1

    def new_days_id(self) -> int:
        self._next_days_id += 1
        return self._next_days_id - 1

    def put(self, race_id: int, registration: Registration) -> Registration:
        self.roster(race_id).put(registration)
        return registration

    def change_race(self, race: Race, now: float) -> Race:
        """Stores the changed race; its definition's `last_modified` moves."""
        changed = replace(race, last_modified=int(now))
        self.races[race.race_id] = changed
        return changed

    def allowed(self, key: str, race_id: int) -> bool:
        partner = self.partners.get(key)
        return partner is not None and race_id in partner.race_ids and (key, race_id) not in self.denied


def is_future(event: Event, now: float) -> bool:
    """Whether a sync still has to care: its end, or start, is later than an hour ago."""
    return event.over_at is not None and event.over_at > now - FUTURE_GRACE_SECONDS


def future_events(race: Race, now: float) -> list[Event]:
    return [event for event in race.events if is_future(event, now)]


def current_events(race: Race, now: float) -> list[Event]:
    """What Get Races shows: the newest edition, and whatever of older ones is still to come (reference 5)."""
    newest = max((event.race_event_days_id for event in race.events), default=0)
    return [event for event in race.events if event.race_event_days_id == newest or is_future(event, now)]
