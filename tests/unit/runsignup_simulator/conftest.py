"""A small world at a fixed instant, and an asker that speaks to it without a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest

from runsignup_simulator import SMALL, Policy, Response, Simulator, World, generate, parse_request
from runsignup_simulator.model import Partner, Race
from runsignup_simulator.world import future_events

NOW = 1_795_521_600.0  # Tuesday 24 November 2026, 12:00 UTC


class Asker:
    """One partner's client: adds the credential and `format=json` unless told otherwise."""

    def __init__(self, simulator: Simulator, partner: Partner) -> None:
        self.simulator, self.partner = simulator, partner

    @property
    def world(self) -> World:
        return self.simulator.world

    def raw(self, path: str, **parameters: Any) -> Response:
        """Without the credential; parameters of None are left out."""
        query = {name: value for name, value in parameters.items() if value is not None}
        return self.simulator.answer(parse_request("GET", f"{path}?{urlencode(query)}"))

    def response(self, path: str, **parameters: Any) -> Response:
        query: dict[str, Any] = {"format": "json", **parameters}
        headers = []
        if self.partner.form == "v1":
            query |= {"api_key": self.partner.key, "api_secret": self.partner.secret}
        else:
            query |= {"rsu_api_key": self.partner.key}
            headers = [("X-RSU-API-SECRET", self.partner.secret)]
        return self.simulator.answer(parse_request("GET", f"{path}?{urlencode(query)}", headers))

    def get(self, path: str, **parameters: Any) -> Any:
        return orjson.loads(self.response(path, **parameters).body)

    def participants(self, race: Race, **parameters: Any) -> list[dict[str, Any]]:
        """One page of a race's events, collected from every form of the envelope."""
        parameters.setdefault("event_id", ids_of(race))
        return rows_of(self.get(f"/rest/race/{race.race_id}/participants", **parameters))

    def walk(self, race: Race, size: int, between: Callable[[], object] = lambda: None) -> list[dict[str, Any]]:
        """A full pass by keyset, ended by the empty page; `between` happens after each page."""
        found: list[dict[str, Any]] = []
        last = 0
        while rows := self.participants(
            race,
            sort="registration_id ASC",
            results_per_page=size,
            after_registration_id=last,
            supports_nb="T",
            event_id=ids_of(self.world.races[race.race_id]),
        ):
            found += rows
            last = max(row["registration_id"] for row in rows)
            between()
        return found


def ids_of(race: Race) -> str:
    return ",".join(str(event.event_id) for event in race.events)


def rows_of(body: Any) -> list[dict[str, Any]]:
    elements = body if isinstance(body, list) else [body]
    assert all(element["event"]["participants"] == [] for element in elements)
    return [row for element in elements for row in element.get("participants", [])]


@pytest.fixture
def world() -> World:
    return generate(SMALL, NOW)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def simulator(world: World, clock: Clock) -> Simulator:
    return Simulator(world, clock, Policy(quota=100_000))


@pytest.fixture
def asker(simulator: Simulator) -> Asker:
    return Asker(simulator, next(iter(simulator.world.partners.values())))


@pytest.fixture
def busiest(asker: Asker) -> Race:
    """The asker's race with the most people in future events."""
    races = [asker.world.races[race_id] for race_id in asker.partner.race_ids]
    return max(
        (race for race in races if future_events(race, NOW)),
        key=lambda race: sum(asker.world.active_count(race, event) for event in race.events),
    )


@pytest.fixture
def everybody(asker: Asker, busiest: Race) -> set[int]:
    """The ids of the busiest race's active people, straight from the world."""
    return {person.registration_id for person in asker.world.roster(busiest.race_id) if person.active}
