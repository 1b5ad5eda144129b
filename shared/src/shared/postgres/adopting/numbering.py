"""Which number a provider has: the old tables' and ours. A plain function over what stands there."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

#: The numbers that operators and readers know.
FIXED = {1: "Chronotrack", 2: "RunSignUp", 3: "Race Roster", 4: "Haku", 5: "Race Record"}
RUNSIGNUP = 2


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


_BY_NAME = {_plain(name): number for number, name in FIXED.items()}


@dataclass(frozen=True, slots=True)
class Numbering:
    """Old number → ours, further providers by name, and what an operator should know or decide."""

    ours: Mapping[int, int]
    further: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    doubt: str | None = None

    @property
    def moved(self) -> dict[int, int]:
        """Only what changes."""
        return {old: new for old, new in self.ours.items() if old != new}


def renumber(names: Mapping[int, str], proven: Collection[int], said: int | None = None) -> Numbering:
    """Decide what each old number means.

    ``names`` is the old table of providers (empty: the numbers are ours already); ``proven`` are the numbers under
    which those keys are stored that RunSignUp's people were fetched with; ``said`` is what the operator says is
    RunSignUp. Some old programs counted providers as they came and wrote 2 into their statements all the same: what
    the keys prove is believed before the name.
    """
    called = [number for number, name in names.items() if _plain(name) == "runsignup"]
    if said is not None:
        runsignup, why = said, "as you say"
    elif len(set(proven)) == 1:
        runsignup, why = next(iter(proven)), "its keys fetched the people that are stored"
    elif called:
        runsignup, why = called[0], "its name"
    elif RUNSIGNUP not in names:
        runsignup, why = RUNSIGNUP, "nothing speaks against it"
    else:
        return Numbering(dict.fromkeys(names, 0), doubt=_which(names))
    if said is None and called and runsignup not in called and runsignup != RUNSIGNUP:
        return Numbering(dict.fromkeys(names, 0), doubt=_which(names))
    if runsignup == RUNSIGNUP and RUNSIGNUP in names and RUNSIGNUP not in called:
        # The numbers were meant as ours; the names were counted as they came.
        note = (
            f"provider 2 is named {names[RUNSIGNUP]}, and is RunSignUp ({why}): the numbers 1 to 5 keep "
            "their fixed meaning, and get their right names"
        )
        return Numbering(*_numbers(names, lambda number, _name: number if number in FIXED else None), (note,))
    ours, further = _numbers(
        names,
        lambda number, name: RUNSIGNUP if number == runsignup else _BY_NAME.get(_plain(name)),
    )
    notes = [
        f"provider {old} here is {names[old]}, which is {new} in the hub: its keys and history move to {new}"
        for old, new in ours.items()
        if old != new
    ]
    if runsignup not in names and runsignup != RUNSIGNUP:
        ours = {**ours, runsignup: RUNSIGNUP}
        notes.append(f"provider {runsignup} is RunSignUp ({why}): its keys and history move to 2")
    return Numbering(ours, further, tuple(notes))


def _numbers(
    names: Mapping[int, str], fixed: Callable[[int, str], int | None]
) -> tuple[dict[int, int], dict[int, str]]:
    ours, further = {}, {}
    free = max([5, *names]) + 1
    for number, name in sorted(names.items()):
        new = fixed(number, name)
        if new is None:  # a platform without a fixed number
            new = number
            if number in FIXED:
                new, free = free, free + 1
            further[new] = name
        ours[number] = new
    return ours, further


def _which(names: Mapping[int, str]) -> str:
    some = ", ".join(f"{number} {name}" for number, name in sorted(names.items()))
    return f"which provider is RunSignUp cannot be told ({some}); say it: hub adopt --runsignup NUMBER"
