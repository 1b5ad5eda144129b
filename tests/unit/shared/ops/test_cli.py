"""The entrance: wrong usage is one sentence and exit code 2, and nothing that was typed as a value is repeated."""

from importlib.metadata import version

import orjson
import pytest

from shared.errors import Later, Misconfigured, Never, Stop
from shared.ops.cli import app, code, main, sentence
from shared.ops.desk import check_address, place
from shared.ops.failing import WrongUsage
from shared.postgres.migrate import migrations

SECRET = "s3cret-Quorvexil"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    result = main(list(words))
    captured = capsys.readouterr()
    return result, captured.out, captured.err


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["sync", "--bogus"],
        ["history", "--limit", "many"],
        ["history", "--limit", "0"],
        ["changes", "--since", "-1"],
        ["sync", "--timeout", "0"],
        ["bibs"],
        ["bib", "--race", "1"],
        ["partner", "add", "--name", "x"],
        ["partner", "add", "--name", "x", "--key", "k", "--secret", SECRET, "and", "more"],
        ["partner", "add", "--name", "x", "--key", "k", "--secret", SECRET, "--form", "v3"],
        ["partner", "add", "--name", "x", "--key", "k", "--secret", SECRET, "--provider", "chronotrack"],
        ["partner", "add", "--name", " ", "--key", "k", "--secret", SECRET],
        ["partner", "add", "--name", "x" * 256, "--key", "k", "--secret", SECRET],
        ["partner", "add", "--name", "x", "--key", "k" * 300, "--secret", SECRET],
        ["partner", "add", "--name", "x", "--key", "k", "--secret", f"{SECRET} {SECRET}"],
        ["partner", "add", "--name", "x", "--key", "k", "--secret", f"{SECRET}é"],
        ["partner", "add", "--name", "x", "--key", "k", "--secret", SECRET, "--secret-file", "f"],
        ["partner", "add", "--name", "x", "--key", "k", "--secret-file", "/nowhere"],
        ["partner", "verify"],
        ["inject"],
        ["inject", "/nowhere"],
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    result, out, err = run(capsys, *words)
    assert result == 2
    assert out == ""
    assert err.startswith("hub: ")
    assert err.count("hub: ") == 1
    assert all(len(line) <= 80 for line in err.splitlines())
    assert SECRET not in err


def test_an_unknown_provider_is_answered_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    _, _, err = run(
        capsys, "partner", "add", "--name", "x", "--key", "k", "--secret", SECRET, "--provider", "chronotrack"
    )
    assert "runsignup" in err


def _commands() -> list[list[str]]:
    found = [[each.name or ""] for each in app.registered_commands]
    for group in app.registered_groups:
        assert group.typer_instance is not None
        found.append([group.name or ""])
        found += [
            [group.name or "", str(each.name or getattr(each.callback, "__name__", "")).strip("_")]
            for each in group.typer_instance.registered_commands
        ]
    return [[word or "up" for word in words] for words in found]


@pytest.mark.parametrize("words", _commands(), ids=" ".join)
def test_every_command_has_help_that_fits_80_columns_with_an_example(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result, out, _ = run(capsys, *words, "--help")
    assert result == 0
    assert max(len(line) for line in out.splitlines()) <= 80
    is_group = any(group.name == words[-1] for group in app.registered_groups)
    assert is_group or f"Example: hub {words[0]}" in out


def test_the_entrance_fits_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result, out, _ = run(capsys, "--help")
    assert result == 0
    assert max(len(line) for line in out.splitlines()) <= 80


def test_the_version_is_the_programs_and_its_schemas(capsys: pytest.CaptureFixture[str]) -> None:
    newest = migrations()[-1].version
    assert run(capsys, "--version") == (0, f"hub {version('shared')}, schema {newest}\n", "")


def test_the_debug_option_is_understood_at_any_place(capsys: pytest.CaptureFixture[str]) -> None:
    result, _, err = run(capsys, "inject", "/nowhere", "--debug")
    assert result == 2
    assert "Traceback" in err


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (WrongUsage("x"), 2),
        (Misconfigured("x"), 2),
        (Stop("x"), 1),
        (Later("x"), 1),
        (Never("x"), 1),
        (ValueError(SECRET), 1),
    ],
)
def test_every_error_has_its_exit_code(error: Exception, expected: int) -> None:
    assert code(error) == expected


def test_what_nobody_expected_is_told_without_its_text() -> None:
    said = sentence(ValueError(SECRET))
    assert SECRET not in said
    assert "ValueError" in said
    assert "--debug" in said


@pytest.mark.parametrize(
    "address",
    [
        "mysql://u:p@h/d",
        f"postgresql://u:{SECRET}/x@h/d",
        f"postgresql://u:p@h:{SECRET}/d",
        SECRET,
        "",
    ],
)
def test_a_database_address_that_is_none_is_not_repeated(address: str) -> None:
    with pytest.raises(Misconfigured, match="postgresql://user") as caught:
        check_address(address)
    assert SECRET not in str(caught.value)


def test_a_place_is_named_without_user_and_password() -> None:
    assert place(f"postgresql://u:{SECRET}@db.example.com/x") == "db.example.com:5432"


def test_a_broken_setting_is_named_without_its_value(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_METRICS_PORT", SECRET)
    result, _, err = run(capsys, "status")
    assert result == 2
    assert "HUB_METRICS_PORT" in err
    assert SECRET not in err


def test_a_doctor_says_what_is_wrong_with_the_settings_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_DATABASE_CONNECTIONS", "many")
    result, out, _ = run(capsys, "doctor", "--json")
    assert result == 1
    assert [each["verdict"] for each in orjson.loads(out)["findings"]] == ["ok", "bad"]


@pytest.mark.parametrize(
    "variables",
    [
        {"_HUB_COMPLETE": "complete_bash", "COMP_WORDS": "hub partner ro", "COMP_CWORD": "2"},
        {"_HUB_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "hub partner ro"},
        {
            "_HUB_COMPLETE": "complete_fish",
            "_TYPER_COMPLETE_ARGS": "hub partner ro",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        },
    ],
    ids=["bash", "zsh", "fish"],
)
def test_commands_are_completed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main([])
    assert not ended.value.code
    assert "rotate" in capsys.readouterr().out
