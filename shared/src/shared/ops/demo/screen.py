"""What the demo shows: bars and scrolling lines on a terminal, plain lines in a pipe."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from shared.ops.show import tell

PLAIN_EVERY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """How far a partner's first load has come."""

    partner: str
    races_known: int
    races_loaded: int
    people: int


class Screen:
    """Speaks to a person; everything it is told is ids, counts and names of companies."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._said_at = 0.0

    def say(self, text: str, style: str = "") -> None:
        """A sentence, or a line of a list."""
        tell(self.console, text, style=style)

    @contextmanager
    def loading(self, partners: Sequence[str]) -> Iterator["Loading"]:
        """A bar a partner while it lasts."""
        width = max(len(each) for each in partners)
        with Progress(
            TextColumn(f"{{task.description:<{width}}}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("races {task.fields[people]:>8,} people"),
            console=self.console,
            transient=False,
            disable=not self.console.is_terminal,
        ) as progress:
            tasks = {each: progress.add_task(each, total=None, people=0) for each in partners}
            yield Loading(self, progress, tasks)

    def table(self, title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A small table, numbers to the right."""
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for position, name in enumerate(head):
            table.add_column(name, justify="left" if position == 0 else "right")
        for row in rows:
            table.add_row(*row)
        self.console.print(table)

    def counts(self, title: str, counts: Mapping[str, int]) -> None:
        """One line of kinds and how often each came."""
        said = ", ".join(f"{number:,} {kind}" for kind, number in counts.items()) or "none"
        self.say(f"{title}: {said}")


@dataclass(slots=True)
class Loading:
    """The bars of a first load."""

    screen: Screen
    progress: Progress
    tasks: dict[str, TaskID]
    _said_at: float = 0.0

    def show(self, loaded: Sequence[Loaded], rate: float) -> None:
        """Move the bars; in a pipe, a line every few seconds."""
        for each in loaded:
            self.progress.update(
                self.tasks[each.partner],
                total=each.races_known or None,
                completed=each.races_loaded,
                people=each.people,
            )
        if not self.screen.console.is_terminal and time.monotonic() - self._said_at > PLAIN_EVERY_SECONDS:
            self._said_at = time.monotonic()
            known, done = sum(each.races_known for each in loaded), sum(each.races_loaded for each in loaded)
            people = sum(each.people for each in loaded)
            self.screen.say(f"  {done} of {known} races loaded, {people:,} people, {rate:,.0f} a second")
