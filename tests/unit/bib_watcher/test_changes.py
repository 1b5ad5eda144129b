"""What bib diffs mean, and when they ask for another look."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bib_watcher.changes import QUIET, BibDiff, BibKind, FollowUp, follow_up, interpret, kind_of
from shared.domain.bibs import Wearer, conflicting, families
from shared.domain.run import Reason

BUNDLE = {each: {"1", "2", "3"} for each in "123"}  # event 1 is a bundle of 2 and 3


def a_diff(
    before: str | None, after: str | None, *, registration: str = "7001", event: str = "1", feed_id: int = 1
) -> BibDiff:
    return BibDiff(feed_id, registration, event, before, after)


def kinds(
    *diffs: BibDiff,
    wearers: dict[str, list[Wearer]] | None = None,
    bundles: dict[str, set[str]] | None = None,
) -> list[tuple[BibKind, str, str | None]]:
    events = interpret(diffs, wearers or {}, bundles or {})
    return [(each.kind, each.diff.registration_id, each.other_registration_id) for each in events]


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [(None, "5", BibKind.GIVEN), ("5", "6", BibKind.CHANGED), ("5", None, BibKind.CLEARED)],
)
def test_a_single_change_is_given_changed_or_cleared(before: str | None, after: str | None, kind: BibKind) -> None:
    assert kinds(a_diff(before, after)) == [(kind, "7001", None)]


def test_a_bib_that_is_the_same_is_no_event() -> None:
    assert kinds(a_diff("5", "5")) == []


def test_two_people_who_took_each_others_bibs_swapped_them() -> None:
    one, two = a_diff("5", "6", registration="1"), a_diff("6", "5", registration="2")
    assert kinds(one, two) == [(BibKind.SWAPPED, "1", "2"), (BibKind.SWAPPED, "2", "1")]


def test_three_people_in_a_ring_changed_and_did_not_swap() -> None:
    ring = [a_diff(*pair, registration=pair[0]) for pair in (("5", "6"), ("6", "7"), ("7", "5"))]
    assert [kind for kind, _, _ in kinds(*ring)] == [BibKind.CHANGED] * 3


def test_one_person_who_went_there_and_back_did_not_swap_with_themselves() -> None:
    assert [kind for kind, _, _ in kinds(a_diff("5", "6"), a_diff("6", "5", feed_id=2))] == [BibKind.CHANGED] * 2


def test_a_bib_that_passed_on_is_cleared_and_given() -> None:
    left, came = a_diff("5", None, registration="1"), a_diff(None, "5", registration="2")
    assert kinds(left, came, wearers={"5": [Wearer("2", "1")]}) == [
        (BibKind.CLEARED, "1", None),
        (BibKind.GIVEN, "2", None),
    ]


def test_a_bib_that_somebody_else_wears_is_told_twice() -> None:
    worn = {"5": [Wearer("7001", "1"), Wearer("7002", "1")]}
    assert kinds(a_diff(None, "5"), wearers=worn) == [
        (BibKind.GIVEN, "7001", None),
        (BibKind.DUPLICATE, "7001", "7002"),
    ]


@pytest.mark.parametrize("other_event", ["2", "3"])
@pytest.mark.parametrize("event", ["1", "2"])
def test_a_bundle_repeats_the_bib_of_its_owner_in_its_sub_events(event: str, other_event: str) -> None:
    if event == other_event:
        return
    worn = {"5": [Wearer("7001", event, "u1"), Wearer("7002", other_event, "u1")]}
    assert kinds(a_diff(None, "5", event=event), wearers=worn, bundles=BUNDLE) == [(BibKind.GIVEN, "7001", None)]


def test_whoever_passed_the_bib_on_meanwhile_shares_it_with_nobody() -> None:
    assert kinds(a_diff(None, "5"), wearers={"5": [Wearer("7002", "1")]}) == [(BibKind.GIVEN, "7001", None)]


def test_in_a_bundle_somebody_else_with_the_bib_is_a_duplicate() -> None:
    worn = {"5": [Wearer("7001", "1", "u1"), Wearer("7002", "2", "u2")]}
    assert (BibKind.DUPLICATE, "7001", "7002") in kinds(a_diff(None, "5"), wearers=worn, bundles=BUNDLE)


@pytest.mark.parametrize(("mine", "theirs"), [(None, "u2"), ("u1", None), (None, None)])
def test_in_a_bundle_whoever_is_not_known_is_given_the_benefit_of_the_doubt(
    mine: str | None, theirs: str | None
) -> None:
    worn = {"5": [Wearer("7001", "1", mine), Wearer("7002", "2", theirs)]}
    assert kinds(a_diff(None, "5"), wearers=worn, bundles=BUNDLE) == [(BibKind.GIVEN, "7001", None)]


@pytest.mark.parametrize("user", ["u1", None])
def test_two_registrations_of_one_event_are_a_duplicate_though_it_belongs_to_a_bundle(user: str | None) -> None:
    worn = {"5": [Wearer("7001", "2", user), Wearer("7002", "2", user)]}
    assert (BibKind.DUPLICATE, "7001", "7002") in kinds(a_diff(None, "5", event="2"), wearers=worn, bundles=BUNDLE)


def test_a_bundle_without_sub_events_of_this_race_excuses_nobody() -> None:
    worn = {"5": [Wearer("7001", "1", "u1"), Wearer("7002", "9", "u1")]}
    assert (BibKind.DUPLICATE, "7001", "7002") in kinds(a_diff(None, "5"), wearers=worn, bundles=BUNDLE)


@pytest.mark.parametrize(
    ("bib", "ranges", "is_told"),
    [
        ("100", {"1": [(100, 499)]}, False),
        ("0499", {"1": [(100, 499)]}, False),
        ("500", {"1": [(100, 499)]}, True),
        ("700", {"1": [(100, 499), (700, 850)]}, False),
        ("A12", {"1": [(100, 499)]}, True),
        ("5", {"1": []}, False),
        ("5", {}, False),
        ("5", {"4": [(100, 499)]}, False),
    ],
    ids=["first", "last", "beyond", "second range", "no number", "any", "not told", "another event's"],
)
def test_a_bib_that_its_event_does_not_give_out_is_told_too(
    bib: str, ranges: dict[str, list[tuple[int, int]]], is_told: bool
) -> None:
    worn = {bib: [Wearer("7001", "1", "u1")]}
    told = [each.kind for each in interpret([a_diff(None, bib)], worn, {}, ranges=ranges)]
    assert told == [BibKind.GIVEN, *([BibKind.OUT_OF_RANGE] if is_told else [])]


def test_a_bundles_bib_is_in_range_in_its_sub_events_and_a_strangers_is_not() -> None:
    worn = {"5": [Wearer("7001", "1", "u1"), Wearer("7002", "2", "u1"), Wearer("7003", "2", "u3")]}
    diffs = [a_diff(None, "5", registration=who.registration_id, event=who.event_id) for who in worn["5"]]
    told = interpret(diffs, worn, BUNDLE, ranges={"1": [(1, 9)], "2": [(100, 199)]})
    assert [each.diff.registration_id for each in told if each.kind is BibKind.OUT_OF_RANGE] == ["7003"]


def test_whoever_passed_a_bib_on_meanwhile_is_not_out_of_range() -> None:
    told = interpret([a_diff(None, "5")], {"5": []}, {}, ranges={"1": [(100, 199)]})
    assert [each.kind for each in told] == [BibKind.GIVEN]


bibs = st.none() | st.sampled_from(["1", "2", "3", "4"])


@given(st.lists(st.tuples(st.sampled_from("abcde"), bibs, bibs), max_size=8))
def test_every_change_is_told_once_in_the_order_of_the_feed(
    rows: list[tuple[str, str | None, str | None]],
) -> None:
    numbers = count(1)
    diffs = [a_diff(before, after, registration=who, feed_id=next(numbers)) for who, before, after in rows]
    told = interpret(diffs, {}, {})
    assert [each.diff.feed_id for each in told] == [each.feed_id for each in diffs if each.before != each.after]


@given(st.permutations(list("abcdef")))
def test_a_swap_is_told_on_both_sides(order: list[str]) -> None:
    """Bibs dealt out anew among people: whoever exchanged with exactly one other says so, as does the other."""
    before = dict(zip("abcdef", "123456", strict=True))
    diffs = [
        a_diff(before[who], before[took], registration=who, feed_id=number)
        for number, (who, took) in enumerate(zip("abcdef", order, strict=True))
    ]
    partners = {
        each.diff.registration_id: each.other_registration_id
        for each in interpret(diffs, {}, {})
        if each.kind is BibKind.SWAPPED
    }
    assert all(partners[str(other)] == who for who, other in partners.items())
    takes = dict(zip("abcdef", order, strict=True))
    assert set(partners) == {who for who, took in takes.items() if took != who and takes[took] == who}


@pytest.mark.parametrize("kind", BibKind)
@pytest.mark.parametrize("reason", sorted(QUIET))
def test_a_follow_up_or_a_first_load_is_not_followed_up(reason: Reason, kind: BibKind) -> None:
    assert follow_up(reason, {kind}) is None


def test_a_run_without_bib_events_is_not_followed_up() -> None:
    assert follow_up(Reason.SCHEDULE, set()) is None


@pytest.mark.parametrize("reason", [Reason.SCHEDULE, Reason.OPERATOR])
@pytest.mark.parametrize(
    ("kind", "removals"),
    [
        (BibKind.GIVEN, False),
        (BibKind.CHANGED, False),
        (BibKind.SWAPPED, True),
        (BibKind.CLEARED, True),
        (BibKind.DUPLICATE, True),
    ],
)
def test_a_bib_that_moved_between_people_asks_who_left_too(reason: Reason, kind: BibKind, removals: bool) -> None:
    assert follow_up(reason, {kind}) == FollowUp(removals=removals)


def test_a_blank_within_hours_of_the_start_is_an_event_of_its_own_kind_and_asks_who_left() -> None:
    blank = a_diff("5", None, event="1")
    assert kind_of(blank, {"1"}) is BibKind.BLANKED
    assert kind_of(blank, {"2"}) is BibKind.CLEARED  # another event of the race starts
    (event,) = interpret([blank], {}, {}, {"1"})
    assert (event.kind, event.diff.before) == (BibKind.BLANKED, "5")
    assert follow_up(Reason.SCHEDULE, {event.kind}) == FollowUp(removals=True)


def test_a_bib_of_somebody_who_left_is_cleared_and_not_blanked() -> None:
    assert kind_of(BibDiff(1, "7001", "1", "5", None, is_removal=True), {"1"}) is BibKind.CLEARED


def test_a_conflict_names_all_who_are_in_it_and_nobody_of_a_bundle() -> None:
    related = families([("1", ["2", "3"]), ("4", [])])
    owner, copy, stranger = Wearer("a", "1", "u1"), Wearer("b", "2", "u1"), Wearer("c", "4", "u2")
    assert conflicting([owner, copy], related) == []
    assert conflicting([owner, copy, stranger], related) == [owner, copy, stranger]
    assert conflicting([owner, Wearer("d", "2", "u9")], related) != []  # two people, bundled or not
