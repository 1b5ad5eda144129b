"""The cursor: never backwards, never past what a pass can vouch for. (That no row is lost: the fetcher's tests.)"""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.cursor import OVERLAP, next_cursor

NOON = datetime(2027, 5, 22, 12, tzinfo=UTC)
instants = st.integers(-5000, 5000).map(lambda seconds: NOON + timedelta(seconds=seconds))
maybe = st.none() | instants


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_the_newest_seen_is_trusted_up_to_the_providers_clock_at_the_first_answer() -> None:
    cursor = next_cursor(newest_seen=at(300), first_answer_at=at(60), first_page_newest=at(30), before=None)

    assert cursor == at(60) - OVERLAP


def test_without_a_date_the_newest_seen_is_trusted_up_to_the_newest_of_the_first_page() -> None:
    cursor = next_cursor(newest_seen=at(300), first_answer_at=None, first_page_newest=at(30), before=None)

    assert cursor == at(30) - OVERLAP


def test_a_quiet_race_moves_up_to_its_newest_edit_and_not_to_the_present() -> None:
    cursor = next_cursor(newest_seen=at(-900), first_answer_at=at(0), first_page_newest=at(-900), before=None)

    assert cursor == at(-900) - OVERLAP


def test_ten_seconds_are_looked_at_again() -> None:
    assert timedelta(seconds=10) == OVERLAP


@given(answer=maybe, first_page=maybe, before=maybe)
def test_nothing_seen_moves_nothing(
    answer: datetime | None, first_page: datetime | None, before: datetime | None
) -> None:
    assert next_cursor(newest_seen=None, first_answer_at=answer, first_page_newest=first_page, before=before) == before


@given(newest=instants, before=maybe)
def test_a_pass_that_can_vouch_for_nothing_moves_nothing(newest: datetime, before: datetime | None) -> None:
    assert next_cursor(newest_seen=newest, first_answer_at=None, first_page_newest=None, before=before) == before


@given(newest=maybe, answer=maybe, first_page=maybe, before=instants)
def test_it_never_goes_back(
    newest: datetime | None, answer: datetime | None, first_page: datetime | None, before: datetime
) -> None:
    cursor = next_cursor(newest_seen=newest, first_answer_at=answer, first_page_newest=first_page, before=before)

    assert cursor is not None
    assert cursor >= before


@given(newest=instants, answer=maybe, first_page=maybe, before=maybe)
def test_it_never_moves_past_what_was_seen_nor_past_what_the_pass_can_vouch_for(
    newest: datetime, answer: datetime | None, first_page: datetime | None, before: datetime | None
) -> None:
    cursor = next_cursor(newest_seen=newest, first_answer_at=answer, first_page_newest=first_page, before=before)

    bound = answer if answer is not None else first_page
    if cursor != before:
        assert cursor is not None
        assert bound is not None
        assert cursor <= newest - OVERLAP
        assert cursor <= bound - OVERLAP


@given(newest=instants, answer=maybe, first_page=maybe, before=maybe)
def test_the_same_pass_again_moves_nothing(
    newest: datetime, answer: datetime | None, first_page: datetime | None, before: datetime | None
) -> None:
    once = next_cursor(newest_seen=newest, first_answer_at=answer, first_page_newest=first_page, before=before)

    assert next_cursor(newest_seen=newest, first_answer_at=answer, first_page_newest=first_page, before=once) == once


@pytest.mark.parametrize("seconds", [0, 10, 60])
def test_the_overlap_can_be_set(seconds: int) -> None:
    overlap = timedelta(seconds=seconds)

    assert next_cursor(
        newest_seen=NOON, first_answer_at=NOON, first_page_newest=None, before=None, overlap=overlap
    ) == at(-seconds)
