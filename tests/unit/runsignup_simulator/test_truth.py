"""The truth is what a careful reader makes of the wire, written down without reading it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from runsignup_simulator import FULL, Simulator, World, generate
from runsignup_simulator.control import control
from runsignup_simulator.fewest import calls_until_short, full_pass_calls
from runsignup_simulator.model import Race
from runsignup_simulator.requests import parse_request
from runsignup_simulator.responses import Response
from runsignup_simulator.truth import as_read_in_eastern, events_truth, people_truth

from .conftest import NOW, Asker, Clock


def clean(value: Any) -> Any:
    return value.replace("\x00", "") if isinstance(value, str) else value


def dollars(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text.replace("$", "").replace(",", ""))


def read_by_hand(row: dict[str, Any]) -> dict[str, Any]:
    """The fields of a wire row that need reading, read again here from the reference."""
    user = row["user"]
    at = datetime.strptime(row["registration_date"], "%m/%d/%Y %H:%M").replace(tzinfo=ZoneInfo("America/New_York"))
    return {
        "registered_at": at.astimezone(UTC).isoformat(),
        "modified_at": datetime.fromtimestamp(row["last_modified"], UTC).isoformat(),
        "user_id": None if user["user_id"] is None else str(user["user_id"]),
        **{name: clean(user.get(name)) for name in ("first_name", "middle_name", "last_name", "email", "dob", "phone")},
        "gender": user.get("gender"),
        "address": {key: clean(value) for key, value in user["address"].items()},
        "amount_paid": dollars(row.get("amount_paid")),
        "usatf": dollars(row.get("usatf_discount_amount_in_cents")),
        "imported": row["imported"] == "T",
        "questions": row.get("question_responses"),
        "addons": row.get("participant_addons"),
    }


def stored(person: dict[str, Any]) -> dict[str, Any]:
    def number(value: float | None) -> Decimal | None:
        return None if value is None else Decimal(str(value))

    same = (
        "registered_at", "modified_at", "user_id", "first_name", "middle_name", "last_name", "email", "dob", "phone",
        "gender", "address",
    )  # fmt: skip
    extra = person["additional_data"]
    return {name: person[name] for name in same} | {
        "amount_paid": number(person["payment_info"]["amount_paid"]),
        "usatf": number(extra["usatf_discount_amount_in_cents"]),
        "imported": extra["imported"],
        "questions": extra["question_responses"],
        "addons": extra["participant_addons"],
    }


def test_truth_is_the_wire_read_carefully(clock: Clock) -> None:
    world = generate(FULL, NOW)
    partner = next(p for p in world.partners.values() if p.form == "v1")
    asker = Asker(Simulator(world, clock), partner)
    include = frozenset(("questions", "addons"))
    compared = 0
    for race in [world.races[race_id] for race_id in partner.race_ids][:12]:
        flags = {"supports_nb": "T", "include_questions": "T", "include_registration_addons": "T"}
        rows = asker.participants(race, results_per_page=2_500, sort="registration_id ASC", **flags)
        truth = {p["registration_id"]: p for p in people_truth(world, race, NOW, scope="all", include=include)}
        for row in rows:
            assert stored(truth[str(row["registration_id"])]) == read_by_hand(row)
            compared += 1
    assert compared > 2_000


def test_truth_keeps_removed_people_with_their_reason(world: World, busiest: Race) -> None:
    gone = [person for person in people_truth(world, busiest, NOW, scope="all") if person["status"] == "removed"]
    assert gone
    assert all(person["removed_reason"] for person in gone)


def test_repeated_hour_of_autumn_is_read_as_its_first_pass() -> None:
    # 2 November 2025, 01:30 Eastern happens at 05:30 and at 06:30 UTC.
    assert as_read_in_eastern(1_762_065_000) == as_read_in_eastern(1_762_061_400) == "2025-11-02T05:30:00+00:00"


def test_event_truth_is_absolute_and_counts_active_people(world: World, busiest: Race) -> None:
    for event in events_truth(world, busiest, NOW):
        assert event["starts_at"].endswith("+00:00")
        assert event["active"] == world.roster(busiest.race_id).count(int(event["event_id"]))


@pytest.mark.parametrize(("people", "calls"), [(0, 1), (1, 2), (2_500, 2), (2_501, 3), (25_000, 11)])
def test_full_pass_costs_its_pages_and_the_proving_one(people: int, calls: int) -> None:
    assert full_pass_calls(people) == calls


@pytest.mark.parametrize(("rows", "calls"), [(0, 1), (49, 1), (50, 2), (1_000, 2), (1_049, 2), (1_050, 3)])
def test_other_walks_end_with_a_page_of_fewer_than_fifty(rows: int, calls: int) -> None:
    assert calls_until_short(rows, 1_000) == calls


def test_mistaken_commands_get_one_sentence(simulator: Simulator) -> None:
    for method, name, body in (
        ("POST", "mutate", b'{"kind":"eaten"}'),
        ("POST", "mutate", b'{"knd":"edited"}'),
        ("POST", "mutate", b"[]"),
        ("POST", "faults", b'{"kind":"html_200","tmies":1}'),
        ("POST", "faults", b'{"kind":"html_200","times":"often"}'),
        ("POST", "config", b'{"qouta":1}'),
        ("POST", "config", b'{"quota":"many"}'),
        ("POST", "pace", b'{"kinds":{"eaten":1}}'),
        ("POST", "clock", b"{}"),
        ("GET", "truth?key=nobody", b""),
        ("GET", "truth?include=everything", b""),
    ):
        answered = control(simulator, parse_request(method, f"/_sim/{name}"), body)
        assert isinstance(answered, Response)
        assert answered.status == 400
        assert b"error" in answered.body
