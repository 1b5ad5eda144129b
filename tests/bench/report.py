"""Figures on the screen, in results.json, and in the README between its markers."""

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.figures import Figure, number
from tests.bench.history import remember

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
README = HERE / "README.md"
BEGIN, END = "<!-- measured: written by make bench -->", "<!-- end of measured -->"
WORDS = {True: "yes", False: "no", None: "–"}


def show(console: Console, figures: Sequence[Figure]) -> None:
    """A table for people, with what stands behind each figure below it."""
    table = Table(title="Benchmarks", title_justify="left")
    for heading in ("what", "figure", "target", "reached"):
        table.add_column(heading, justify="right" if heading in {"figure", "target"} else "left")
    for each in figures:
        reached = WORDS[each.reached]
        table.add_row(
            each.name,
            f"{number(each.figure)} {each.unit}",
            "" if each.target is None else str(each.target),
            f"[red]{reached}[/red]" if each.reached is False else reached,
        )
    console.print(table)
    for each in figures:
        console.print(f"[bold]{each.name}[/bold]: {each.detail}", highlight=False)


def write(figures: Sequence[Figure], path: Path) -> None:
    """Every figure, one object a figure."""
    path.write_text(json.dumps([each.as_json() for each in figures], ensure_ascii=False, indent=2) + "\n")


def keep(figures: Sequence[Figure]) -> None:
    """Renew what is kept in results.json and the README; figures that were not measured this time stay."""
    measured = {each.name: each.as_json() for each in figures}
    stored: list[dict[str, Any]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    merged = {each["name"]: each for each in stored} | measured
    RESULTS.write_text(json.dumps(list(merged.values()), ensure_ascii=False, indent=2) + "\n")
    remember({each.name: each.figure for each in figures})
    text = README.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    README.write_text(before + BEGIN + "\n" + _markdown(list(merged.values())) + END + after)


def _markdown(figures: Sequence[dict[str, Any]]) -> str:
    lines = [
        f"{os.cpu_count()} cores, Python {platform.python_version()}.",
        "",
        "| what | figure | target | reached | machine, s |",
        "| --- | ---: | ---: | --- | ---: |",
        *(
            f"| {each['name']} | {number(each['figure'])} {each['unit']} | {each['target'] or ''}"
            f" | {WORDS[each['reached']]} | {number(each['machine']) if each['machine'] else '–'} |"
            for each in figures
        ),
        "",
        *(f"- **{each['name']}**: {each['detail']}" for each in figures),
        "",
    ]
    return "\n".join(lines)
