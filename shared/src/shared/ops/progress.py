"""Progress of a sync: a bar per partner on a terminal, a line every few seconds in a pipe."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from shared.ops.show import clean, many, tell

#: Seconds between two lines in a pipe.
LINE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Tally:
    """How far a partner is."""

    partner_id: int
    name: str
    races: int
    over: int  # of them, written or not
    failed: int
    people: int
    phase: str  # discovering, loading, waits until …, done
    what: str = "races"
    done: str = "written"


class Teller(Protocol):
    """Tells how far a sync is, as a context that ends it."""

    def tell(self, tallies: Sequence[Tally]) -> None:
        """How far each partner is now."""
        ...

    def __enter__(self) -> "Teller": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Bars:
    """A bar per partner."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[people]:>9} people"),
            TextColumn("{task.fields[phase]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._bars: dict[int, TaskID] = {}

    def tell(self, tallies: Sequence[Tally]) -> None:
        for each in tallies:
            if each.partner_id not in self._bars:
                label = Text(clean(each.name)[:20]).markup
                self._bars[each.partner_id] = self._progress.add_task(label, total=None, people="0", phase="")
            self._progress.update(
                self._bars[each.partner_id],
                total=each.races or None,
                completed=each.over,
                people=f"{each.people:,}",
                phase=each.phase if not each.failed else f"{each.phase}, {each.failed} failed",
            )

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


class Lines:
    """A line every few seconds, and one for each partner that is done."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._next = self._began + 1.0
        self._done: set[int] = set()

    def tell(self, tallies: Sequence[Tally]) -> None:
        elapsed = time.monotonic() - self._began
        for each in tallies:
            if each.phase == "done" and each.partner_id not in self._done:
                self._done.add(each.partner_id)
                failed = f", {each.failed} failed" if each.failed else ""
                self._print(
                    f"{elapsed:.0f} s: partner {each.partner_id} done: {each.over - each.failed} of {each.races} "
                    f"{each.what} {each.done}{failed}, {many(each.people, 'person')}"
                )
        if time.monotonic() < self._next or len(self._done) == len(tallies):
            return
        self._next = time.monotonic() + LINE_SECONDS
        over, races = sum(each.over for each in tallies), sum(each.races for each in tallies)
        people, waiting = sum(each.people for each in tallies), {each.phase for each in tallies} - {"done", "loading"}
        self._print(
            f"{elapsed:.0f} s: {over} of {races} {tallies[0].what}, {many(people, 'person')}"
            + (f" ({', '.join(sorted(waiting))})" if waiting else "")
        )

    def _print(self, text: str) -> None:
        tell(self._console, text)

    def __enter__(self) -> "Lines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def teller(console: Console) -> Teller:
    """The one that fits where the output goes."""
    return Bars(console) if console.is_terminal else Lines(console)
