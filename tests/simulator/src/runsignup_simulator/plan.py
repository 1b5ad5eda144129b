"""How large a world to make, and with which shares: the sizes of real life as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass, replace

# Upcoming events per partner in one June export: thirteen partners, 937 events, the largest 169.
PARTNER_WEIGHTS = (169, 150, 130, 110, 95, 80, 65, 50, 36, 25, 15, 8, 4)


@dataclass(frozen=True, slots=True)
class WorldPlan:
    """The full world by default; every number may be changed for a benchmark or a unit test."""

    seed: int = 88
    partners: int = 13
    events: int = 1_329
    future_events: int = 231
    people: int = 150_000
    """Active registrations of all events, past ones included."""
    future_people: int = 56_623
    """Active registrations of the future events, the largest event included."""
    largest_event: int = 25_000
    events_per_race: float = 3.3
    most_events_per_race: int = 23
    weekend_share: float = 0.85
    virtual_share: float = 0.13
    multi_day_share: float = 43 / 937
    removed_share: float = 0.03
    """Removed registrations per active one."""
    hostile_share: float = 0.03
    """People whose names, phones or addresses try to break a reader."""
    races_within_4_hours: int = 3
    races_within_24_hours: int = 5
    races_just_over: int = 3
    """Races of the last six days: only a client that sets `start_date` back sees them (reference 5)."""
    races_shared_by_two_partners: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.partners <= self.future_events <= self.events:
            raise ValueError("a plan needs partners <= future events <= events, and at least one partner")
        if self.largest_event > self.future_people or self.future_people > self.people:
            raise ValueError("a plan needs largest event <= future people <= people")


FULL = WorldPlan()

SMALL = WorldPlan(
    partners=3,
    events=30,
    future_events=20,
    people=600,
    future_people=480,
    largest_event=150,
    events_per_race=2.5,
    most_events_per_race=5,
    races_within_4_hours=1,
    races_within_24_hours=1,
    races_just_over=1,
)


def bench_plan(
    *, partners: int = 13, future_people: int = 150_000, largest_event: int = 25_000, seed: int = 88
) -> WorldPlan:
    """The full calendar with as many people as a benchmark asks for, all in future events but a tenth."""
    return replace(
        FULL,
        seed=seed,
        partners=partners,
        future_people=future_people,
        people=future_people + future_people // 10,
        largest_event=largest_event,
    )
