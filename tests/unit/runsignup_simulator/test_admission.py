"""Limits: exactly so many calls in any rolling hour, so many at once; every violation is in the book."""

from __future__ import annotations

import random

import orjson
import pytest

from runsignup_simulator import Policy, Request, Simulator, World, parse_request
from runsignup_simulator.model import Partner

from .conftest import NOW, Asker, Clock


def call_of(partner: Partner, registration: str | None = None) -> Request:
    extra = "" if registration is None else f"&rsu_api_reg={registration}"
    return parse_request("GET", f"/rest/race/1?format=json&api_key={partner.key}&api_secret={partner.secret}{extra}")


@pytest.fixture
def partner(world: World) -> Partner:
    return next(p for p in world.partners.values() if p.form == "v1")


def throttled(simulator: Simulator, request: Request) -> bool:
    response = simulator.answer(request)
    return response.status == 429 or b'"error_code":14,' in response.body


def test_no_rolling_hour_ever_lets_more_through_than_the_quota(world: World, clock: Clock, partner: Partner) -> None:
    simulator = Simulator(world, clock, Policy(quota=20))
    rng, passed = random.Random(1), []
    for _ in range(600):
        clock.now += rng.expovariate(1 / 90)
        if not throttled(simulator, call_of(partner)):
            passed.append(clock.now)
    assert len(passed) > 200
    for start in passed:
        assert sum(start <= at < start + 3_600 for at in passed) <= 20
    account = simulator.audit.accounts[partner.key]
    assert account.total == 600
    assert account.quota_violations == 600 - len(passed) > 0


def test_quota_frees_exactly_an_hour_after_the_call(world: World, clock: Clock, partner: Partner) -> None:
    simulator = Simulator(world, clock, Policy(quota=1))
    assert not throttled(simulator, call_of(partner))
    clock.now = NOW + 3_599.9
    assert throttled(simulator, call_of(partner))
    clock.now = NOW + 3_600
    assert not throttled(simulator, call_of(partner))


def test_each_credential_has_a_quota_of_its_own(world: World, clock: Clock) -> None:
    simulator = Simulator(world, clock, Policy(quota=1, throttle_forms=("error_200",)))
    for partner in world.partners.values():
        asker = Asker(simulator, partner)
        assert "races" in asker.get("/rest/races")
        assert asker.get("/rest/races")["error"]["error_code"] == 14


def test_refusals_take_every_form_in_turn(world: World, clock: Clock, partner: Partner) -> None:
    simulator = Simulator(world, clock, Policy(quota=0))
    forms = [simulator.answer(call_of(partner)) for _ in range(4)]
    assert [response.status for response in forms] == [200, 429, 429, 429]
    assert orjson.loads(forms[0].body)["error"] == {"error_code": 14, "error_msg": "Request throttled."}
    headers = [dict(response.headers) for response in forms]
    assert headers[1]["Retry-After"] == "3600"
    assert headers[2]["Content-Type"].startswith("text/html")
    assert headers[3]["Retry-After"].endswith("GMT")


def test_third_call_in_flight_of_one_caller_is_refused(world: World, clock: Clock, partner: Partner) -> None:
    simulator = Simulator(world, clock)
    call = call_of(partner, "88.simulated-caller")
    for _ in range(2):
        simulator.begin(call)
    assert simulator.begin(call).response.status in (200, 429)
    assert simulator.audit.in_flight_violations == 1
    simulator.finish(call)
    simulator.finish(call)
    simulator.begin(call)
    assert simulator.audit.in_flight_violations == 1
    assert simulator.audit.max_in_flight == 3


def test_violations_can_be_recorded_without_being_refused(world: World, clock: Clock, partner: Partner) -> None:
    simulator = Simulator(world, clock, Policy(quota=1, on_quota="record"))
    assert [throttled(simulator, call_of(partner)) for _ in range(3)] == [False] * 3
    assert simulator.audit.report()["credentials"][partner.key] == {
        "calls": 3,
        "by_endpoint": {"race": 3},
        "by_status": {"200": 3},
        "max_in_any_hour": 3,
        "quota_violations": 2,
        "violations_at": [NOW, NOW],
    }


@pytest.mark.parametrize(
    ("registration", "secret", "required", "accepted"),
    [
        (None, None, False, True),
        (None, None, True, False),
        ("88.simulated-caller", "simulated-caller-secret", True, True),
        ("88.simulated-caller", None, False, False),
        (None, "simulated-caller-secret", False, False),
        ("88.other", "simulated-caller-secret", False, False),
    ],
)
def test_caller_registration_is_checked_when_any_half_is_there(
    world: World, clock: Clock, *, registration: str | None, secret: str | None, required: bool, accepted: bool
) -> None:
    simulator = Simulator(world, clock, Policy(caller_required=required))
    query = "" if registration is None else f"&rsu_api_reg={registration}"
    headers = [] if secret is None else [("X-RSU-API-REG-SECRET", secret)]
    response = simulator.answer(parse_request("GET", f"/rest/races?format=json{query}", headers))
    assert (response.status == 400) is not accepted
    assert (b'"error_code":17,' in response.body) is not accepted
