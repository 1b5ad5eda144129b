"""Settings are read once and validated whole; what is wrong is named, and its value is not told."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.errors import Misconfigured
from shared.settings import Settings, load

PRIVATE = "hunter2-4711"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Away from a developer's own .env."""
    monkeypatch.chdir(tmp_path)


def refusal() -> str:
    with pytest.raises(Misconfigured) as caught:
        load(Settings)
    assert PRIVATE not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    return str(caught.value)


def test_without_any_setting_everything_has_a_default() -> None:
    settings = load(Settings)

    assert (settings.database(), settings.amqp_url, settings.secret_key, settings.caller()) == (None, None, None, None)
    assert settings.runsignup_base_url == "https://api.runsignup.com/rest"
    assert settings.metrics_host == "127.0.0.1"


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_DATABASE_URL", "postgresql://hub@db.example.com/hub")
    monkeypatch.setenv("HUB_METRICS_PORT", "9100")

    settings = load(Settings)

    assert settings.database() == "postgresql://hub@db.example.com/hub"
    assert settings.metrics_port == 9100


def test_settings_come_from_a_file_and_the_environment_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("HUB_METRICS_PORT=9100\nHUB_LOG_LEVEL=DEBUG\n# HUB_LOG_FORMAT=json\n", "utf-8")
    monkeypatch.setenv("HUB_LOG_LEVEL", "ERROR")

    settings = load(Settings)

    assert (settings.metrics_port, settings.log_level, settings.log_format) == (9100, "ERROR", "human")


def test_an_empty_setting_is_none() -> None:
    Path(".env").write_text("HUB_DATABASE_URL=\nHUB_METRICS_PORT=\n", "utf-8")

    assert load(Settings).database() is None


def test_what_is_not_ours_is_left_alone() -> None:
    Path(".env").write_text(f"POSTGRES_PASSWORD={PRIVATE}\nPATH_TO=elsewhere\n", "utf-8")

    assert PRIVATE not in repr(load(Settings))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HUB_METRICS_PORT", PRIVATE),
        ("HUB_METRICS_PORT", "65536"),
        ("HUB_METRICS_PORT", "-1"),
        ("HUB_LOG_LEVEL", PRIVATE),
        ("HUB_LOG_FORMAT", PRIVATE),
        ("HUB_DATABASE_CONNECTIONS", "1"),
        ("HUB_DATABASE_CONNECTIONS", PRIVATE),
        ("HUB_GRACE_SECONDS", "-1"),
    ],
)
def test_an_unusable_setting_is_named_and_its_value_is_not_told(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    said = refusal()

    assert f"{name}: " in said
    assert "correct the environment or .env" in said


def test_every_wrong_setting_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_METRICS_PORT", PRIVATE)
    monkeypatch.setenv("HUB_LOG_LEVEL", PRIVATE)

    said = refusal()

    assert "HUB_METRICS_PORT" in said
    assert "HUB_LOG_LEVEL" in said


def test_a_file_that_is_no_text_is_refused_in_words() -> None:
    Path(".env").write_bytes(b"HUB_LOG_LEVEL=\xff\xfe" + PRIVATE.encode())

    assert refusal() == ".env cannot be read (UnicodeDecodeError); correct or remove it"


def test_a_setting_in_the_file_that_is_wrong_is_named_too() -> None:
    Path(".env").write_text(f"HUB_METRICS_PORT={PRIVATE}\n", "utf-8")

    assert "HUB_METRICS_PORT" in refusal()


@pytest.mark.parametrize("half", ["HUB_RUNSIGNUP_CALLER", "HUB_RUNSIGNUP_CALLER_SECRET"])
def test_half_of_the_caller_registration_is_refused(monkeypatch: pytest.MonkeyPatch, half: str) -> None:
    monkeypatch.setenv(half, PRIVATE)

    with pytest.raises(Misconfigured) as caught:
        load(Settings).caller()

    assert str(caught.value) == "HUB_RUNSIGNUP_CALLER and HUB_RUNSIGNUP_CALLER_SECRET must be set together"


def test_a_whole_caller_registration_is_a_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_RUNSIGNUP_CALLER", "17.token")
    monkeypatch.setenv("HUB_RUNSIGNUP_CALLER_SECRET", PRIVATE)

    assert load(Settings).caller() == ("17.token", PRIVATE)


@pytest.mark.parametrize("name", ["HUB_DATABASE_URL", "HUB_AMQP_URL", "HUB_SECRET_KEY", "HUB_RUNSIGNUP_CALLER_SECRET"])
def test_printed_settings_show_no_secret(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, f"amqp://hub:{PRIVATE}@broker.example.com")

    settings = load(Settings)

    assert PRIVATE not in repr(settings)
    assert PRIVATE not in str(settings)
    assert PRIVATE not in settings.model_dump_json()


def test_settings_do_not_change_after_they_were_read() -> None:
    settings = load(Settings)

    with pytest.raises(ValidationError):
        settings.metrics_port = 1


# -- DB_HOST and its sisters -----------------------------------------------------------------------------------------


def test_the_old_names_of_the_database_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "HOST": "db.example.com",
        "NAME": "hub",
        "USER": "ops",
        "PASSWORD": "pw",
        "PORT": "6432",
    }.items():
        monkeypatch.setenv(f"DB_{name}", value)

    assert load(Settings).database() == "postgresql://ops:pw@db.example.com:6432/hub"


def test_the_address_goes_before_the_old_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_HOST", "old.example.com")
    monkeypatch.setenv("HUB_DATABASE_URL", "postgresql://new.example.com/hub")

    assert load(Settings).database() == "postgresql://new.example.com/hub"


words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)


@given(user=words, password=words, name=words)
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_password_survives_the_way_into_the_address(
    monkeypatch: pytest.MonkeyPatch, user: str, password: str, name: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("DB_HOST", "db.example.com")
        for setting, value in {"DB_USER": user, "DB_PASSWORD": password, "DB_NAME": name}.items():
            patch.setenv(setting, value)
        address = urlsplit(load(Settings).database() or "")

    assert unquote(address.username or "") == user
    assert unquote(address.password or "") == password
    assert unquote(address.path.removeprefix("/")) == name
    assert (address.hostname, address.port) == ("db.example.com", 5432)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("/var/run/postgresql", "postgresql://postgres:@/postgres?host=/var/run/postgresql&port=5432"),
        ("::1", "postgresql://postgres:@[::1]:5432/postgres"),
    ],
)
def test_the_old_host_may_be_a_socket_or_an_address(host: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_HOST", host)

    assert load(Settings).database() == address


def test_an_old_port_that_is_no_number_is_named_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_HOST", "localhost")
    monkeypatch.setenv("DB_PORT", "marker")

    with pytest.raises(Misconfigured, match=r"DB_PORT: ") as caught:
        load(Settings).database()
    assert "marker" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("HUB_LOG_LEVEL=INFO\nthis is not a setting\n", "line 2 of .env is not NAME=value"),
        ('# fine\nHUB_SECRET_KEY="half\n', "ends inside a quoted value"),
    ],
)
def test_a_broken_line_of_the_file_is_told_by_its_number(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(text)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(Misconfigured, match=said):
        load(Settings)


def test_a_well_formed_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("# a note\n\nexport HUB_LOG_FORMAT=json\nHUB_HOME='/tmp/a\n b'\n")
    monkeypatch.chdir(tmp_path)

    assert load(Settings).log_format == "json"
