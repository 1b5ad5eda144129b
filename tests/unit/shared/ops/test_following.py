"""What a waited-for run means for the exit code."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from shared.domain.run import State
from shared.ops.following import Outcome, Run, outcome, reason, total

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
COUNTS = ("pages", "calls", "fetched", "added", "updated", "unchanged", "stale", "removed", "restored", "quarantined")


def a_run(number: int = 1, state: State = State.RUNNING, **values: Any) -> Run:
    blank: dict[str, Any] = dict.fromkeys(("started_at", "not_before", "error_code", "error"))
    return Run(UUID(int=number), state, **{**blank, **dict.fromkeys(COUNTS, 0), **values})


def test_only_all_of_it_is_success() -> None:
    assert (outcome(5, 0), outcome(4, 1), outcome(0, 5)) == (Outcome.ALL, Outcome.PART, Outcome.NONE)
    assert [int(each) for each in (Outcome.ALL, Outcome.PART, Outcome.NONE)] == [0, 3, 1]


def test_nothing_to_do_is_done() -> None:
    assert outcome(0, 0) is Outcome.ALL


def test_an_expired_run_is_over_and_not_written() -> None:
    run = a_run(state=State.EXPIRED)
    assert run.is_over
    assert not run.is_written


def test_a_run_that_goes_on_from_pages_older_than_the_ask_does_not_satisfy_it() -> None:
    assert a_run(started_at=NOON - timedelta(minutes=5)).is_older_than(NOON)
    assert not a_run(started_at=NOON + timedelta(milliseconds=3)).is_older_than(NOON)
    assert not a_run().is_older_than(NOON)


def test_why_something_is_not_written_is_always_said() -> None:
    assert reason(None) == "it was not begun yet"
    assert reason(a_run(state=State.FAILED, error="RunSignUp: no")) == "RunSignUp: no"
    assert reason(a_run(state=State.EXPIRED)) == "it expired"
    assert reason(a_run(state=State.QUEUED, not_before=NOON, error_code="budget")) == (
        "it waits until 12:00:00 UTC (budget)"
    )


def test_two_asks_that_one_run_satisfies_count_it_once() -> None:
    assert total([a_run(1, added=3), a_run(1, added=3), a_run(2, added=4)], "added") == {"added": 7}
