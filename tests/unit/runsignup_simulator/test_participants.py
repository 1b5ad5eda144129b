"""Get Race Participants behaves as the reference says, quirks included."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from runsignup_simulator import Policy, Simulator
from runsignup_simulator.model import Race
from runsignup_simulator.mutations import Asked, mutate

from .conftest import NOW, Asker, ids_of, rows_of


def test_keyset_walk_gives_everyone_exactly_once(asker: Asker, busiest: Race, everybody: set[int]) -> None:
    found = [row["registration_id"] for row in asker.walk(busiest, 50)]
    assert len(found) == len(set(found))
    assert set(found) == everybody


def test_keyset_walk_misses_nobody_while_people_register(asker: Asker, busiest: Race, everybody: set[int]) -> None:
    def register() -> None:
        if len(asker.world.roster(busiest.race_id)) < 600:
            mutate(asker.world, Asked("registered", race_id=busiest.race_id), NOW)

    found = [row["registration_id"] for row in asker.walk(busiest, 50, between=register)]
    assert len(found) == len(set(found))
    assert everybody < set(found)


def test_page_walk_by_number_covers_all_in_any_sort(asker: Asker, busiest: Race, everybody: set[int]) -> None:
    for sort in ("registration_id DESC", "last_name ASC", "bib_num DESC", "registration_date ASC", "nonsense"):
        found: list[int] = []
        for page in itertools.count(1):
            rows = asker.participants(busiest, sort=sort, page=page, results_per_page=70)
            if not rows:
                break
            found += [row["registration_id"] for row in rows]
        assert sorted(found) == sorted(everybody), sort


def test_page_numbers_shift_when_people_register_meanwhile(asker: Asker, busiest: Race) -> None:
    first = asker.participants(busiest, sort="registration_id DESC", page=1, results_per_page=20)
    mutate(asker.world, Asked("registered", race_id=busiest.race_id), NOW)
    second = asker.participants(busiest, sort="registration_id DESC", page=2, results_per_page=20)
    assert {row["registration_id"] for row in first} & {row["registration_id"] for row in second}


def test_fifty_rows_come_unless_more_are_asked_for(asker: Asker, busiest: Race) -> None:
    assert len(asker.participants(busiest)) == 50
    assert len(asker.participants(busiest, results_per_page="many")) == 50


def test_server_can_silently_serve_less_than_asked(asker: Asker, busiest: Race) -> None:
    asker.simulator.policy = Policy(quota=1_000, most_participants=60)
    assert len(asker.participants(busiest, results_per_page=2_500)) == 60


def test_before_registration_id_bounds_the_other_side(asker: Asker, busiest: Race, everybody: set[int]) -> None:
    ids = sorted(everybody)
    rows = asker.participants(busiest, after_registration_id=ids[3], before_registration_id=ids[9])
    assert sorted(row["registration_id"] for row in rows) == ids[4:9]


def test_modified_after_is_inclusive(asker: Asker, busiest: Race) -> None:
    newest = asker.world.roster(busiest.race_id).newest
    assert asker.participants(busiest, modified_after_timestamp=newest)
    assert not asker.participants(busiest, modified_after_timestamp=newest + 1)


def test_text_date_as_modified_after_finds_nothing_and_looks_healthy(asker: Asker, busiest: Race) -> None:
    response = asker.response(
        f"/rest/race/{busiest.race_id}/participants",
        event_id=ids_of(busiest),
        modified_after_timestamp="2020-01-01 00:00:00",
    )
    assert response.status == 200
    assert b"registration_id" not in response.body


def test_mistyped_parameter_is_ignored_and_everything_comes(asker: Asker, busiest: Race, everybody: set[int]) -> None:
    rows = asker.participants(busiest, modified_since=int(NOW), results_per_page=2_500)
    assert len(rows) == len(everybody)


def test_search_bib_finds_a_number_and_never_a_word(asker: Asker, busiest: Race) -> None:
    person = next(p for p in asker.world.roster(busiest.race_id) if p.active and isinstance(p.bib, int))
    found = asker.participants(busiest, search_bib=person.bib)
    assert person.registration_id in {row["registration_id"] for row in found}
    assert {row["bib_num"] for row in found} == {person.bib}
    assert not asker.participants(busiest, search_bib="A12")


def test_search_by_mail_and_name_narrows(asker: Asker, busiest: Race) -> None:
    person = next(p for p in asker.world.roster(busiest.race_id) if p.active and p.runner.email)
    assert len(asker.participants(busiest, search_email=str(person.runner.email).upper())) >= 1
    name = person.runner.last_name
    assert all(row["user"]["last_name"] == name for row in asker.participants(busiest, search_last_name=name, page=1))


def test_gender_x_needs_supports_nb(asker: Asker, busiest: Race) -> None:
    person = next(p for p in asker.world.roster(busiest.race_id) if p.active)
    mutate(
        asker.world,
        Asked("edited", registration_id=person.registration_id, race_id=busiest.race_id, what="gender"),
        NOW,
    )
    changed = asker.world.roster(busiest.race_id)[person.registration_id]
    if changed.runner.gender != "X":
        mutate(
            asker.world,
            Asked("edited", registration_id=person.registration_id, race_id=busiest.race_id, what="gender"),
            NOW,
        )

    def gender(**flags: str) -> Any:
        rows = asker.participants(busiest, results_per_page=2_500, **flags)
        return next(row for row in rows if row["registration_id"] == person.registration_id)["user"].get("gender")

    assert gender() is None
    assert gender(supports_nb="F") is None
    assert gender(supports_nb="T") == "X"


def test_template_row_has_id_minus_one(asker: Asker, busiest: Race) -> None:
    rows = asker.participants(busiest, include_template_participant="T")
    assert [row["registration_id"] for row in rows].count(-1) == 1


def test_include_flags_add_their_fields_and_only_theirs(asker: Asker, busiest: Race) -> None:
    extra = {
        "question_responses",
        "participant_addons",
        "fundraiser_id",
        "multi_race_bundle_id",
        "signed_waiver_details",
    }
    plain = asker.participants(busiest)
    assert not any(extra & set(row) for row in plain)
    full = asker.participants(
        busiest,
        include_questions="T",
        include_registration_addons="T",
        include_fundraisers="T",
        include_multi_race_bundle_info="T",
        include_multiple_waivers="T",
        include_user_anonymous_flag="T",
    )
    assert any(extra <= set(row) for row in full)
    assert {row["user"]["is_anonymous"] for row in full} <= {"T", "F"}
    answers = [answer for row in full for answer in row.get("question_responses", [])]
    assert all(isinstance(answer["question_id"], str) for answer in answers)
    assert any("responses" in answer for answer in answers)
    # The flag is a capital T; anything else is ignored.
    assert not any(extra & set(row) for row in asker.participants(busiest, include_questions="true"))


def test_every_wrapper_form_carries_the_same_people(asker: Asker, busiest: Race, everybody: set[int]) -> None:
    for form in ("single", "last", "own", "object"):
        asker.simulator.policy = Policy(quota=1_000, wrapper=form)
        body = asker.get(f"/rest/race/{busiest.race_id}/participants", event_id=ids_of(busiest), results_per_page=2_500)
        assert isinstance(body, dict) == (form == "object")
        assert {row["registration_id"] for row in rows_of(body)} == everybody
        if form == "last" and len(busiest.events) > 1:
            assert "participants" not in body[0]


@pytest.mark.parametrize("empty_form", ["event_only", "empty_list", "empty_array"])
def test_nobody_comes_in_every_form_of_nothing(asker: Asker, busiest: Race, empty_form: str) -> None:
    asker.simulator.policy = Policy(wrapper="single", empty_form=empty_form)
    body = asker.get(f"/rest/race/{busiest.race_id}/participants", event_id=ids_of(busiest), search_bib="x")
    expected: dict[str, list[Any]] = {
        "event_only": [{"event": {"event_id": busiest.events[0].event_id, "participants": []}}],
        "empty_list": [{"event": {"event_id": busiest.events[0].event_id, "participants": []}, "participants": []}],
        "empty_array": [],
    }
    assert body == expected[empty_form]


def test_unknown_event_or_one_of_another_race_is_error_301(asker: Asker, busiest: Race) -> None:
    foreign = next(race for race in asker.world.races.values() if race is not busiest).events[0].event_id
    for event_id in ("1", f"{busiest.events[0].event_id},{foreign}", "abc"):
        response = asker.response(f"/rest/race/{busiest.race_id}/participants", event_id=event_id)
        assert response.status == 200
        assert b'"error_code":301' in response.body


def test_errors_of_access_come_with_http_200(simulator: Simulator, asker: Asker, busiest: Race) -> None:
    path, events = f"/rest/race/{busiest.race_id}/participants", ids_of(busiest)
    stranger = next(p for p in simulator.world.partners.values() if busiest.race_id not in p.race_ids)
    wrong = {"api_key": asker.partner.key, "api_secret": "wrong", "format": "json", "event_id": events}
    cases = [
        (asker.raw(path, event_id=events, format="json"), 7),
        (asker.raw(path, **wrong), 6),
        (Asker(simulator, stranger).response(path, event_id=events), 7),
        (asker.response("/rest/race/1/participants", event_id=events), 201),
        (asker.response(path), 3),
    ]
    for response, code in cases:
        assert response.status == 200
        assert f'"error_code":{code},'.encode() in response.body


def test_v2_pair_in_v1_fields_is_refused(simulator: Simulator) -> None:
    partner = next(p for p in simulator.world.partners.values() if p.form == "v2")
    response = Asker(simulator, partner).raw(
        "/rest/races", format="json", api_key=partner.key, api_secret=partner.secret
    )
    assert b'"error_code":6,' in response.body


def test_super_event_copies_can_be_excluded(asker: Asker, busiest: Race) -> None:
    roster = asker.world.roster(busiest.race_id)
    owner, copy = [person for person in roster if person.active][:2]
    roster.put(copy._replace(via_registration_id=owner.registration_id))
    ids = {row["registration_id"] for row in asker.participants(busiest, results_per_page=2_500)}
    fewer = asker.participants(busiest, results_per_page=2_500, exclude_registrations_via_super_event="T")
    assert ids - {row["registration_id"] for row in fewer} >= {copy.registration_id}
