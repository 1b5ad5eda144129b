"""Get Races and Get Race: who sees what, when a race vanishes, which events are shown."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from runsignup_simulator import Policy, Simulator
from runsignup_simulator.model import Race
from runsignup_simulator.mutations import Asked, mutate

from .conftest import NOW, Asker

WEEK_AGO = "2026-11-17"


def listed(asker: Asker, **parameters: Any) -> list[dict[str, Any]]:
    parameters.setdefault("results_per_page", 1_000)
    return [entry["race"] for entry in asker.get("/rest/races", **parameters)["races"]]


def test_a_key_sees_only_its_own_races(simulator: Simulator) -> None:
    for partner in simulator.world.partners.values():
        found = {race["race_id"] for race in listed(Asker(simulator, partner), start_date="2000-01-01")}
        assert found == set(partner.race_ids)


def test_races_of_the_last_days_need_a_start_date_set_back(simulator: Simulator) -> None:
    askers = [Asker(simulator, partner) for partner in simulator.world.partners.values()]
    today = {race["race_id"] for asker in askers for race in listed(asker)}
    week = {race["race_id"] for asker in askers for race in listed(asker, start_date=WEEK_AGO)}
    assert today < week


def test_events_and_editions_come_only_when_asked_for(asker: Asker) -> None:
    plain = listed(asker)[0]
    assert "events" not in plain
    assert "race_event_days" not in plain
    full = listed(asker, events="T", include_event_days="T")[0]
    assert full["events"]
    assert full["race_event_days"]


def test_only_the_current_edition_is_listed_but_get_race_has_all(asker: Asker) -> None:
    old = max(asker.world.races.values(), key=lambda race: len({event.race_event_days_id for event in race.events}))
    owner = next(p for p in asker.world.partners.values() if old.race_id in p.race_ids)
    asker = Asker(asker.simulator, owner)
    shown = next(r for r in listed(asker, events="T", start_date="2000-01-01") if r["race_id"] == old.race_id)
    history = asker.get(f"/Rest/Race/{old.race_id}")["race"]
    assert len(shown["events"]) < len(history["events"]) == len(old.events)
    newest = asker.get(f"/rest/race/{old.race_id}", most_recent_events_only="T")["race"]["events"]
    assert {event["race_event_days_id"] for event in newest} == {max(e.race_event_days_id for e in old.events)}


def test_start_times_are_in_the_zone_of_the_race(asker: Asker) -> None:
    for race in listed(asker, events="T"):
        events = {event.event_id: event for event in asker.world.races[race["race_id"]].events}
        for event in race["events"]:
            read = datetime.strptime(event["start_time"], "%m/%d/%Y %H:%M").replace(tzinfo=ZoneInfo(race["timezone"]))
            assert read.timestamp() == events[event["event_id"]].starts_at


def test_pages_of_races_cover_all(asker: Asker) -> None:
    ids = [
        race["race_id"]
        for page in range(1, 6)
        for race in listed(asker, page=page, results_per_page=1, start_date=WEEK_AGO)
    ]
    assert ids[:3] == [race["race_id"] for race in listed(asker, start_date=WEEK_AGO)][:3]
    assert len(set(ids)) == len(ids)


def test_most_races_a_page_are_a_ceiling(asker: Asker) -> None:
    asker.simulator.policy = Policy(most_races=2)
    assert len(listed(asker, results_per_page=5_000, start_date="2000-01-01")) == 2


def test_modified_since_lists_only_changed_definitions(asker: Asker, busiest: Race) -> None:
    mutate(asker.world, Asked("start_moved", race_id=busiest.race_id), NOW)
    assert [race["race_id"] for race in listed(asker, modified_since=int(NOW))] == [busiest.race_id]
    assert listed(asker, last_modified=int(NOW)) == listed(asker)  # a parameter that does not exist


def test_unreadable_date_is_error_9(asker: Asker) -> None:
    assert asker.get("/rest/races", start_date="next week")["error"]["error_code"] == 9


def test_without_a_key_all_public_races_answer_and_private_ones_do_not(asker: Asker) -> None:
    public = {race.race_id for race in asker.world.races.values() if not race.private}
    response = asker.raw("/rest/races", format="json", results_per_page=1_000, start_date="2000-01-01")
    assert response.body.count(b'"race_id"') == len(public)


@pytest.mark.parametrize(("choice", "refused"), [("refused", True), ("anonymous", False)])
def test_wrong_key_on_races_is_refused_or_taken_for_nobody(asker: Asker, choice: str, refused: bool) -> None:
    asker.simulator.policy = Policy(wrong_key_on_races=choice)
    response = asker.raw("/rest/races", format="json", api_key="nobody", api_secret="knows")
    assert (b'"error_code":6,' in response.body) == refused


def test_race_that_left_the_list_is_gone_and_may_return(asker: Asker, busiest: Race) -> None:
    mutate(asker.world, Asked("race_left_list", race_id=busiest.race_id), NOW)
    assert busiest.race_id not in {race["race_id"] for race in listed(asker)}
    mutate(asker.world, Asked("race_returned"), NOW)
    assert busiest.race_id in {race["race_id"] for race in listed(asker)}


def test_revoked_permission_is_error_7_and_off_the_list(asker: Asker, busiest: Race) -> None:
    mutate(asker.world, Asked("permission_revoked", race_id=busiest.race_id, key=asker.partner.key), NOW)
    assert busiest.race_id not in {race["race_id"] for race in listed(asker)}
    body = asker.get(f"/rest/race/{busiest.race_id}/participants", event_id=busiest.events[0].event_id)
    assert body["error"]["error_code"] == 7


def test_revoked_key_is_error_6_until_it_is_restored(asker: Asker) -> None:
    mutate(asker.world, Asked("key_revoked", key=asker.partner.key), NOW)
    assert asker.get("/rest/races")["error"]["error_code"] == 6
    mutate(asker.world, Asked("key_restored", key=asker.partner.key), NOW)
    assert "races" in asker.get("/rest/races")


def test_renewed_race_shows_its_new_edition_with_new_ids(asker: Asker, busiest: Race) -> None:
    changes = mutate(asker.world, Asked("race_renewed", race_id=busiest.race_id, people=2), NOW)
    race = next(race for race in listed(asker, events="T") if race["race_id"] == busiest.race_id)
    new = {change.event_id for change in changes if change.kind == "race_renewed"}
    assert new <= {event["event_id"] for event in race["events"]}
    assert new.isdisjoint({event.event_id for event in busiest.events})
    assert sum(change.kind == "registered" for change in changes) >= 2


def test_bib_ranges_entity_and_checkins_answer(asker: Asker, busiest: Race) -> None:
    edition = busiest.events[-1].race_event_days_id
    path = f"/rest/race/{busiest.race_id}/get-bib-validation-settings"
    assert asker.get(path, race_event_days_id=edition)["events"][0]["event_id"]
    assert asker.get(path)["error"]["error_code"] == 3
    mutate(asker.world, Asked("checked_in", race_id=busiest.race_id), NOW)
    stamps = asker.get("/rest/v2/participants/checkin-timestamps.json", race_id=busiest.race_id)
    assert stamps["checkin_timestamps"][0]["checkin_ts"] == int(NOW)
    v2 = next(p for p in asker.world.partners.values() if p.form == "v2")
    assert Asker(asker.simulator, v2).get("/rest/v2/auth-info/entity-info.json")["entity_name"] == v2.name
    assert (
        asker.get("/rest/v2/auth-info/entity-info.json")["error"]["error_code"] == 6
    )  # a classic pair has no such call
