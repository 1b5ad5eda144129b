"""When a list is over, where the next page starts, and which batches make up the pass."""

from datetime import datetime
from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.paging import Progress, Range, Received, Stage, after_page, begin, extend, is_last, next_stage
from fetcher.store import restore
from shared.domain.run import Kind, Mode
from tests.builders import NOON, at


def received(
    count: int = 500,
    *,
    last_id: int | None = 7001,
    newest: int | None = 100,
    answered_at: datetime | None = None,
    batches: int = 1,
) -> Received:
    return Received(count, last_id, newest, answered_at, at(0), batches)


def after(
    progress: Progress, got: Received, *, mode: Mode = Mode.FULL, removals: bool = False, attempt: int = 1
) -> Progress:
    return after_page(progress, got, attempt=attempt, mode=mode, removals=removals, smallest_page=50)


@pytest.mark.parametrize(
    ("stage", "mode", "count", "last"),
    [
        (Stage.PARTICIPANTS, Mode.FULL, 2500, False),
        (Stage.PARTICIPANTS, Mode.FULL, 1, False),  # a short page proves nothing
        (Stage.PARTICIPANTS, Mode.FULL, 0, True),
        (Stage.PARTICIPANTS, Mode.INCREMENTAL, 50, False),  # what a server serves at least
        (Stage.PARTICIPANTS, Mode.INCREMENTAL, 49, True),
        (Stage.PARTICIPANTS, Mode.INCREMENTAL, 0, True),
        (Stage.REMOVED, Mode.FULL, 50, False),
        (Stage.REMOVED, Mode.FULL, 49, True),
        (Stage.RACES, Mode.FULL, 50, False),
        (Stage.RACES, Mode.FULL, 49, True),
        (Stage.BIB, Mode.INCREMENTAL, 2500, True),
    ],
)
def test_a_list_is_over_when_nothing_can_follow(stage: Stage, mode: Mode, count: int, last: bool) -> None:
    assert is_last(stage, mode, count, 50) is last


def test_those_who_left_are_asked_for_after_the_people_and_only_when_wanted() -> None:
    assert next_stage(Stage.PARTICIPANTS, removals=True) is Stage.REMOVED
    assert next_stage(Stage.PARTICIPANTS, removals=False) is Stage.DONE
    assert next_stage(Stage.REMOVED, removals=True) is Stage.DONE
    assert next_stage(Stage.RACES, removals=True) is Stage.DONE


@pytest.mark.parametrize(
    ("kind", "stage"),
    [
        (Kind.DISCOVER, Stage.RACES),
        (Kind.VERIFY, Stage.RACES),
        (Kind.RACE, Stage.PARTICIPANTS),
        (Kind.BIB, Stage.BIB),
        (Kind.REPLAY, Stage.DONE),
    ],
)
def test_each_kind_of_run_begins_with_its_own_list(kind: Kind, stage: Stage) -> None:
    assert begin(kind) == Progress(stage)


def test_the_next_page_starts_behind_the_highest_id() -> None:
    assert after(begin(Kind.RACE), received(last_id=7)).last_id == 7


def test_a_page_whose_ids_cannot_be_read_does_not_go_back_to_the_beginning() -> None:
    progress = after(begin(Kind.RACE), received(last_id=7))
    assert after(progress, received(last_id=None)).last_id == 7


def test_the_list_of_removed_starts_from_its_own_beginning() -> None:
    progress = after(after(begin(Kind.RACE), received(last_id=7)), received(0, last_id=None, batches=0), removals=True)
    assert (progress.stage, progress.page, progress.last_id) == (Stage.REMOVED, 1, None)


def test_an_empty_page_adds_no_batches_to_the_pass() -> None:
    progress = after(after(begin(Kind.RACE), received(batches=5)), received(0, batches=0))
    assert (progress.ranges, progress.sequence, progress.pages) == (((1, 1, 5),), 5, 2)


def test_the_first_answer_and_its_newest_stay_those_of_the_first_page() -> None:
    first = received(newest=10, answered_at=at(1))
    progress = after(after(begin(Kind.RACE), first), received(newest=99, answered_at=at(60)))
    assert (progress.first_answer_at, progress.first_page_newest, progress.newest_modified) == (at(1), 10, 99)


