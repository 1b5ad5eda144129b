"""Beginning a replay and watching it to its end: the same for everything that can be done again."""

import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any
from uuid import UUID

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from shared.errors import Later
from shared.ops import show
from shared.ops.desk import Desk, nobody_runs, require_services
from shared.ops.failing import WrongUsage
from shared.ops.following import LOOK_SECONDS, Outcome, outcome
from shared.ops.progress import LINE_SECONDS
from shared.postgres import Connection
from shared.postgres.replays import Begun, failures, standing, written

#: Items that failed are told one by one, up to so many.
TOLD = 10

Freeze = Callable[[Connection, UUID], Awaitable[Begun]]


async def begin(desk: Desk, freeze: Freeze, *, nothing: str, wait: bool, json: bool) -> Outcome:
    """Freeze a selection, and follow its replay if asked to; raises WrongUsage with ``nothing`` for an empty one."""
    await require_services(desk)
    async with desk.database.transaction("freezing a selection") as connection:
        begun = await freeze(connection, desk.new_id())
    if not begun.items:
        raise WrongUsage(nothing)
    if wait:
        return await follow(desk, begun.replay_id, json=json)
    if json:
        show.document({"replay_id": begun.replay_id, "items": begun.items, "outcome": "begun"})
    else:
        show.say(f"Begun with {show.many(begun.items, 'item')}: hub replay watch {str(begun.replay_id)[:8]}")
    return Outcome.ALL


async def follow(desk: Desk, replay_id: UUID, *, json: bool) -> Outcome:
    """Show a replay's progress until it is over, then what became of it. Ending the command does not end the replay."""
    row = await _known(desk, replay_id)
    with Meter(show.err() if json else show.out()) as meter:
        while True:
            meter.tell(row)
            if row["finished_at"] is not None:
                break
            if missing := await desk.silent():
                raise Later(f"{nobody_runs(missing)}; the replay goes on then")
            await desk.clock.sleep(LOOK_SECONDS)
            row = await _known(desk, replay_id)
    return await _report(desk, row, json=json)


async def _known(desk: Desk, replay_id: UUID) -> Any:
    row = await standing(desk.database, replay_id)
    if row is None:
        raise WrongUsage("there is no replay of this id; see: hub replay list")
    return row


async def _report(desk: Desk, row: Any, *, json: bool) -> Outcome:
    changed = await written(desk.database, row["replay_id"])
    bad = await failures(desk.database, row["replay_id"], TOLD + 1)
    missed = row["failed"] + row["again"] if row["state"] == "done" else row["items"] - row["done"]
    result = outcome(row["done"], missed)
    if json:
        show.document({**described(row), "changed": changed, "failures": [dict(each) for each in bad[:TOLD]]})
        return result
    if row["dry_run"]:
        what = ", ".join(f"{number:,} {kind}" for kind, number in changed.items()) or "nothing"
        show.say(
            f"Would change: {what} ({show.many(row['items'], 'batch')}, nothing was written).".replace(
                "batchs", "batches"
            )
        )
    else:
        what = ", ".join(f"{number:,} {kind}" for kind, number in changed.items())
        show.say(f"{summary(row)}{f' People: {what}.' if what else ''}")
    for each in bad[:TOLD]:
        name = each["item_id"] or each["ordinal"]
        where = f" (race {each['race_id']})" if each["race_id"] else ""
        word = "as before" if each["outcome"] == "again" else "failed"
        show.say(f"Item {name}{where}: {word}: {each['reason']}.")
    if len(bad) > TOLD:
        show.say(f"... and {row['failed'] + row['again'] - TOLD} more.")
    if row["state"] == "stopped":
        show.say("The first one failed, so the rest was left as it was: remove the cause, then replay again.")
    return result


def summary(row: Any) -> str:
    """Where a replay stands, in a sentence."""
    parts = [f"{row['done']:,} of {row['items']:,} done"]
    for name, word in (("again", "as before"), ("failed", "failed"), ("skipped", "left")):
        if row[name]:
            parts.append(f"{row[name]:,} {word}")
    return f"{str(row['state']).capitalize()}: {', '.join(parts)}."


def described(row: Any) -> dict[str, Any]:
    """A replay as JSON; the shape is told in ops/README.md."""
    names = ("replay_id", "what", "reason", "dry_run", "state", "rate", "asked_at", "finished_at", "stop_reason")
    counts = ("items", "done", "again", "failed", "skipped", "underway")
    return {name: row[name] for name in (*names, *counts)}


class Meter:
    """How far a replay is: a bar on a terminal, a line every few seconds in a pipe."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = time.monotonic() + LINE_SECONDS
        self._progress: Progress | None = None
        self._bar: TaskID | None = None
        if console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn())
            self._progress = Progress(*columns, TextColumn("{task.fields[note]}"), TimeElapsedColumn(), console=console)

    def tell(self, row: Any) -> None:
        """Where it is now."""
        bad = row["failed"] + row["again"]
        note = f"{bad:,} not done" if bad else ""
        if self._progress is None:
            if time.monotonic() >= self._next:
                self._next = time.monotonic() + LINE_SECONDS
                show.tell(self._console, summary(row))
            return
        if self._bar is None:
            self._bar = self._progress.add_task(row["what"], total=row["items"], note=note)
        self._progress.update(self._bar, completed=row["finished"], note=f"{row['state']} {note}".strip())

    def __enter__(self) -> "Meter":
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()
