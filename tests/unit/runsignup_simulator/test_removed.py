"""Removed participants: people under `event`, text dates, four reasons, the successor's id."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from runsignup_simulator.model import Race
from runsignup_simulator.mutations import Asked, mutate

from .conftest import NOW, Asker, ids_of


def removed_rows(asker: Asker, race: Race, **parameters: Any) -> list[dict[str, Any]]:
    parameters.setdefault("event_id", ids_of(race))
    body = asker.get(f"/rest/race/{race.race_id}/removed-participants", **parameters)
    elements = body if isinstance(body, list) else [body]
    assert not any("participants" in element for element in elements)
    return [
        {**row, "event": element["event"]["event_id"]}
        for element in elements
        for row in element["event"]["participants"]
    ]


def test_removed_people_are_under_event_and_carry_no_event_id(asker: Asker, busiest: Race) -> None:
    rows = removed_rows(asker, busiest, results_per_page=1_000)
    roster = asker.world.roster(busiest.race_id)
    assert {row["registration_id"] for row in rows} == {p.registration_id for p in roster if not p.active}
    assert all(row["event"] == roster[row["registration_id"]].event_id for row in rows)
    assert not any("event_id" in row for row in rows)


def test_text_dates_are_eastern_and_agree_with_the_epoch(asker: Asker, busiest: Race) -> None:
    for row in removed_rows(asker, busiest):
        read = datetime.strptime(row["last_modified"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=ZoneInfo("America/New_York"))
        assert abs(read.timestamp() - row["last_modified_ts"]) in (0, 3_600)  # an hour off in the repeated hour


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("refunded", "removed"), ("deferred", "deferred"), ("cleared", "cleared"), ("transferred", "transferred")],
)
def test_each_way_out_has_its_reason_and_moves_last_modified(asker: Asker, kind: str, reason: str) -> None:
    change = next(
        c for c in mutate(asker.world, Asked(kind, race_ids=asker.partner.race_ids), NOW + 60) if c.kind == kind
    )
    race = asker.world.races[change.race_id or 0]
    rows = removed_rows(asker, race, modified_after_timestamp=int(NOW + 60))
    row = next(row for row in rows if row["registration_id"] == change.registration_id)
    assert row["removed_reason"] == reason
    assert row["new_registration_id"] == change.new_registration_id
    assert row["last_modified_ts"] == int(NOW + 60)
    active = {row["registration_id"] for row in asker.walk(race, 2_500)}
    assert change.registration_id not in active
    if kind == "transferred":
        assert change.new_registration_id in active


def test_restored_person_leaves_the_removed_list_under_the_same_id(asker: Asker, busiest: Race) -> None:
    gone = mutate(asker.world, Asked("refunded", race_id=busiest.race_id), NOW + 10)[0]
    mutate(asker.world, Asked("restored", registration_id=gone.registration_id), NOW + 20)
    assert gone.registration_id not in {row["registration_id"] for row in removed_rows(asker, busiest)}
    rows = asker.participants(busiest, modified_after_timestamp=int(NOW + 20))
    assert [row["registration_id"] for row in rows] == [gone.registration_id]


def test_condensed_format_has_ids_and_reason_only(asker: Asker, busiest: Race) -> None:
    for row in removed_rows(asker, busiest, condensed_format="T"):
        assert set(row) == {"registration_id", "removed_reason", "new_registration_id", "event"}


def test_keyset_walk_over_removed_people_gives_each_once(asker: Asker, busiest: Race) -> None:
    for _ in range(30):
        mutate(asker.world, Asked("refunded", race_id=busiest.race_id), NOW)
    found: list[int] = []
    while rows := removed_rows(
        asker,
        busiest,
        sort="registration_id ASC",
        results_per_page=7,
        after_registration_id=max(found, default=0),
    ):
        found += [row["registration_id"] for row in rows]
    assert len(found) == len(set(found)) == sum(not p.active for p in asker.world.roster(busiest.race_id))
