"""`python -m tests.bench [--quick] [--json FILE] [name ...]`: measure, show, keep. No figure makes it fail."""

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from shared.telemetry.logging import configure_logging
from tests.bench import competing, growing, loading, messages, report, restarting, scheduling, waiting, walls, writing
from tests.bench.figures import Figure, additions
from tests.bench.place import Place, a_place
from tests.services import Unavailable

Bench = Callable[[Place], Awaitable[list[Figure]]]

#: A benchmark is a line here: a word, and a function from a place to figures.
BENCHES: dict[str, Bench] = {
    "writer": writing.writer,
    "messages": messages.messages,
    "scheduler": scheduling.scheduler,
    "waiting": waiting.waiting,
    "restarting": restarting.restarting,
    "embedded": loading.embedded,
    "distributed": loading.distributed,
    "largest": loading.largest,
}

#: What takes longer, by `make bench-full`.
LONG: dict[str, Bench] = {
    "walls": walls.walls,
    "growing": growing.growing,
    "competing": competing.competing,
}


def main() -> int:
    """Run the chosen ones; the exit code says only whether they could be run."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    known = BENCHES | LONG
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(known)}; by default the short ones")
    parser.add_argument("--full", action="store_true", help="the long ones too")
    parser.add_argument("--quick", action="store_true", help="one round of less, for CI; nothing is kept")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    if unknown := [each for each in options.names if each not in known]:
        parser.error(f"there is no benchmark {unknown[0]}; choose from {', '.join(known)}")
    names = options.names or [*(known if options.full else BENCHES)]
    for name in [each for each in os.environ if each.startswith(("HUB_", "DB_")) and not each.startswith("HUB_TEST_")]:
        del os.environ[name]  # a developer's own settings are not what is measured
    configure_logging("human", "ERROR")  # a hundred thousand races fill hours that are told of by warnings
    console = Console(no_color=True if os.environ.get("NO_COLOR") else None)
    try:
        with a_place(console, rounds=1 if options.quick else 3, is_quick=options.quick) as place:
            figures = [figure for name in names for figure in asyncio.run(_measured(known[name], place))]
    except Unavailable as why:
        print(f"bench: {why}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    report.show(console, figures)
    if options.json is not None:
        report.write(figures, options.json)
    if not options.quick:
        report.keep(figures)
    return 0


async def _measured(bench: Bench, place: Place) -> list[Figure]:
    before = additions()
    figures = await bench(place)
    machine = (before + additions()) / 2
    return [replace(each, machine=machine) for each in figures]


if __name__ == "__main__":
    sys.exit(main())
