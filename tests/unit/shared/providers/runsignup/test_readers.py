"""Every known form of a list becomes a page; every other one is a failure, never "nobody"."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.providers.port import Answer, Consequence, Page, ProviderFailure
from shared.providers.runsignup.readers import (
    check_page,
    read_bib_ranges,
    read_participants,
    read_race,
    read_races,
    read_removed,
)
from tests.unit.shared.providers.runsignup.cases import answer, raw_person, sample

EVENT = {"event_id": 900101, "participants": []}


def page_of(*people: Any) -> Page:
    return read_participants(answer([{"event": EVENT, "participants": list(people)}]))


def ids(page: Page) -> list[int]:
    return [record["registration_id"] for record in page.records]


def test_one_race_is_a_list_of_one() -> None:
    assert read_race(answer({"race": {"race_id": 1}})).records == [{"race_id": 1}]


@pytest.mark.parametrize("document", [{}, [], {"race": None}, {"races": []}])
def test_no_race_is_a_failure_and_no_empty_list(document: Any) -> None:
    with pytest.raises(ProviderFailure):
        read_race(answer(document))


def test_an_edition_tells_the_bibs_of_each_event() -> None:
    assert read_bib_ranges(sample("bib_ranges")).records == [
        ("900101", ((100, 499), (700, 850))),
        ("900102", ()),
    ]


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        {"events": [{"event_id": 1}]},
        {"events": [{"bib_ranges": []}]},
        {"events": [{"event_id": 1, "bib_ranges": [{"starting_bib_num": 1}]}]},
        {"events": [{"event_id": 1, "bib_ranges": [{"starting_bib_num": 9, "ending_bib_num": 1}]}]},
        {"events": [{"event_id": 1, "bib_ranges": [[1, 9]]}]},
        {"events": [[]]},
    ],
)
def test_ranges_in_another_form_are_not_guessed(document: Any) -> None:
    with pytest.raises(ProviderFailure):
        read_bib_ranges(answer(document))


def test_people_stand_beside_their_event() -> None:
    page = read_participants(sample("participants"))
    assert ids(page) == [7100001, 7100002, 7100003]
    assert (page.count, page.last_id, page.newest_modified) == (3, 7100003, 1810850564)
    assert page.answered_at == datetime(2026, 11, 24, 15, tzinfo=UTC)


def test_an_element_without_people_is_passed_over() -> None:
    assert ids(read_participants(sample("participants_of_several_events"))) == [7100003, 7100004]


def test_people_may_come_in_one_object() -> None:
    assert ids(read_participants(sample("participants_as_one_object"))) == [7100004]


@pytest.mark.parametrize("document", [[], [{"event": EVENT}], [{"event": EVENT, "participants": []}], {"event": EVENT}])
def test_nobody_has_four_forms(document: Any) -> None:
    page = read_participants(answer(document))
    assert (page.count, page.last_id, page.newest_modified) == (0, None, None)


def test_the_recorded_nobody_is_nobody() -> None:
    assert read_participants(sample("participants_none")).count == 0


@pytest.mark.parametrize(
    "document",
    [
        None, 0, "", "nobody", True, {}, {"participants": None}, {"participants": {}}, {"people": []}, [[]], [None],
        [{}],
        [{"event": {}}], [{"event": EVENT, "participants": None}], [{"event": EVENT, "participants": {"0": {}}}],
        [{"event": 900101, "participants": []}], [{"event": EVENT}, "x"], {"races": []},
        [{"event": {"event_id": 1, "participants": [raw_person()]}}],
        [{"event": {"event_id": 1, "participants": [raw_person()]}, "participants": []}],
    ],
)  # fmt: skip
def test_a_form_that_is_not_known_is_never_nobody(document: Any) -> None:
    with pytest.raises(ProviderFailure) as caught:
        read_participants(answer(document))
    assert (caught.value.code, caught.value.consequence) == ("unknown_form", Consequence.LATER)


def test_an_error_is_never_nobody() -> None:
    for read in (read_participants, read_removed, read_races):
        with pytest.raises(ProviderFailure, match="error_7"):
            read(sample("error_7"))


def test_the_template_row_is_dropped() -> None:
    assert ids(page_of(raw_person(-1), raw_person(7), raw_person("-1"), raw_person(0))) == [7]


def test_a_bad_row_is_kept_and_counted() -> None:
    page = page_of(None, [], "x", {}, raw_person(None), raw_person("seven"), raw_person(10**30), raw_person(7))
    assert (page.count, page.last_id) == (8, 7)


def test_a_page_without_a_readable_id_has_no_last_one() -> None:
    assert page_of({}, None).last_id is None


def test_ids_and_times_may_be_text() -> None:
    page = page_of(raw_person("7", last_modified="1810850565"))
    assert (page.last_id, page.newest_modified) == (7, 1810850565)


@pytest.mark.parametrize("moment", [9e18, 10**18, -5, "soon", None, True])
def test_a_time_that_makes_no_sense_moves_no_cursor(moment: Any) -> None:
    assert (
        page_of(raw_person(1, last_modified=1810850564), raw_person(2, last_modified=moment)).newest_modified
        == 1810850564
    )


def test_a_full_page_in_disorder_is_refused() -> None:
    """The next page is asked from the highest id on: whoever stands below it and was not sent would be lost."""
    with pytest.raises(ProviderFailure, match="does not fit"):
        page_of(*(raw_person(number) for number in (*range(100, 150), 7)))


def test_a_short_page_may_be_in_disorder() -> None:
    assert page_of(raw_person(9), raw_person(7)).last_id == 9


def test_a_row_sent_twice_is_no_disorder() -> None:
    assert page_of(*(raw_person(number) for number in (*range(100, 160), 120))).count == 61


def test_events_one_after_the_other_are_no_disorder() -> None:
    elements = [
        {"event": EVENT, "participants": [raw_person(number) for number in range(start, 200, 2)]}
        for start in (101, 100)
    ]
    assert read_participants(answer(elements)).last_id == 199


def test_a_page_after_an_id_has_only_later_ones() -> None:
    page = page_of(raw_person(7), raw_person(8))
    check_page(page, after_id=6)
    check_page(page, after_id=None)
    with pytest.raises(ProviderFailure) as caught:
        check_page(page, after_id=7)
    assert (caught.value.code, caught.value.consequence) == ("unfitting_page", Consequence.LATER)


def test_removed_people_carry_the_event_of_their_wrapper() -> None:
    page = read_removed(sample("removed"))
    assert [(event, record["registration_id"]) for event, record in page.records] == [
        (900101, 7100005),
        (900101, 7100006),
    ]
    assert (page.count, page.last_id, page.newest_modified) == (2, 7100006, 1805070605)
    with pytest.raises(ProviderFailure):
        check_page(page, after_id=7100005)


def test_removed_people_may_come_in_one_object() -> None:
    assert read_removed(answer({"event": {"event_id": 1, "participants": [raw_person(7)]}})).count == 1


@pytest.mark.parametrize("document", [[], [{"event": EVENT}], [{"event": {"event_id": 1}}]])
def test_nobody_removed_has_its_forms(document: Any) -> None:
    assert read_removed(answer(document)).count == 0


@pytest.mark.parametrize(
    "document",
    [{}, [{}], None, 5, [{"event": None}], [{"event": {"participants": None}}], [{"participants": []}],
     [{"event": EVENT, "participants": [raw_person()]}]],
)  # fmt: skip
def test_a_form_of_removals_that_is_not_known_is_refused(document: Any) -> None:
    with pytest.raises(ProviderFailure, match="unknown_form"):
        read_removed(answer(document))


def test_races_are_unwrapped() -> None:
    page = read_races(sample("races"))
    assert [race["race_id"] for race in page.records] == [81001, 81002]
    assert (page.count, page.last_id) == (2, None)


@pytest.mark.parametrize("document", [{"races": []}, {}, []])
def test_a_page_past_the_last_race_is_empty(document: Any) -> None:
    assert read_races(answer(document)).count == 0


@pytest.mark.parametrize("document", [{"race": {}}, {"races": None}, {"races": {}}, [{"race": {}}], 5, None])
def test_a_form_of_races_that_is_not_known_is_refused(document: Any) -> None:
    with pytest.raises(ProviderFailure, match="unknown_form"):
        read_races(answer(document))


def test_a_race_in_no_form_costs_one_race() -> None:
    assert read_races(answer({"races": [5, {"race": {"race_id": 1}}]})).count == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["event", "participants", "event_id", "registration_id", "last_modified", "races", "race", "error"]
            ),
            inner,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_any_document_is_a_page_or_a_failure(document: Any) -> None:
    for read in (read_participants, read_removed, read_races):
        try:
            page = read(answer(document))
        except ProviderFailure:
            continue
        assert page.count == len(page.records)
        check_page(page, after_id=None)


@given(st.lists(st.integers(1, 10_000), unique=True), st.integers(1, 60), st.data())
def test_keyset_paging_sees_everybody_once(registrations: list[int], size: int, data: st.DataObject) -> None:
    """Whatever forms the pages come in, and though people register on the way."""
    roster, seen, after = set(registrations), list[int](), 0
    initial = frozenset(roster)
    while True:
        rows = [raw_person(number) for number in sorted(roster) if number > after][:size]
        form = data.draw(st.sampled_from(["array", "object", "split"]))
        documents: dict[str, Any] = {
            "array": [{"event": EVENT, "participants": rows}],
            "object": {"event": EVENT, "participants": rows},
            "split": [{"event": EVENT}, {"event": EVENT, "participants": rows[::2]}, {"participants": rows[1::2]}],
        }
        page = read_participants(answer(documents[form]))
        check_page(page, after_id=after)
        if not page.count:
            break
        seen += ids(page)
        assert page.last_id is not None
        after = page.last_id
        roster.add(data.draw(st.integers(1, 10_000)))
    assert len(seen) == len(set(seen))
    assert initial <= set(seen)


def test_a_hundred_broken_answers_leave_no_person_in_the_failure() -> None:
    person = raw_person("Marker-Person-4711", user={"first_name": "Marker-Person-4711"})
    for document in ({"people": [person]}, [{"event": {"event_id": 1, "participants": [person]}}], [person]):
        with pytest.raises(ProviderFailure) as caught:
            read_participants(answer(document))
        assert "Marker" not in f"{caught.value!r}{caught.value.__context__!r}"


def test_the_slow_reading_of_a_broken_page_gives_the_same_page() -> None:
    good = sample("participants")
    broken = Answer(200, good.headers, good.body.replace(b'"Ada"', rb'"Ada\udc00"'))
    assert ids(read_participants(broken)) == ids(read_participants(good))
