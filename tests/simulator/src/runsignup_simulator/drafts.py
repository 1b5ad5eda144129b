"""The calendar before it has ids: which partner has which races, with which editions and events.

The numbers of the plan come out exactly: so many events, so many of them future.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from . import starts
from .plan import PARTNER_WEIGHTS, WorldPlan
from .spelling import zone

PROGRAMME = (
    ("10K", "10K", 4_500), ("5K", "5K", 3_000), ("Half Marathon", "13.1 Miles", 8_000), ("Kids Mile", "1 Mile", 1_000),
    ("Marathon", "26.2 Miles", 11_000), ("5K Walk", "3.1 Miles", 2_500), ("Relay", None, 16_000), ("15K", "15K", 5_500),
    ("Ultra 50M", "50 Miles", 14_000),
)  # fmt: skip
MOST_PAST_EDITIONS = 6


@dataclass(slots=True)
class DraftEvent:
    name: str
    distance: str | None
    fee_cents: int
    starts_at: int
    ends_at: int | None
    virtual: bool
    volunteer: bool = False
    bundle: bool = False
    """A super event over the first two events of its edition."""
    size: int = 0


@dataclass(slots=True)
class DraftEdition:
    gun: int
    future: bool
    events: list[DraftEvent]
    urgent: bool = False


@dataclass(slots=True)
class DraftRace:
    partner: int
    timezone: str
    editions: list[DraftEdition] = field(default_factory=list)


def draft_races(plan: WorldPlan, now: float, rng: random.Random) -> list[DraftRace]:
    """All races: first those with a future edition, then their past and the races that only have a past."""
    shares = share_out(plan.future_events, plan.partners)
    sizes = [(partner, size) for partner, share in enumerate(shares) for size in race_sizes(plan, share, rng)]
    rng.shuffle(sizes)
    # Races that start soon are of ordinary size, so that the calendar's weekends keep their share.
    sizes.sort(key=lambda pair: not 1 < pair[1] < 5)
    races = []
    for place, (partner, size) in enumerate(sizes):
        race = DraftRace(partner, starts.pick_zone(rng))
        gun, urgent = _future_gun(plan, now, rng, timezone=race.timezone, place=place, races=len(sizes))
        race.editions.append(
            _edition(plan, now, rng, timezone=race.timezone, gun=gun, size=size, future=True, urgent=urgent)
        )
        races.append(race)
    _draft_past(plan, now, rng, races, plan.events - plan.future_events)
    return races


def share_out(events: int, partners: int) -> list[int]:
    """Events per partner in the proportions of real life, at least one each, the sum exact."""
    weights = [PARTNER_WEIGHTS[i % len(PARTNER_WEIGHTS)] for i in range(partners)]
    shares = [1 + (events - partners) * weight // sum(weights) for weight in weights]
    shares[0] += events - sum(shares)
    return shares


def race_sizes(plan: WorldPlan, events: int, rng: random.Random) -> list[int]:
    """Splits a partner's events into races of one to eight, the largest partner having one of 23."""
    sizes = [plan.most_events_per_race] if events > 1.5 * plan.most_events_per_race else []
    left = events - sum(sizes)
    while left:
        size = min(left, plan.most_events_per_race, max(1, round(rng.expovariate(1 / plan.events_per_race))))
        sizes.append(size)
        left -= size
    return sizes


def _future_gun(
    plan: WorldPlan, now: float, rng: random.Random, *, timezone: str, place: int, races: int
) -> tuple[int, bool]:
    """The first races of the shuffled list start soon, so that every cadence has work; the last is a placeholder."""
    if place < plan.races_within_4_hours:
        return int(now + rng.uniform(1.5, 3.5) * 3_600) // 60 * 60, True
    if place < plan.races_within_4_hours + plan.races_within_24_hours:
        return int(now + rng.uniform(6, 22) * 3_600) // 60 * 60, True
    if place == races - 1 and races > 20:
        # Organisers park unsettled editions on a far date.
        return starts.first_start(
            rng, datetime.fromtimestamp(now, zone(timezone)).date().replace(month=1, day=1), timezone
        ) + 4 * 365 * starts.DAY, False
    day = datetime.fromtimestamp(now, zone(timezone)).date() + timedelta(days=3 + min(300, rng.expovariate(1 / 60)))
    gun = starts.first_start(rng, starts.race_day(rng, plan, day), timezone)
    while gun < now + 26 * 3_600:
        gun += 7 * starts.DAY
    return gun, False


