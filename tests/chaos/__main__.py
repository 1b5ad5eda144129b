"""`make chaos SEEDS="1 2 3"`: let the storms of some seeds rage, print what was found, keep the table.

python -m tests.chaos 1 2 3            these seeds
python -m tests.chaos --from 1 --to 100 --keep    the long series; its table goes into README.md and results.json
"""

import argparse
import asyncio
import json
import logging
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests import services
from tests.chaos.judging import Verdict
from tests.chaos.plan import plan
from tests.chaos.storm import Ground, ride_out

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
COLUMNS = (
    "seed",
    "seconds",
    "compared",
    "lost",
    "doubled",
    "stale",
    "falsely_removed",
    "over_budget",
    "leaked",
    "feed",
)
MARKS = ("<!-- table -->", "<!-- end of table -->")


def main() -> int:
    """0 when every seed is clean and every planned misfortune struck."""
    parser = argparse.ArgumentParser(prog="make chaos", description="Seeded misfortunes against the real pipeline.")
    parser.add_argument("seeds", nargs="*", type=int, help="which seeds; default: 1 2 3")
    parser.add_argument("--from", dest="first", type=int)
    parser.add_argument("--to", dest="last", type=int)
    parser.add_argument("--keep", action="store_true", help="write the table into README.md and results.json")
    chosen = parser.parse_args()
    logging.disable(logging.CRITICAL)  # what dies here dies on purpose
    seeds = chosen.seeds or ([1, 2, 3] if chosen.first is None else list(range(chosen.first, chosen.last + 1)))
    reaper = services.Reaper()
    try:
        ground = Ground(services.get_breakable_broker(reaper), services.WheelDatabase(reaper))
        verdicts = [weather(seed, ground) for seed in seeds]
    finally:
        reaper.close()
    show(verdicts)
    if chosen.keep:
        keep(verdicts)
    return 0 if all(each.is_clean and not missed(each) for each in verdicts) else 1


def weather(seed: int, ground: Ground) -> Verdict:
    """One seed, told as it goes; a bad one says all that is needed to see it again."""
    storm = plan(seed)
    try:
        verdict = asyncio.run(ride_out(storm, ground))
    except Exception as error:
        verdict = Verdict(seed, lost=1, notes=[f"the seed could not be judged: {type(error).__name__}: {error}"])
    good = verdict.is_clean and not missed(verdict)
    print(f"seed {seed}: {'clean' if good else 'BAD'}, {verdict.compared} people, {verdict.seconds} s", flush=True)
    if not good:
        for strike in storm.strikes:
            print(f"    {strike}")
        for note in verdict.notes[:12]:
            print(f"  ! {note}")
        print(f'  again: make chaos SEEDS="{seed}"', flush=True)
    return verdict


def missed(verdict: Verdict) -> list[str]:
    """Planned misfortunes that never struck."""
    return [note for note in verdict.notes if note.startswith("never struck")]


def show(verdicts: list[Verdict]) -> None:
    """The table, for people."""
    table = Table(box=None, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name.replace("_", " "), justify="right")
    for each in verdicts:
        row = each.row()
        table.add_row(*(str(row[name]) for name in COLUMNS))
    Console().print(table)


def keep(verdicts: list[Verdict]) -> None:
    """Merge with what is kept, and write both files."""
    kept = {row["seed"]: row for row in json.loads(RESULTS.read_text())} if RESULTS.exists() else {}
    kept |= {each.seed: each.row() for each in verdicts}
    rows = [kept[seed] for seed in sorted(kept)]
    RESULTS.write_text(json.dumps(rows, indent=0, sort_keys=True) + "\n")
    page = HERE / "README.md"
    head, _, rest = page.read_text().partition(MARKS[0])
    _, _, tail = rest.partition(MARKS[1])
    lines = ["| " + " | ".join(name.replace("_", " ") for name in COLUMNS) + " |", "|" + " --: |" * len(COLUMNS)]
    lines += ["| " + " | ".join(str(row[name]) for name in COLUMNS) + " |" for row in rows]
    page.write_text(head + MARKS[0] + "\n" + "\n".join(lines) + "\n" + MARKS[1] + tail)


if __name__ == "__main__":
    sys.exit(main())
