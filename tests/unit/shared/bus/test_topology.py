import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.topology import (
    CLASSES,
    DEAD_QUEUE,
    RETRY_DELAYS,
    fetch_queue,
    fetch_queues,
    matches,
    queues,
    retry_exchange,
    retry_queue,
)

PROVIDERS = ("runsignup", "raceroster")


def bound_to(routing_key: str) -> list[str]:
    return [
        queue.name for queue in queues(PROVIDERS) if any(matches(pattern, routing_key) for pattern in queue.bindings)
    ]


@pytest.mark.parametrize("sync_class", CLASSES)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_request_waits_in_the_queue_of_its_provider_and_class(provider: str, sync_class: str) -> None:
    assert bound_to(f"sync.request.v1.{provider}.{sync_class}") == [fetch_queue(provider, sync_class)]


@pytest.mark.parametrize("sync_class", CLASSES)
@pytest.mark.parametrize(
    "kind", ["races.fetched.v1", "participants.fetched.v1", "participants.removed.v1", "sync.fetched.v1"]
)
def test_what_was_fetched_waits_for_the_writer_by_class(kind: str, sync_class: str) -> None:
    assert bound_to(f"{kind}.{sync_class}") == [f"write.{sync_class}"]


def test_events_have_their_reader() -> None:
    assert bound_to("participants.changed.v1") == ["watch"]
    assert bound_to("sync.completed.v1") == ["schedule"]
    assert bound_to("bib.changed.v1") == []


def test_the_nearest_class_is_the_first_lane() -> None:
    assert fetch_queues("runsignup") == tuple(f"fetch.runsignup.{each}" for each in CLASSES)
    assert CLASSES[0] == "raceday"


def test_names_are_unique() -> None:
    names = [queue.name for queue in queues(PROVIDERS)]
    names += [DEAD_QUEUE, *map(retry_queue, RETRY_DELAYS), *map(retry_exchange, RETRY_DELAYS)]
    assert len(names) == len(set(names))


def test_delays_ascend() -> None:
    assert list(RETRY_DELAYS) == sorted(set(RETRY_DELAYS))


@pytest.mark.parametrize(
    ("pattern", "key", "expected"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("a.#", "a", True),
        ("a.#", "a.b.c", True),
        ("#", "", True),
        ("#.c", "a.b.c", True),
        ("#.c", "a.b", False),
    ],
)
def test_patterns_match_as_the_broker_says(pattern: str, key: str, expected: bool) -> None:
    assert matches(pattern, key) is expected


words = st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=5)


@given(words, st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=5))
def test_without_hashes_a_pattern_is_a_regular_expression_by_words(pattern: list[str], key: list[str]) -> None:
    expression = r"\.".join("[^.]+" if word == "*" else word for word in pattern)
    assert matches(".".join(pattern), ".".join(key)) is bool(re.fullmatch(expression, ".".join(key)))
