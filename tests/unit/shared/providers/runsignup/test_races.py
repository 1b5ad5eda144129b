"""Races and events: every time made absolute with the right zone, whatever comes."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.participant import Unusable
from shared.domain.race import Event, Race
from shared.providers.runsignup.races import map_race
from shared.providers.runsignup.readers import read_races
from tests.unit.shared.providers.runsignup.cases import sample


def race_of(**fields: Any) -> Race:
    race = map_race({"race_id": 81001, "timezone": "America/Chicago", **fields})
    assert isinstance(race, Race)
    return race


def event_of(timezone: Any = "America/Chicago", **fields: Any) -> Event:
    (event,) = race_of(timezone=timezone, events=[{"event_id": 900101, **fields}]).events
    return event


def test_a_race_is_stored_with_its_events() -> None:
    race = map_race(read_races(sample("races")).records[0])
    assert isinstance(race, Race)
    assert (race.race_id, race.name, race.timezone) == ("81001", "Maple River Run", "America/Chicago")
    assert (race.is_draft, race.is_private, race.is_registration_open) == (False, False, True)
    assert race.created_at == datetime(2024, 2, 5, 17, 23, tzinfo=UTC)
    assert race.provider_modified_at == datetime(2026, 11, 14, 14, 7, tzinfo=UTC)
    assert json.loads(race.address)["city"] == "Springdale"
    assert race.notes is None
    assert [event.event_id for event in race.events] == ["900101", "900102", "900103"]


def test_an_event_is_stored_with_absolute_times() -> None:
    race = map_race(read_races(sample("races")).records[0])
    assert isinstance(race, Race)
    first, _, bundle = race.events
    assert first.starts_at == datetime(2027, 5, 22, 13, 0, tzinfo=UTC)  # 08:00 in Chicago
    assert first.ends_at is None
    assert first.registration_opens_at == datetime(2027, 1, 4, 12, 0, tzinfo=UTC)  # 07:00 Eastern
    assert first.registration_closes_at == datetime(2027, 5, 21, 21, 0, tzinfo=UTC)  # its last period
    assert (first.distance, first.distance_unit, first.edition_id) == (Decimal("10"), "K", "80001")
    assert (first.event_type, first.is_volunteer, first.sub_event_ids, first.notes) == ("running_race", False, (), None)
    assert bundle.ends_at == datetime(2027, 5, 22, 16, 0, tzinfo=UTC)
    assert bundle.sub_event_ids == ("900101", "900102")


def test_blanks_in_a_name_are_kept_and_a_missing_date_is_none() -> None:
    race = map_race(read_races(sample("races")).records[1])
    assert isinstance(race, Race)
    assert race.name == " Harbor Lights Half & 5K"
    assert (race.events[0].distance, race.events[0].distance_unit) == (Decimal("13.1"), "Miles")


def test_the_record_is_kept_without_its_events() -> None:
    race = map_race(read_races(sample("races")).records[0])
    assert isinstance(race, Race)
    details = json.loads(race.details)
    assert "events" not in details
    assert details["race_event_days"][1]["race_event_days_id"] == 79001
    assert json.loads(race.events[0].details)["registration_periods"][0]["race_fee"] == "$35.00"


@pytest.mark.parametrize(
    ("zone", "start", "expected"),
    [
        ("America/Denver", "7/4/2027 06:30", datetime(2027, 7, 4, 12, 30, tzinfo=UTC)),
        ("Pacific/Honolulu", "12/12/2027 05:00", datetime(2027, 12, 12, 15, 0, tzinfo=UTC)),
        ("America/Phoenix", "7/4/2027 06:30", datetime(2027, 7, 4, 13, 30, tzinfo=UTC)),
        # The hour that autumn repeats: the first. The hour that spring leaves out: an hour on.
        ("America/Chicago", "11/7/2027 01:30", datetime(2027, 11, 7, 6, 30, tzinfo=UTC)),
        ("America/Chicago", "3/14/2027 02:30", datetime(2027, 3, 14, 8, 30, tzinfo=UTC)),
    ],
)
def test_a_start_is_in_the_races_zone(zone: str, start: str, expected: datetime) -> None:
    assert event_of(zone, start_time=start).starts_at == expected


@pytest.mark.parametrize("zone", [None, "", "Mars/Olympus", 5, [], "../etc/passwd", "America"])
def test_an_unknown_zone_is_taken_for_eastern_and_noted(zone: Any) -> None:
    race = race_of(timezone=zone, events=[{"event_id": 1, "start_time": "7/4/2027 08:00"}])
    assert race.timezone == "America/New_York"
    assert race.notes == "timezone: missing or unknown, America/New_York assumed"
    assert race.events[0].starts_at == datetime(2027, 7, 4, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("start", ["1/1/1970 00:00", "1/1/9999 08:00", "2/30/2027 08:00", "dawn", 5, []])
def test_a_start_that_makes_no_sense_is_none_and_noted(start: Any) -> None:
    event = event_of(start_time=start)
    assert (event.starts_at, event.notes) == (None, "start_time: not a time")


def test_only_the_ids_are_needed() -> None:
    event = event_of()
    assert (event.name, event.starts_at, event.distance, event.sub_event_ids, event.notes) == (
        None,
        None,
        None,
        (),
        None,
    )
    race = race_of()
    assert (race.name, race.is_draft, race.events, race.notes) == (None, None, (), None)
    assert set(json.loads(race.address)) == {"street", "street2", "city", "state", "zipcode", "country_code"}


def test_a_volunteer_event_is_marked() -> None:
    assert event_of(volunteer="T").is_volunteer
    assert not event_of(volunteer="F").is_volunteer


@pytest.mark.parametrize(("sent", "stored"), [([900101, "900102", 900101], ("900101", "900102")), ([], ()), (None, ())])
def test_sub_events_are_text(sent: Any, stored: tuple[str, ...]) -> None:
    event = event_of(sub_event_ids=sent)
    assert (event.sub_event_ids, event.notes) == (stored, None)


def test_a_sub_event_that_is_no_id_is_noted() -> None:
    event = event_of(sub_event_ids=[7, "x"])
    assert (event.sub_event_ids, event.notes) == (("7",), "sub_event_ids: not a list of ids")


def test_a_distance_in_words_is_noted() -> None:
    event = event_of(distance="Half Marathon")
    assert (event.distance, event.distance_unit, event.notes) == (None, None, "distance: not a number with a unit")


def test_an_event_without_id_is_left_out_and_noted() -> None:
    race = race_of(events=[{"event_id": 7}, {"event_id": "x"}, {}, None])
    assert [event.event_id for event in race.events] == ["7"]
    assert race.notes == "events: 3 without a usable id"


def test_u0000_is_removed_everywhere_and_noted() -> None:
    race = race_of(name="A\x00", description="\x00", events=[{"event_id": 7, "name": "1\x000K"}])
    assert (race.name, race.events[0].name) == ("A", "10K")
    assert "\\u0000" not in race.details + race.events[0].details
    assert race.notes == "name: U+0000 removed; description: U+0000 removed; events: U+0000 removed"


def test_a_broken_key_does_not_cost_the_race() -> None:
    assert json.loads(race_of(**{"a\x00b\ud800": 1}).details)["ab\ufffd"] == 1


@pytest.mark.parametrize(
    ("raw", "reason"),
    [(None, "not_an_object"), ([], "not_an_object"), ({}, "id_missing"), ({"race_id": "x"}, "id_not_a_number")],
)
def test_a_race_without_id_is_unusable(raw: Any, reason: str) -> None:
    assert map_race(raw) == Unusable(reason, None)


KEYS = [*read_races(sample("races")).records[0], *read_races(sample("races")).records[0]["events"][0]]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()))
    | st.sampled_from([7, "7", "T", "5/22/2027 08:00", "America/Chicago", "5K", "\x00", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner, max_size=6),
    max_leaves=25,
)  # fmt: skip


@given(
    VALUES | st.dictionaries(st.sampled_from(KEYS), VALUES), st.lists(st.dictionaries(st.sampled_from(KEYS), VALUES))
)
def test_mapping_never_raises_and_gives_only_what_can_be_stored(raw: Any, events: list[dict[str, Any]]) -> None:
    map_race(raw)
    if isinstance(raw, dict):
        race = map_race({"events": [{**event, "event_id": 7} for event in events], **raw, "race_id": 7})
        assert isinstance(race, Race)
        for text in (race.details, race.address, *(event.details for event in race.events)):
            assert isinstance(json.loads(text), dict)
            assert "\\u0000" not in text.replace("\\\\", "")
