"""`make chaos SEEDS="1 2 3"`: let the storms of some seeds rage, print what was found, keep the table.

python -m tests.chaos 1 2 3                       these seeds
python -m tests.chaos --from 1 --to 100 --keep    the long series; each seed is kept as soon as it is over
python -m tests.chaos --table                     the table in README.md, anew from results.json
"""

import argparse
import asyncio
import logging
import signal
import sys

from tests import services
from tests.chaos import keeping
from tests.chaos.judging import Verdict
from tests.chaos.plan import plan
from tests.chaos.storm import ride_out
from tests.chaos.weather import Ground

#: A broker gets slower with each virtual host that it has to bring back; after so many seeds there is a fresh one.
SEEDS_A_GROUND = 6


def main() -> int:
    """0 when every seed is clean and every planned misfortune struck."""
    parser = argparse.ArgumentParser(prog="make chaos", description="Seeded misfortunes against the real pipeline.")
    parser.add_argument("seeds", nargs="*", type=int, help="which seeds; default: 1 2 3")
    parser.add_argument("--from", dest="first", type=int)
    parser.add_argument("--to", dest="last", type=int)
    parser.add_argument("--keep", action="store_true", help="keep each seed in results.json and README.md")
    parser.add_argument("--commit", default="", help="what is kept beside each seed: the commit it ran on")
    parser.add_argument("--table", action="store_true", help="only write README.md's table from results.json")
    chosen = parser.parse_args()
    if chosen.table:
        keeping.write_table()
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends us, the services end with us
    logging.disable(logging.CRITICAL)  # what dies here dies on purpose
    seeds = chosen.seeds or ([1, 2, 3] if chosen.first is None else list(range(chosen.first, chosen.last + 1)))
    verdicts: list[Verdict] = []
    for start in range(0, len(seeds), SEEDS_A_GROUND):
        reaper = services.Reaper()
        try:
            ground = Ground(services.get_breakable_broker(reaper), services.WheelDatabase(reaper))
            for seed in seeds[start : start + SEEDS_A_GROUND]:
                verdicts.append(weather(seed, ground))
                if chosen.keep:
                    keeping.keep(verdicts[-1], chosen.commit)
        finally:
            reaper.close()
    keeping.show(verdicts)
    return 0 if all(each.is_clean for each in verdicts) else 1


def weather(seed: int, ground: Ground) -> Verdict:
    """One seed, told as it goes; a bad one says all that is needed to see it again."""
    storm = plan(seed)
    try:
        verdict = asyncio.run(ride_out(storm, ground))
    except Exception as error:
        verdict = Verdict(seed, lost=1, notes=[f"the seed could not be judged: {type(error).__name__}: {error}"])
    settled = f"settled in {verdict.settled_seconds} s" + (" with a full pass" if verdict.full_pass else "")
    print(
        f"seed {seed}: {'clean' if verdict.is_clean else 'BAD'}, {verdict.compared} people, {verdict.seconds} s,"
        f" {settled}, {verdict.duplicates_delivered} batches delivered again, {verdict.duplicates_swallowed} swallowed",
        flush=True,
    )
    if not verdict.is_clean:
        print(
            f"    replicas {storm.replicas}, clock {storm.clock_offset:+.0f} s, machines' {storm.skews},"
            f" full passes {storm.full_passes}"
        )
        for strike in storm.strikes:
            print(f"    {strike}")
        for note in verdict.notes[:16]:
            print(f"  ! {note}")
        print(f'  again: make chaos SEEDS="{seed}"', flush=True)
    return verdict


if __name__ == "__main__":
    sys.exit(main())
