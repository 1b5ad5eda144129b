"""`make weekend`: play it, show what it showed, renew the page; 0 only if every promise was kept.

python -m tests.weekend                     all three; README.md is renewed
python -m tests.weekend --seed 2            another weekend; README.md stays as it is
python -m tests.weekend --only one-key      one of them
python -m tests.weekend --keep FOLDER       what was played is kept there
python -m tests.weekend --judge FOLDER      what was kept is judged again, and README.md renewed; nothing is played
"""

import argparse
import asyncio
import json
import logging
import os
import pickle
import sys
import tempfile
import time
import uuid
from pathlib import Path

import structlog
from rich.console import Console

from shared.postgres.migrate import migrate
from tests import services
from tests.weekend import report
from tests.weekend.figures import Figures, figures
from tests.weekend.judging import judge
from tests.weekend.play import Played, play
from tests.weekend.scripts import NAMES, script

SEED = 1


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="make weekend", description="The busiest weekend under a clock that jumps.")
    parser.add_argument("--seed", type=int, default=SEED, help="which weekend; the page tells of seed 1")
    parser.add_argument("--only", choices=NAMES, help="one of them")
    parser.add_argument("--json", type=Path, help="where to write the figures, too")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where to keep what was played")
    parser.add_argument("--judge", type=Path, metavar="FOLDER", help="judge again what was kept there")
    parser.add_argument("--play", nargs=2, metavar=("DATABASE", "FILE"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.play:
        return _play_alone(chosen.only, chosen.seed, chosen.keep, *chosen.play)
    console = Console(highlight=False)
    if chosen.judge:
        kept = [name for name in NAMES if (chosen.judge / f"{name}.pickle").exists()]
        found = [_judged(name, pickle.loads((chosen.judge / f"{name}.pickle").read_bytes())) for name in kept]
        report.show(found, console)
        report.write(found)
        return 1 if any(each["broken"] for each in found) else 0
    names = (chosen.only,) if chosen.only else NAMES
    reaper = services.Reaper()
    try:
        server = services.get_database(reaper)
        found = asyncio.run(_side_by_side(names, chosen.seed, chosen.keep, server.url, console))
    finally:
        reaper.close()
    if len(found) < len(names):
        return 1
    report.show(found, console)
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")
    if names == NAMES and chosen.seed == SEED:
        report.write(found)
    return 1 if any(each["broken"] for each in found) else 0


async def _side_by_side(
    names: tuple[str, ...], seed: int, keep: Path | None, server: str, console: Console
) -> list[Figures]:
    """Play each in a process of its own, on a database of its own; those that could be played.

    The whole weekend takes longest: the others are played one after the other beside it.
    """
    began = time.monotonic()

    async def one(name: str, folder: Path) -> Figures | None:
        database = f"hub_weekend_{uuid.uuid4().hex[:12]}"
        await services.execute(server, f"create database {database}")
        url, file = services.database_named(server, database), folder / f"{name}.json"
        try:
            await migrate(url)
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.weekend", "--only", name, "--seed", str(seed), "--play", url, str(file),
                *(("--keep", str(keep)) if keep else ()),
                stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert process.stdout is not None
            async for line in process.stdout:
                console.print(f"[dim]{time.monotonic() - began:4.0f} s[/dim]  {name:<8} {line.decode().rstrip()}")
            if await process.wait():
                console.print(f"[red]{name} could not be played[/red]")
                return None
            told: Figures = json.loads(file.read_text())
            return told
        finally:
            await services.execute(server, f"drop database {database} with (force)")

    with tempfile.TemporaryDirectory(prefix="hub-weekend-") as folder:

        async def one_by_one(names: tuple[str, ...]) -> list[Figures | None]:
            return [await one(name, Path(folder)) for name in names]

        first, others = await asyncio.gather(one(names[0], Path(folder)), one_by_one(names[1:]))
    return [each for each in (first, *others) if each is not None]


def _play_alone(name: str, seed: int, keep: Path | None, url: str, file: str) -> int:
    if name != NAMES[0]:
        os.nice(10)  # the others take what the whole weekend leaves
    logging.disable(logging.CRITICAL)  # what fails on such a weekend is counted, not told
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    played = asyncio.run(play(script(name, seed), url, lambda line: print(line, flush=True)))
    if keep:
        (keep / f"{name}.pickle").write_bytes(pickle.dumps(played))
    Path(file).write_text(json.dumps(_judged(name, played)))
    return 0


def _judged(name: str, played: Played) -> Figures:
    return figures(name, played, judge(played))


if __name__ == "__main__":
    sys.exit(main())
