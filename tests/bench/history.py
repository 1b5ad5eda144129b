"""The rates over the project's life: one line a run in `history.json`, drawn as `rates.svg`."""

import json
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.plots import Frame, Series, lines

HERE = Path(__file__).parent
HISTORY, CHART = HERE / "history.json", HERE / "rates.svg"
RATES = ("first load, embedded", "first load, distributed", "full pass, nothing changed")
AIM = 9_100


def remember(measured: Mapping[str, float]) -> None:
    """Append a run that measured one of the rates, and draw all of them anew."""
    rates = {name: round(measured[name]) for name in RATES if name in measured}
    if not rates:
        return
    runs: list[dict[str, Any]] = json.loads(HISTORY.read_text()) if HISTORY.exists() else []
    runs.append({"at": f"{datetime.now(UTC):%Y-%m-%d %H:%M}", "commit": _commit(), "rates": rates})
    HISTORY.write_text("[\n" + ",\n".join(json.dumps(run) for run in runs) + "\n]\n")
    CHART.write_text(draw(runs))


def draw(runs: list[dict[str, Any]]) -> str:
    """People a second, run by run; a run says its commit below it."""
    frame = Frame(
        "people a second, run by run",
        [(number, run["commit"]) for number, run in enumerate(runs)],
        -0.5,
        max(len(runs) - 0.5, 1.0),
        limit=(AIM, f"{AIM:,}: all keys at their limit"),
    )
    return lines(
        frame, [Series(name, [(number, run["rates"].get(name)) for number, run in enumerate(runs)]) for name in RATES]
    )


def _commit() -> str:
    try:
        said = subprocess.run(
            ["git", "rev-parse", "--short=7", "HEAD"], cwd=HERE, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "?"
    return said.stdout.strip()