def _draft_past(plan: WorldPlan, now: float, rng: random.Random, races: list[DraftRace], left: int) -> None:
    """Adds past editions, and races that have nothing else, until exactly `left` events are placed."""
    just_over = plan.races_just_over
    open_for_more = [race for race in races if race.editions[0].gun < now + 330 * starts.DAY]
    while left:
        if just_over == 0 and open_for_more and rng.random() < 0.6:
            race = rng.choice(open_for_more)
            first = race.editions[-1]
            size = min(left, max(1, len(first.events) + rng.choice((-1, 0, 0, 0))))
            # 52 weeks back: the same weekday.
            race.editions.append(
                _edition(plan, now, rng, timezone=race.timezone, gun=first.gun - 364 * starts.DAY, size=size)
            )
            if len(race.editions) > MOST_PAST_EDITIONS:
                open_for_more.remove(race)
        else:
            race = DraftRace(rng.randrange(plan.partners), starts.pick_zone(rng))
            size = min(left, max(1, min(8, round(rng.expovariate(1 / plan.events_per_race)))))
            back = rng.uniform(1.5, 6) if just_over else 60 + min(600, rng.expovariate(1 / 150))
            day = datetime.fromtimestamp(now - back * starts.DAY, zone(race.timezone)).date()
            gun = starts.first_start(rng, day if just_over else starts.race_day(rng, plan, day), race.timezone)
            race.editions.append(
                _edition(plan, now, rng, timezone=race.timezone, gun=gun, size=size, urgent=just_over > 0)
            )
            just_over = max(0, just_over - 1)
            races.append(race)
            open_for_more.append(race)
        left -= size


def _edition(
    plan: WorldPlan,
    now: float,
    rng: random.Random,
    *,
    timezone: str,
    gun: int,
    size: int,
    future: bool = False,
    urgent: bool = False,
) -> DraftEdition:
    """One year's events. Urgent editions are plain mornings: no virtual, no multi-day event."""
    events = []
    for place in range(size):
        name, distance, fee = PROGRAMME[place % len(PROGRAMME)]
        name = name if place < len(PROGRAMME) else f"{name} wave {place // len(PROGRAMME) + 1}"
        virtual = not urgent and rng.random() < plan.virtual_share
        # Some virtual events are already running: begun in the past, over in the future.
        day = int(now - rng.uniform(1, 10) * starts.DAY) if virtual and future and rng.random() < 0.3 else gun
        start, end = starts.event_times(rng, plan, day, place, timezone, virtual=virtual)
        if urgent:
            start, end = gun + place * 900, None
        if not future and (end or start) > now - 2 * 3_600:
            start, end = min(start, int(now) - 5 * 3_600), None
        events.append(DraftEvent(f"{name} (virtual)" if virtual else name, distance, fee, start, end, virtual))
    _bundle_and_volunteers(rng, events)
    return DraftEdition(gun, future, events, urgent)


def _bundle_and_volunteers(rng: random.Random, events: list[DraftEvent]) -> None:
    if len(events) >= 3 and rng.random() < 0.2 and not events[-1].virtual:
        events[-1].bundle = True
        events[-1].name = f"{events[0].name} + {events[1].name} Double"
    if len(events) >= 4 and rng.random() < 0.4:
        events[2].volunteer = True
        events[2].name, events[2].distance, events[2].fee_cents = "Volunteers", None, 0
