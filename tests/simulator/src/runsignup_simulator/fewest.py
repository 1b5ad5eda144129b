"""The fewest calls that a complete sync can make, to hold a client's spending against (reference 16)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from .endpoints.race_fields import DAY, span_of_current
from .model import Event, Race
from .spelling import EASTERN
from .world import World, future_events

LARGEST_PAGE, LARGEST_RACES_PAGE, DEFAULT_PAGE = 2_500, 1_000, 50
DAYS_BACK = 7
"""How far back a careful client sets `start_date`."""
RANGES_HOURS = 25
"""How long before a start the ranges of its edition's bibs are worth a call."""


def calls_until_short(rows: int, page: int) -> int:
    """Pages until one has fewer than 50 rows: what any server serves at least, so a page below it is the last."""
    calls = 1
    while min(rows, page) >= DEFAULT_PAGE:
        rows -= min(rows, page)
        calls += 1
    return calls


def full_pass_calls(people: int) -> int:
    """The pages, and the empty one that proves that there are no more."""
    return -(-people // LARGEST_PAGE) + 1


def fewest_calls(world: World, now: float) -> dict[str, Any]:
    """Per key: discovery, a full pass over every race with future events, ranges of bibs, and the removed lists."""
    out = {}
    for key, partner in world.partners.items():
        races = [world.races[race_id] for race_id in partner.race_ids if world.allowed(key, race_id)]
        listed = [race for race in races if race.listed and _ends_after(race, now - DAYS_BACK * DAY, now)]
        full = removed = people = ranges = 0
        polled = [race for race in listed if future_events(race, now)]
        for race in polled:
            events = future_events(race, now)
            count = sum(world.active_count(race, event) for event in events)
            gone = sum(world.roster(race.race_id).count(event.event_id, active=False) for event in events)
            people += count
            full += full_pass_calls(count)
            ranges += len({event.race_event_days_id for event in events if _starts_soon(event, now)})
            removed += calls_until_short(gone, 1_000)
        discovery = calls_until_short(len(listed), LARGEST_RACES_PAGE)
        out[key] = {
            "name": partner.name,
            "races": len(polled),
            "people": people,
            "discovery": discovery,
            "full_passes": full,
            "removed_passes": removed,
            "bib_ranges": ranges,
            "first_load": discovery + full + ranges,
        }
    return out


def _starts_soon(event: Event, now: float) -> bool:
    return event.starts_at is not None and now <= event.starts_at <= now + RANGES_HOURS * 3_600


def _ends_after(race: Race, limit: float, now: float) -> bool:
    return span_of_current(race, now)[1] >= datetime.fromtimestamp(limit, EASTERN).date()
