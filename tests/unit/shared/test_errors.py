"""An error is one sentence with its remedy, which can also be told apart."""

from socket import gaierror

import asyncpg
import pytest

from shared.errors import Later, Stop, advised
from shared.postgres.errors import translate


def test_a_remedy_stands_behind_what_happened_and_can_be_told_apart() -> None:
    error = Stop("the schema is behind", remedy="run `hub migrate`")
    assert str(error) == "the schema is behind; run `hub migrate`"
    assert (error.what, error.remedy) == ("the schema is behind", "run `hub migrate`")
    assert str(Stop("it is so")) == "it is so"


def test_whoever_starts_is_told_what_to_start_instead_of_where_to_look() -> None:
    with pytest.raises(Later) as raised, advised("start the database"):
        raise translate(ConnectionRefusedError(), "connecting")
    assert str(raised.value) == (
        "connecting: the database cannot be reached (ConnectionRefusedError); start the database"
    )


def test_a_host_that_no_name_service_knows_is_told_in_words() -> None:
    said = str(translate(gaierror(-2, "Name or service not known"), "connecting"))
    assert said == "connecting: the database cannot be reached (nobody knows its host's name); see: hub doctor"


def test_a_database_that_does_not_exist_is_told_with_its_state_and_what_to_do() -> None:
    error = translate(asyncpg.InvalidCatalogNameError("secret name"), "connecting")
    assert isinstance(error, Stop)
    assert error.what == "connecting: the database does not exist (SQLSTATE 3D000)"
    assert error.remedy == "create it, or correct HUB_DATABASE_URL"
