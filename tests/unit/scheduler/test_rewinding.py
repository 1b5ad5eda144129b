"""How far a run of a backfill is put back when what was on its way is gone: to the last page that is written whole."""

from typing import Any

import pytest

from scheduler.rewinding import rewound

#: Three pages of two batches; the second attempt went on at the third page.
PROGRESS: dict[str, Any] = {
    "stage": "participants", "page": 4, "last_id": 599, "sequence": 6, "ranges": [[1, 1, 4], [2, 5, 6]],
    "marks": [[2, 199, 200, 1], [4, 399, 400, 2], [6, 599, 600, 3]], "records": 600, "pages": 3, "last_count": 200,
    "longest": 200, "is_doubted": False, "newest_modified": 7,
}  # fmt: skip
ALL = ((1, 1), (1, 2), (1, 3), (1, 4), (2, 5), (2, 6))


def test_a_run_that_is_written_as_far_as_it_is_fetched_goes_on_as_it_is() -> None:
    assert rewound(PROGRESS, ALL) == PROGRESS


@pytest.mark.parametrize(
    ("applied", "ranges", "page"),
    [
        (ALL[:5], [[1, 1, 4]], [4, 399, 400, 2]),  # half of the third page: the whole of it is fetched again
        (ALL[:3], [[1, 1, 2]], [2, 199, 200, 1]),
        ((*ALL[:2], *ALL[3:]), [[1, 1, 2]], [2, 199, 200, 1]),  # behind a gap nothing counts
        ((*ALL[:4], (1, 5), (1, 6)), [[1, 1, 4]], [4, 399, 400, 2]),  # another attempt than the pass is made of
    ],
)
def test_it_goes_on_behind_the_last_page_before_the_first_gap(
    applied: tuple[tuple[int, int], ...], ranges: list[list[int]], page: list[int]
) -> None:
    back = rewound(PROGRESS, applied)
    assert [back[name] for name in ("sequence", "last_id", "records", "pages")] == page
    assert back["ranges"] == ranges
    assert back["marks"][-1] == page
    assert back["newest_modified"] == 7


def test_an_end_that_was_known_is_told_again_and_one_before_its_time_is_taken_back() -> None:
    done = {**PROGRESS, "stage": "done", "last_id": None, "end": {"records": 600}}
    assert rewound(done, ALL) == {**PROGRESS, "stage": "done", "last_id": None}
    back = rewound(done, ALL[:5])
    assert (back["stage"], back["last_id"], "end" in back) == ("participants", 399, False)


def test_without_its_first_page_or_at_another_list_it_begins_anew() -> None:
    assert rewound(PROGRESS, ALL[1:]) == {}
    assert rewound(PROGRESS, ALL[:1]) == {}
    assert rewound({}, ()) == {}
    assert rewound({**PROGRESS, "stage": "removed"}, ALL) == {}
