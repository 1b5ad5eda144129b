"""Which of the feed's batches may be acted on. Plain functions over values."""

from collections.abc import Iterable
from dataclasses import dataclass

Race = tuple[int, int, str]  # provider, timing partner, race

#: Batches of one race acted on in one transaction.
MOST_BATCHES = 50


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of diffs that nobody has acted on."""

    batch_id: int
    race: Race
    is_settled: bool  # its run is over and wholly in the feed, or it was written a while ago


def ready(batches: Iterable[Batch]) -> dict[Race, list[int]]:
    """Each race's batches that may be acted on, in the order of the feed, in which ``batches`` come.

    A race's batches are acted on in order, so what stands behind an unsettled one waits with it; other races do not.
    """
    found: dict[Race, list[int]] = {}
    waiting: set[Race] = set()
    for each in batches:
        if each.is_settled and each.race not in waiting:
            found.setdefault(each.race, []).append(each.batch_id)
        else:
            waiting.add(each.race)
    return found
