from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.retry import Dead, Halt, Policy, Retry, Verdict, after_failure
from shared.errors import Later, Misconfigured, Never, Stop

NOW = datetime(2026, 7, 4, 8, 0, tzinfo=UTC)
POLICY = Policy()


def decide(
    error: BaseException, *, attempt: int = 1, age: timedelta = timedelta(0), policy: Policy = POLICY, seed: int = 0
) -> Verdict:
    return after_failure(error, attempt=attempt, first_seen=NOW - age, now=NOW, policy=policy, random=Random(seed))


def test_later_is_tried_again() -> None:
    assert isinstance(decide(Later("the provider is down")), Retry)


def test_an_unknown_exception_is_tried_again_and_named_by_its_class_alone() -> None:
    verdict = decide(ValueError("Ann Runner"))
    assert isinstance(verdict, Retry)
    assert verdict.cause == "ValueError"


def test_never_is_dead_at_once_with_its_reason() -> None:
    assert decide(Never("no race 17", reason="unknown_race")) == Dead("unknown_race")


@pytest.mark.parametrize("error", [Stop("newer schema"), Misconfigured("HUB_X is missing")])
def test_stop_halts_however_often_it_was_tried(error: Stop) -> None:
    assert decide(error, attempt=99) == Halt()


def test_the_last_attempt_is_followed_by_death() -> None:
    assert isinstance(decide(Later("x"), attempt=POLICY.attempts - 1), Retry)
    assert decide(Later("x"), attempt=POLICY.attempts) == Dead("attempts:Later")


def test_a_message_too_old_is_dead() -> None:
    assert isinstance(decide(Later("x"), age=timedelta(minutes=119)), Retry)
    assert decide(KeyError("x"), age=timedelta(hours=2)) == Dead("age:KeyError")


@pytest.mark.parametrize(("asked", "delay"), [(0, 1), (1, 1), (1.5, 2), (45, 60), (600, 600), (86400, 600)])
def test_the_other_sides_wish_is_the_smallest_wait_that_grants_it(asked: float, delay: int) -> None:
    assert decide(Later("rate-limited", retry_after=asked)) == Retry(delay, "Later")


def test_waits_grow_to_the_longest() -> None:
    waits = [retry.delay for n in range(1, 8) if isinstance(retry := decide(Later("x"), attempt=n, seed=n), Retry)]
    assert waits == sorted(waits)
    assert waits[-1] == 600


def test_what_failed_together_does_not_come_back_together() -> None:
    waits = {decide(Later("x"), attempt=3, seed=seed) for seed in range(50)}
    assert len(waits) > 1


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("Ann Runner <ann@example.com>", "Ann-Runner-ann-example.com"),
        ("", "unusable"),
        ("\n", "unusable"),
        ("x" * 500, "x" * 48),
    ],
)
def test_a_reason_is_bounded_whatever_somebody_put_into_it(reason: str, word: str) -> None:
    assert decide(Never("no", reason=reason)) == Dead(word)


def test_a_stop_inside_a_group_halts() -> None:
    group = ExceptionGroup("two tasks", [Never("a"), ExceptionGroup("inner", [Misconfigured("b")])])
    assert decide(group) == Halt()


def test_a_group_is_never_only_if_all_of_it_is() -> None:
    assert decide(ExceptionGroup("two", [Never("a", reason="a"), Never("b", reason="b")])) == Dead("a")
    mixed = decide(ExceptionGroup("two", [Never("a"), KeyError("b")]))
    assert isinstance(mixed, Retry)
    assert mixed.cause == "KeyError"


errors = st.one_of(
    st.builds(Later, st.text(), retry_after=st.one_of(st.none(), st.floats(0, 1e9))),
    st.builds(lambda text: Never(text, reason=text), st.text()),
    st.builds(Stop, st.text()),
    st.builds(ValueError, st.text()),
)


@given(
    error=errors,
    attempt=st.integers(1, 10_000),
    age=st.timedeltas(timedelta(days=-1), timedelta(days=400)),
    seed=st.integers(0, 1000),
)
def test_every_failure_has_a_bounded_consequence(error: BaseException, attempt: int, age: timedelta, seed: int) -> None:
    match decide(error, attempt=attempt, age=age, seed=seed):
        case Retry(delay, cause):
            assert delay in POLICY.delays
            assert attempt < POLICY.attempts
            assert 0 < len(cause) <= 48
        case Dead(reason):
            assert 0 < len(reason) <= 64
            assert reason.isascii()
            assert reason.isprintable()
        case Halt():
            assert isinstance(error, Stop)


@given(st.floats(0, 600), st.integers(0, 1000))
def test_a_wish_is_never_undercut(asked: float, seed: int) -> None:
    verdict = decide(Later("wait", retry_after=asked), seed=seed)
    assert isinstance(verdict, Retry)
    assert verdict.delay >= asked
