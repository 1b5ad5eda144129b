"""Platforms are found by their name, and by the number that operators know."""

from collections.abc import Callable
from functools import partial

import pytest

from shared.errors import Never
from shared.providers.port import Provider
from shared.providers.registry import PROVIDERS, by_id, by_name, open_client, told
from shared.settings import Settings


def test_runsignup_is_number_two() -> None:
    assert by_id(2) is by_name("runsignup") is PROVIDERS["runsignup"]


def test_names_and_numbers_are_unique() -> None:
    assert all(name == provider.name for name, provider in PROVIDERS.items())
    assert len({provider.provider_id for provider in PROVIDERS.values()}) == len(PROVIDERS)


@pytest.mark.parametrize("find", [partial(by_name, "marker"), partial(by_id, 99)])
def test_an_unknown_platform_is_refused_with_the_known_ones(find: Callable[[], Provider]) -> None:
    with pytest.raises(Never, match=r"known are: .*runsignup \(2\)") as caught:
        find()
    assert caught.value.reason == "unknown_provider"
    assert "marker" not in str(caught.value)


def test_why_a_key_is_refused_is_told_in_words_with_its_code() -> None:
    assert told(2, "error_6").startswith("RunSignUp: it refused the key: check key and secret")
    assert told(2, "error_6").endswith("(error_6)")
    assert told(2, "opens_nothing") == "the key lists races and may read none of them (opens_nothing)"
    assert told(2, "by an operator") == "by an operator"
    assert told(99, "error_6") == "error_6"


async def test_a_client_is_opened_with_what_the_settings_say() -> None:
    settings = Settings(runsignup_base_url="http://127.0.0.1:1/rest")
    client = open_client("runsignup", settings, timeout_seconds=5)
    assert "127.0.0.1" in repr(client)
    await client.close()
    with pytest.raises(Never):
        open_client("marker", settings, timeout_seconds=5)
