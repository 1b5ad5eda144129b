"""Changes over time: so many a second of the world's clock, of these kinds, in these races."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .change import Change
from .mutations import KINDS, Asked, mutate
from .targets import Impossible
from .world import World

# A lively race morning: mostly bibs and walk-ups, some of everything.
DEFAULT_WEIGHTS: Mapping[str, float] = {
    "registered": 20, "edited": 18, "bib_given": 30, "bib_changed": 6, "bib_swapped": 4, "bib_cleared": 2,
    "bib_given_twice": 1, "checked_in": 4, "refunded": 5, "deferred": 2, "cleared": 1, "transferred": 4, "restored": 3,
}  # fmt: skip
MOST_AT_ONCE = 5_000
"""After a jump of the clock this many changes happen at once, not a day's worth."""
REMEMBERED = 10_000


@dataclass(slots=True)
class Pace:
    per_second: float = 0.0
    weights: Mapping[str, float] = field(default_factory=lambda: DEFAULT_WEIGHTS)
    race_ids: tuple[int, ...] | None = None
    done: int = 0
    log: list[Change] = field(default_factory=list)
    """What happened, the newest last, bounded."""
    _since: float = 0.0
    _owed: float = 0.0

    def change(
        self, per_second: float, kinds: Mapping[str, float] | None, race_ids: tuple[int, ...] | None, now: float
    ) -> None:
        if kinds is not None and (not kinds or not set(kinds) <= set(KINDS) or min(kinds.values()) <= 0):
            raise ValueError(f"kinds are weights above zero of some of {', '.join(KINDS)}")
        if per_second < 0:
            raise ValueError("per_second is not negative")
        self.per_second, self.race_ids, self._since, self._owed = per_second, race_ids, now, 0.0
        self.weights = DEFAULT_WEIGHTS if kinds is None else kinds

    def run(self, world: World, now: float) -> None:
        """Does what is due by now. A change happens when it is noticed due, so `last_modified` is never backdated."""
        if self.per_second <= 0:
            return
        self._owed += max(0.0, now - self._since) * self.per_second
        self._since = now
        due = int(self._owed)
        self._owed -= due
        for _ in range(min(due, MOST_AT_ONCE)):
            kind = world.random.choices(list(self.weights), list(self.weights.values()))[0]
            try:
                changes = mutate(world, Asked(kind, race_ids=self.race_ids), now)
            except Impossible:
                continue
            self.done += 1
            self.log.extend(changes)
        del self.log[:-REMEMBERED]

    def report(self, last: int = 100) -> dict[str, Any]:
        return {
            "per_second": self.per_second,
            "kinds": dict(self.weights),
            "race_ids": self.race_ids,
            "done": self.done,
            "log": [asdict(change) for change in self.log[-last:]],
        }