def test_a_later_date_never_stands_in_for_a_missing_first_one() -> None:
    first = received(newest=None, answered_at=None)
    progress = after(after(begin(Kind.RACE), first), received(newest=99, answered_at=at(60)))
    assert (progress.first_answer_at, progress.first_page_newest) == (None, None)


@st.composite
def passes(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Pages as (attempt, batches), the attempts rising."""
    attempts = sorted(draw(st.lists(st.integers(1, 4), min_size=1, max_size=10)))
    return [(attempt, draw(st.integers(0, 5))) for attempt in attempts]


@given(passes())
def test_the_ranges_name_each_confirmed_batch_once_with_the_attempt_that_sent_it(pages: list[tuple[int, int]]) -> None:
    progress, sent, sequence = begin(Kind.RACE), [], 0
    for attempt, batches in pages:
        progress = after(progress, received(batches=batches), attempt=attempt)
        for _ in range(batches):
            sequence += 1
            sent.append((attempt, sequence))
    assert [(a, each) for a, first, last in progress.ranges for each in range(first, last + 1)] == sent
    assert progress.sequence == sequence
    assert all(one[0] != two[0] for one, two in pairwise(progress.ranges))  # as few as can be


@given(passes(), st.booleans(), st.booleans())
def test_a_saved_progress_is_restored_as_it_was(pages: list[tuple[int, int]], dated: bool, over: bool) -> None:
    from dataclasses import asdict

    progress = begin(Kind.RACE)
    for attempt, batches in pages:
        got = received(batches=batches, answered_at=at(1.5) if dated else None)
        progress = after(progress, got, attempt=attempt)
    if over:
        progress = after(progress, received(0, batches=0))
    assert restore(orjson.loads(orjson.dumps(asdict(progress))), Kind.RACE) == progress


def test_nothing_saved_is_the_beginning() -> None:
    assert restore({}, Kind.BIB) == begin(Kind.BIB)


@pytest.mark.parametrize(
    ("ranges", "attempt", "result"),
    [
        ((), 1, ((1, 4, 6),)),
        (((1, 1, 3),), 1, ((1, 1, 6),)),
        (((1, 1, 3),), 2, ((1, 1, 3), (2, 4, 6))),
        (((1, 1, 2),), 1, ((1, 1, 2), (1, 4, 6))),
    ],
)
def test_batches_of_one_attempt_that_follow_each_other_are_one_range(
    ranges: tuple[Range, ...], attempt: int, result: tuple[Range, ...]
) -> None:
    assert extend(ranges, attempt, 4, 6) == result


def test_an_empty_page_behind_a_full_one_is_asked_for_once_more() -> None:
    """A list of several pages ends behind one that is no shorter once in a page's length; or somebody lies."""
    progress = walk(Kind.RACE, [2500, 2500, 0])
    assert progress.stage is Stage.PARTICIPANTS
    assert walk(Kind.RACE, [2500, 2500, 0, 0]).stage is Stage.DONE
    assert walk(Kind.RACE, [2500, 2500, 0, 17, 0]).records == 5017


@pytest.mark.parametrize("pages", [[0], [2500, 0], [31, 0], [2500, 2500, 17, 0]])
def test_a_list_that_ends_where_lists_end_costs_no_call_more(pages: list[int]) -> None:
    assert walk(Kind.RACE, pages).stage is Stage.DONE


def walk(kind: Kind, pages: list[int]) -> Progress:
    progress, last_id = begin(kind), 0
    for count in pages:
        last_id += count
        got = Received(count, last_id if count else None, 1, None, NOON, batches=-(-count // 500))
        progress = after_page(progress, got, attempt=1, mode=Mode.FULL, removals=False, smallest_page=50)
    return progress


@pytest.mark.parametrize(("people", "is_doubted"), [(2500, True), (2499, False)])
def test_an_empty_page_behind_a_single_full_one_is_asked_for_once_more(people: int, is_doubted: bool) -> None:
    """Else one lie removes those behind it: a race of 2,510 people lacks ten, too few to be held."""

    def page(progress: Progress, count: int) -> Progress:
        got = received(count, last_id=7001 if count else None)
        return after_page(progress, got, attempt=1, mode=Mode.FULL, removals=False, smallest_page=50, full_page=2500)

    ended = page(page(begin(Kind.RACE), people), 0)
    assert (ended.stage is Stage.PARTICIPANTS, ended.is_doubted) == (is_doubted, is_doubted)
    assert page(ended, 0).stage is Stage.DONE or not is_doubted
