"""What a benchmark hands back: figures with their targets, and how three rounds become one."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeVar

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Target:
    """A bound: ``≥``, ``≤`` or ``=``, and the number."""

    sign: str
    value: float

    def __str__(self) -> str:
        return f"{self.sign} {number(self.value)}"

    def is_met(self, figure: float) -> bool:
        """Whether a figure is on the right side."""
        match self.sign:
            case "≥":
                return figure >= self.value
            case "≤":
                return figure <= self.value
            case _:
                return figure == self.value


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured thing."""

    name: str
    figure: float
    unit: str
    target: Target | None = None
    detail: str = ""
    machine: float | None = None  # seconds that the machine took for `additions` around it

    @property
    def reached(self) -> bool | None:
        """None when nothing was to be reached."""
        return None if self.target is None else self.target.is_met(self.figure)

    def as_json(self) -> dict[str, Any]:
        """As it stands in results.json."""
        return {
            "name": self.name,
            "figure": rounded(self.figure),
            "unit": self.unit,
            "target": None if self.target is None else str(self.target),
            "reached": self.reached,
            "detail": self.detail,
            "machine": None if self.machine is None else rounded(self.machine),
        }


def additions() -> float:
    """Seconds for ten million additions: how fast this machine is just now, since that may change within the hour."""
    began, total = time.perf_counter(), 0
    for each in range(10_000_000):
        total += each
    return time.perf_counter() - began


def rounded(value: float) -> float:
    """Three digits that mean something; whole numbers stay whole."""
    if value == int(value) or abs(value) >= 100:
        return float(round(value))
    return float(f"{value:.3g}")


def number(value: float) -> str:
    """A figure for people."""
    value = rounded(value)
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def middle(rounds: Sequence[R], of: Callable[[R], float]) -> float:
    """The median over rounds of something measured in each."""
    return median(of(each) for each in rounds)


def middle_round(rounds: Sequence[R], of: Callable[[R], float]) -> R:
    """The round that holds the (lower) median: where details are shown, they come from one run."""
    return sorted(rounds, key=of)[(len(rounds) - 1) // 2]


def spread(values: Sequence[float]) -> str:
    """All rounds, so that a reader sees how noisy the machine was."""
    return "rounds " + ", ".join(number(each) for each in values)
