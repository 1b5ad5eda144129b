"""What RunSignUp is asked: the vendor's own words, and nothing besides."""

from datetime import date
from typing import Any

import pytest

from shared.errors import Never
from shared.providers.runsignup.requests import (
    ask_bib,
    ask_bib_ranges,
    ask_participants,
    ask_race,
    ask_races,
    ask_removed,
)


def test_races_are_asked_with_their_events_a_thousand_at_a_time() -> None:
    call = ask_races(page=3, start_date=date(2026, 11, 17))
    assert call.path == "/races"
    assert dict(call.parameters) == {
        "format": "json",
        "events": "T",
        "include_event_days": "T",
        "results_per_page": "1000",
        "page": "3",
        "start_date": "2026-11-17",
    }


def test_a_race_is_asked_with_every_event_that_it_ever_had() -> None:
    call = ask_race("81001")
    assert (call.path, dict(call.parameters)) == ("/race/81001", {"format": "json", "include_event_days": "T"})


def test_participants_of_all_events_are_asked_in_one_call() -> None:
    call = ask_participants("81001", ["900101", "900102", "900101"])
    assert call.path == "/race/81001/participants"
    assert dict(call.parameters) == {
        "format": "json",
        "event_id": "900101,900102",
        "results_per_page": "2500",
        "sort": "registration_id ASC",
        "supports_nb": "T",
    }


def test_an_incremental_page_is_asked_by_id_and_by_unix_seconds() -> None:
    parameters = dict(ask_participants("1", ["2"], after_id=7, modified_after=1810850564).parameters)
    assert parameters["after_registration_id"] == "7"
    assert parameters["modified_after_timestamp"] == "1810850564"


def test_the_first_page_names_no_id() -> None:
    assert "after_registration_id" not in dict(ask_participants("1", ["2"], after_id=0).parameters)


@pytest.mark.parametrize("moment", ["1810850564", "2027-05-20 01:02:03", 1810850564.5, True, -1])
def test_a_cursor_that_is_not_whole_seconds_is_refused(moment: Any) -> None:
    with pytest.raises(Never, match="whole Unix seconds"):
        ask_participants("1", ["2"], modified_after=moment)


def test_extras_are_asked_by_operators_words() -> None:
    words = {"questions", "addons", "fundraisers", "bundles", "waivers"}
    flags = {name for name, value in ask_participants("1", ["2"], include=words).parameters if value == "T"}
    assert flags == {
        "supports_nb",
        "include_questions",
        "include_registration_addons",
        "include_fundraisers",
        "include_multi_race_bundle_info",
        "include_multiple_waivers",
    }


def test_an_unknown_extra_is_refused_with_the_known_ones() -> None:
    with pytest.raises(Never, match="questions, addons") as caught:
        ask_participants("1", ["2"], include=["quesitons"])
    assert caught.value.reason == "unknown_include"


def test_removed_people_are_asked_in_full() -> None:
    call = ask_removed("81001", ["900101"], after_id=5, modified_after=1)
    assert call.path == "/race/81001/removed-participants"
    assert dict(call.parameters) == {
        "format": "json",
        "event_id": "900101",
        "results_per_page": "1000",
        "sort": "registration_id ASC",
        "supports_nb": "T",
        "condensed_format": "F",
        "after_registration_id": "5",
        "modified_after_timestamp": "1",
    }


def test_a_bib_is_searched_by_its_number() -> None:
    assert ("search_bib", "101") in ask_bib("81001", ["900101"], " 101 ").parameters


def test_a_bib_is_searched_with_the_extras_of_every_other_question() -> None:
    """Else the runner found would seem to have lost them."""
    assert ("include_questions", "T") in ask_bib("81001", ["900101"], "101", include=["questions"]).parameters


@pytest.mark.parametrize("bib", ["A17", "", "1.5", "-3", "١٢", "9" * 40])
def test_a_bib_that_is_no_number_cannot_be_searched(bib: str) -> None:
    with pytest.raises(Never, match="whole number only"):
        ask_bib("81001", ["900101"], bib)


def test_ranges_of_bibs_are_asked_for_by_edition() -> None:
    call = ask_bib_ranges("81001", "3301")
    assert call.path == "/race/81001/get-bib-validation-settings"
    assert dict(call.parameters) == {"format": "json", "race_event_days_id": "3301"}
    with pytest.raises(Never):
        ask_bib_ranges("81001", "")


@pytest.mark.parametrize("race", ["../users", "", "0", "-1", "81001/participants"])
def test_a_race_that_is_no_number_never_becomes_a_path(race: str) -> None:
    with pytest.raises(Never):
        ask_participants(race, ["900101"])


@pytest.mark.parametrize("events", [[], ["10K"], ["900101", "x"]])
def test_events_that_are_no_numbers_are_refused(events: list[str]) -> None:
    with pytest.raises(Never, match="whole numbers"):
        ask_participants("81001", events)
