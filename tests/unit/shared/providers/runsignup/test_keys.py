"""The form of a key is checked in a sentence that never repeats the key."""

import pytest

from shared.providers.runsignup.keys import check_key


def test_a_usual_key_is_fine() -> None:
    assert check_key("gEl8GVUYwcGG1PFUT8OoDr1UqdD5MYgF", "s3cr3t-_.~!") is None


@pytest.mark.parametrize(
    ("key", "secret", "told"),
    [
        ("", "s", "key is empty"),
        ("k", " ", "secret is empty"),
        ("Marker 4711", "s", "key has a blank"),
        ("k", "Marker4711\n", "secret has a blank"),
        ("Marker4711" * 30, "s", "key is 300 characters long"),
        ("k", "Marker4711é", "secret has characters"),
        ("Marker4711\x00", "s", "key has characters"),
        ("Marker4711\ud800", "s", "key has characters"),
    ],
)
def test_a_key_that_cannot_be_one_is_refused_unseen(key: str, secret: str, told: str) -> None:
    sentence = check_key(key, secret)
    assert sentence is not None
    assert told in sentence
    assert "Marker" not in sentence
