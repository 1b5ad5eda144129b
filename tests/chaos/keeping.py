"""The kept results: `results.json`, and the table in README.md that is written from it."""

import fcntl
import json
import os
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.chaos.judging import Verdict

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
PAGE = HERE / "README.md"
COLUMNS = (
    "seed", "seconds", "compared", "lost", "doubled", "stale", "falsely_removed", "surplus", "over_budget", "leaked",
    "feed",
)  # fmt: skip
MARKS = ("<!-- table -->", "<!-- end of table -->")


def show(verdicts: list[Verdict]) -> None:
    """The table, for people."""
    table = Table(box=None, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name.replace("_", " "), justify="right")
    for each in verdicts:
        row = each.row()
        table.add_row(*(str(row[name]) for name in COLUMNS))
    Console().print(table)


def kept() -> dict[int, dict[str, Any]]:
    """What is kept, by seed."""
    return {row["seed"]: row for row in json.loads(RESULTS.read_text())} if RESULTS.exists() else {}


def keep(verdict: Verdict, commit: str) -> None:
    """Put one seed with the others, whoever else does so; an interruption loses nothing that was over."""
    with PAGE.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _keep(verdict, commit)


def _keep(verdict: Verdict, commit: str) -> None:
    rows = kept() | {verdict.seed: {**verdict.row(), "clean": verdict.is_clean, "commit": commit}}
    text = ",\n".join(json.dumps(rows[seed], sort_keys=True) for seed in sorted(rows))
    half = RESULTS.with_suffix(".part")
    half.write_text(f"[\n{text}\n]\n")
    os.replace(half, RESULTS)
    write_table()


def write_table() -> None:
    """The table of README.md, from what is kept."""
    head, _, rest = PAGE.read_text().partition(MARKS[0])
    _, _, tail = rest.partition(MARKS[1])
    PAGE.write_text(head + MARKS[0] + "\n" + "\n".join(table(list(kept().values()))) + "\n" + MARKS[1] + tail)


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Lines of Markdown: a sum, then each seed."""
    if not rows:
        return []
    rows = sorted(rows, key=lambda row: row["seed"])
    delivered, swallowed = (sum(row[f"duplicates_{what}"] for row in rows) for what in ("delivered", "swallowed"))
    commits = sorted({row["commit"] for row in rows if row["commit"]})
    settled = sorted(row["settled_seconds"] for row in rows)
    lines = [
        f"{len(rows)} seeds, {sum(row['clean'] for row in rows)} of them clean, on {', '.join(commits)}."
        f" In step again after the storm: median {median(settled):.1f} s, worst {settled[-1]:.1f} s"
        f" ({sum(row['full_pass'] for row in rows)} seeds needed the full pass that repairs a lie).",
        "",
        f"The gremlin delivered {delivered:,} batches of records again; the inbox swallowed {swallowed:,} (those that"
        " died, reconnected and were retried came again too).",
        "",
        "| " + " | ".join(name.replace("_", " ") for name in COLUMNS) + " |",
        "|" + " --: |" * len(COLUMNS),
    ]
    return lines + ["| " + " | ".join(str(row[name]) for name in COLUMNS) + " |" for row in rows]
