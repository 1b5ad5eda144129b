"""Invents a race's whole roster from the seed: returning people, bundles, removals, bibs."""

from __future__ import annotations

import random
from array import array

from .model import Event, Race, Registration, Runner
from .people import NO_PAYMENT, invent_registration, invent_runner, price_list
from .plan import WorldPlan
from .roster import Roster
from .starts import DAY

RETURNING_SHARE = 0.15
DUPLICATE_BIB_SHARE = 0.002
REASONS = ("removed", "transferred", "deferred", "cleared")
REASON_WEIGHTS = (55, 25, 12, 8)


class RosterInventor:
    """Holds the numbers made by `generate`; a race's people depend on the seed and the race alone."""

    def __init__(
        self,
        plan: WorldPlan,
        now: float,
        numbered: dict[int, tuple[array[int], array[int]]],
        active: dict[int, int],
    ) -> None:
        self._plan, self._now, self._numbered, self._active = plan, now, numbered, active

    def roster(self, race: Race) -> Roster:
        rng = random.Random(f"{self._plan.seed}-race-{race.race_id}")
        known: list[Runner] = []
        everybody: dict[int, list[Registration]] = {}
        editions: dict[int, list[Event]] = {}
        for event in race.events:
            editions.setdefault(event.race_event_days_id, []).append(event)
        for events in editions.values():
            copies: dict[int, list[Registration]] = {}
            # Bundles first: their people appear again in the sub-events.
            for event in sorted(events, key=lambda event: not event.sub_event_ids):
                people = self._event(rng, race, event, known, copies.get(event.event_id, []))
                everybody[event.event_id] = people
                for sub_event_id in event.sub_event_ids:
                    copies.setdefault(sub_event_id, []).extend(p for p in people if p.active)
            _link_transfers(rng, events, everybody)
        return Roster(person for people in everybody.values() for person in people)

    def _event(
        self, rng: random.Random, race: Race, event: Event, known: list[Runner], copies: list[Registration]
    ) -> list[Registration]:
        ids, times = self._numbered.get(event.event_id, (array("q"), array("q")))
        size = len(ids)
        removed = set(rng.sample(range(size), size - self._active.get(event.event_id, 0)))
        soon = event.starts_at is not None and event.starts_at < self._now + 14 * DAY
        bib_share = 0.95 if soon else 0.25
        prices = price_list(event)
        waiting = list(reversed(copies))
        newcomers = len(known)
        people: list[Registration] = []
        for place in range(size):
            registration_id = ids[place]
            via = waiting.pop() if waiting and place not in removed else None
            if via is not None:
                runner = via.runner
            elif newcomers and rng.random() < RETURNING_SHARE:
                runner = known[int(rng.random() * newcomers)]
            else:
                runner = invent_runner(rng, registration_id - 6_500_000, race, self._plan.hostile_share)
                known.append(runner)
            bib = event.first_bib + place if rng.random() < bib_share else None
            if bib is not None and place and rng.random() < DUPLICATE_BIB_SHARE:
                bib -= 1
            person = invent_registration(
                rng,
                race,
                event,
                registration_id,
                registered_at=(times[place] - rng.randrange(600)) // 60 * 60,
                runner=runner,
                now=self._now,
                bib=bib,
                payments=prices,
            )
            if via is not None:
                person = person._replace(bib=via.bib, via_registration_id=via.registration_id, payment=NO_PAYMENT)
            if place in removed:
                person = person._replace(removed_reason=rng.choices(REASONS, REASON_WEIGHTS)[0])
            people.append(person)
        return people


def _link_transfers(rng: random.Random, events: list[Event], everybody: dict[int, list[Registration]]) -> None:
    """A transferred registration names its successor: the same person, a later id, another event of the edition."""
    for event in events:
        people = everybody[event.event_id]
        # Nobody is transferred into a bundle: its copies would have to follow.
        plain = [e for e in events if e is not event and not e.sub_event_ids]
        others = [p for e in plain for p in everybody[e.event_id][-50:] if p.active]
        for place, person in enumerate(people):
            if person.removed_reason != "transferred":
                continue
            later = [o for o in others if o.registration_id > person.registration_id and o.via_registration_id is None]
            if not later:
                people[place] = person._replace(removed_reason="removed")
                continue
            chosen = rng.choice(later)
            others.remove(chosen)
            people[place] = person._replace(new_registration_id=chosen.registration_id)
            home = everybody[chosen.event_id]
            at = next(i for i, p in enumerate(home) if p.registration_id == chosen.registration_id)
            home[at] = home[at]._replace(runner=person.runner)
