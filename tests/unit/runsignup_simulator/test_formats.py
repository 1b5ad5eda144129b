"""How things are spelled: XML by default, escaped slashes, T and F, money, five dates."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from runsignup_simulator.model import Race
from runsignup_simulator.responses import encode
from runsignup_simulator.spelling import day_asked, loose, money, text_second

from .conftest import NOW, Asker, ids_of


def test_xml_comes_unless_json_is_asked_for(asker: Asker, busiest: Race) -> None:
    key = {"api_key": asker.partner.key, "api_secret": asker.partner.secret}
    for path, parameters in (
        ("/rest/races", {"events": "T"}),
        (f"/rest/race/{busiest.race_id}", {}),
        (f"/rest/race/{busiest.race_id}/participants", {"event_id": ids_of(busiest)}),
        (f"/rest/race/{busiest.race_id}/removed-participants", {"event_id": ids_of(busiest)}),
    ):
        response = asker.raw(path, **key, **parameters)
        assert response.content_type.startswith("text/xml")
        assert ElementTree.fromstring(response.body).tag != "error"


def test_errors_are_xml_too(asker: Asker) -> None:
    root = ElementTree.fromstring(asker.raw("/rest/race/1").body)
    assert (root.tag, root.findtext("error_code"), root.findtext("error_msg")) == ("error", "201", "Race not found.")


def test_unserved_format_is_error_10(asker: Asker) -> None:
    assert b"<error_code>10<" in asker.raw("/rest/races", format="csv").body


def test_slashes_in_strings_come_escaped(asker: Asker) -> None:
    assert b"https:\\/\\/" in asker.response("/rest/races").body
    assert encode({"a": "1/2"}) == b'{"a":"1\\/2"}'


def test_truth_values_are_letters(asker: Asker) -> None:
    race = asker.get("/rest/races", events="T")["races"][0]["race"]
    assert race["is_draft_race"] in ("T", "F")
    assert race["events"][0]["volunteer"] in ("T", "F")


@pytest.mark.parametrize(
    ("cents", "text"),
    [(0, "$0.00"), (5, "$0.05"), (5_500, "$55.00"), (123_450, "$1,234.50"), (100_000_000, "$1,000,000.00")],
)
def test_money_is_text_with_a_sign_and_commas(cents: int, text: str) -> None:
    assert money(cents) == text


def test_documented_pairs_of_text_and_epoch_agree() -> None:
    """The two pairs from the vendor's documentation."""
    assert loose(1_631_042_122) == "9/7/2021 15:15"
    assert text_second(1_632_405_277) == "2021-09-23 09:54:37"


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-11-17", "2026-11-17"),
        ("1795521600", "2026-11-24"),
        ("today", "2026-11-24"),
        ("tomorrow", "2026-11-25"),
        ("11/24/2026", "None"),
    ],
)
def test_dates_can_be_asked_for_in_four_spellings(text: str, day: str) -> None:
    assert str(day_asked(text, NOW)) == day


def test_paths_are_not_case_sensitive_and_strange_ones_are_refused(asker: Asker) -> None:
    assert asker.response("/Rest/RACES").status == 200
    assert b'"error_code":1,' in asker.response("/rest/nothing/here").body
    strange = asker.response("/API/races")
    assert (strange.status, strange.content_type.split(";")[0]) == (404, "text/html")
