"""The runbook names only commands and options that exist, and has a heading for every alert."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from shared.ops.cli import app

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "k8s" / "RUNBOOK.md").read_text()
COMMANDS = sorted(set(re.findall(r"(?<![\w/.-])hub ([a-z][^`\n|&;#)]*?)\s*(?=[`\n|&;#)])", TEXT)))


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_of_the_runbook_exists_with_its_options(words: str) -> None:
    command: Any = typer.main.get_command(app)
    given = shlex.split(words.replace("'", ""))
    while hasattr(command, "commands"):
        name = given.pop(0)
        assert name in command.commands, f"hub {words}: no {name}"
        command = command.commands[name]
    known = {option for each in command.params for option in each.opts}
    assert {each.partition("=")[0] for each in given if each.startswith("--")} <= known


def test_every_alert_leads_to_its_heading_and_every_heading_has_its_alert() -> None:
    rules = (ROOT / "k8s" / "observability" / "prometheus" / "rules" / "hub.yml").read_text()
    alerts = re.findall(r"- alert: (\w+)", rules)
    links = re.findall(r"runbook: k8s/RUNBOOK\.md#(\w+)", rules)
    headings = re.findall(r"^## ([A-Z]\w+)$", TEXT.partition("# What an operator does")[0], re.MULTILINE)
    assert links == [each.lower() for each in alerts]
    assert sorted(alerts) == sorted(headings)
