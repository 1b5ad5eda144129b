"""`generate(plan, now)`: a whole world from a seed. People themselves are invented race by race, on first use."""

from __future__ import annotations

import random

from . import names
from .crowds import number_everybody, set_sizes
from .drafts import DraftEdition, DraftRace, draft_races
from .invention import RosterInventor
from .model import Event, Partner, Race
from .plan import FULL, WorldPlan
from .starts import DAY
from .world import World

FIRST_RACE_ID = 81_001
FIRST_EVENT_ID = 890_101
FIRST_DAYS_ID = 70_001
# Mostly the recorded form, an array of one element; the others of reference 7.2 often enough to be met.
WRAPPERS = ("single", "single", "own", "last", "object")
EMPTY_FORMS = ("event_only", "empty_list", "empty_array")


def generate(plan: WorldPlan = FULL, now: float = 1_800_000_000.0) -> World:
    """The world of this plan as it stands at `now`. The same seed and instant give the same world."""
    rng = random.Random(f"{plan.seed}-calendar")
    drafts = draft_races(plan, now, rng)
    set_sizes(plan, drafts, rng)
    rng.shuffle(drafts)
    races, active = _number_races(drafts, now, rng)
    events = [event for race in races for event in race.events]
    numbered, next_id = number_everybody(plan, events, active, now, rng)
    inventor = RosterInventor(plan, now, numbered, active)
    partners = _partners(plan, drafts, races, rng)
    return World(partners, races, inventor.roster, counts=active, next_registration_id=next_id, seed=plan.seed)


def _number_races(drafts: list[DraftRace], now: float, rng: random.Random) -> tuple[list[Race], dict[int, int]]:
    """Ids in the order of the calendar: a later edition has the higher event and edition ids."""
    editions = sorted(
        ((edition, place) for place, draft in enumerate(drafts) for edition in draft.editions),
        key=lambda pair: (pair[0].gun, pair[1]),
    )
    found: dict[int, list[Event]] = {}
    active: dict[int, int] = {}
    next_event_id = FIRST_EVENT_ID
    for days_id, (edition, place) in enumerate(editions, FIRST_DAYS_ID):
        events = _number_edition(edition, FIRST_RACE_ID + place, days_id, next_event_id, now)
        next_event_id += len(events)
        found.setdefault(place, []).extend(events)
        active.update((event.event_id, draft.size) for event, draft in zip(events, edition.events, strict=True))
    races = [_race(draft, FIRST_RACE_ID + place, found[place], now, rng) for place, draft in enumerate(drafts)]
    return races, active


def _number_edition(edition: DraftEdition, race_id: int, days_id: int, first_id: int, now: float) -> list[Event]:
    events, bib = [], 101
    for place, draft in enumerate(edition.events):
        opens = min(draft.starts_at - 150 * DAY, int(now) - 30 * DAY)
        events.append(
            Event(
                event_id=first_id + place,
                race_id=race_id,
                race_event_days_id=days_id,
                name=draft.name,
                starts_at=draft.starts_at,
                ends_at=draft.ends_at,
                distance=draft.distance,
                fee_cents=draft.fee_cents,
                opens_at=opens // 3_600 * 3_600,
                volunteer=draft.volunteer,
                virtual=draft.virtual,
                sub_event_ids=(first_id, first_id + 1) if draft.bundle else (),
                giveaway="Finisher shirt" if place == 0 else None,
                first_bib=bib,
            )
        )
        bib += draft.size + 200
    return events


def _race(draft: DraftRace, race_id: int, events: list[Event], now: float, rng: random.Random) -> Race:
    city, state, zipcode = rng.choice(names.CITIES)
    # A leading blank and an ampersand in names are recorded facts (reference 5).
    name = f"{' ' if rng.random() < 0.08 else ''}{rng.choice(names.RACE_FIRST)} {rng.choice(names.RACE_LAST)}"
    created = min(event.opens_at for event in events) - 30 * DAY
    urgent = any(edition.urgent for edition in draft.editions)
    return Race(
        race_id=race_id,
        name=name,
        timezone=draft.timezone,
        city=city,
        state=state,
        zipcode=zipcode,
        created_at=created,
        last_modified=int(created + rng.random() * (now - created)),
        events=tuple(events),
        wrapper=rng.choice(WRAPPERS),
        empty_form=rng.choice(EMPTY_FORMS),
        private=rng.random() < 0.04,
        money_hidden=rng.random() < 0.1,
        stale_next_date=not urgent and rng.random() < 0.05,
        old_answer=rng.random() < 0.1,
    )


def _partners(plan: WorldPlan, drafts: list[DraftRace], races: list[Race], rng: random.Random) -> list[Partner]:
    """Half of the partners have a classic pair, half a v2 key. A few races are linked to two of them."""
    owned: list[list[int]] = [[] for _ in range(plan.partners)]
    for draft, race in zip(drafts, races, strict=True):
        owned[draft.partner].append(race.race_id)
    for race, draft in list(zip(races, drafts, strict=True))[
        : plan.races_shared_by_two_partners if plan.partners > 1 else 0
    ]:
        owned[(draft.partner + 1) % plan.partners].append(race.race_id)
    return [
        Partner(
            partner_id=42 + place,
            name=names.COMPANIES[place % len(names.COMPANIES)] + ("" if place < len(names.COMPANIES) else f" {place}"),
            form="v2" if place % 2 else "v1",
            key=f"{'rsu' if place % 2 else 'simkey'}{rng.getrandbits(96):024x}",
            secret=f"simsecret{rng.getrandbits(128):032x}",
            race_ids=tuple(sorted(race_ids)),
        )
        for place, race_ids in enumerate(owned)
    ]
