"""Following runs to their end: whatever took over from a run is followed in its place."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from uuid import UUID

from shared.domain.run import State
from shared.errors import Later
from shared.ops.desk import Desk, nobody_runs
from shared.postgres import Database

#: How often rows are looked at.
LOOK_SECONDS = 0.4


@dataclass(frozen=True, slots=True)
class Run:
    """What a run's row says while it is waited for."""

    run_id: UUID
    state: State
    started_at: datetime | None
    not_before: datetime | None
    error_code: str | None
    error: str | None
    pages: int
    calls: int
    fetched: int
    added: int
    updated: int
    unchanged: int
    stale: int
    removed: int
    restored: int
    quarantined: int

    @property
    def people(self) -> int:
        """Rows that were compared or written so far."""
        return self.added + self.updated + self.unchanged + self.stale + self.restored

    @property
    def is_over(self) -> bool:
        """Nothing more becomes of it."""
        return self.state.is_final

    @property
    def is_written(self) -> bool:
        """Everything that it fetched is in the tables."""
        return self.state is State.COMPLETED

    def is_older_than(self, asked_at: datetime) -> bool:
        """Its first call may be older than the ask: it went on from where it was put off."""
        return self.started_at is not None and self.started_at < asked_at - timedelta(seconds=1)


async def look(database: Database, wanted: Iterable[UUID]) -> dict[UUID, Run]:
    """What became of these runs, by the id that was asked for."""
    rows = await database.fetch(
        """
        WITH RECURSIVE chain AS (
            SELECT wanted, wanted AS run_id, 0 AS depth FROM unnest($1::uuid[]) AS wanted
            UNION ALL
            SELECT chain.wanted, r.replaced_by, depth + 1 FROM chain JOIN sync_runs r USING (run_id)
            WHERE r.state = 'replaced' AND r.replaced_by IS NOT NULL AND depth < 100
        )
        SELECT chain.wanted, r.run_id, r.state, r.started_at, r.not_before, r.error_code, r.error, r.pages,
            CASE WHEN r.finished_at IS NULL THEN (SELECT count(*) FROM calls c WHERE c.run_id = r.run_id)
                ELSE r.calls END AS calls,
            r.fetched, r.added, r.updated, r.unchanged, r.stale, r.removed, r.restored, r.quarantined
        FROM chain JOIN sync_runs r USING (run_id) WHERE r.state <> 'replaced' OR r.replaced_by IS NULL
        """,
        list(wanted),
    )
    return {UUID(str(row["wanted"])): _run(dict(row)) for row in rows}


def _run(row: dict[str, object]) -> Run:
    values = {name: row[name] for name in Run.__slots__ if name not in {"run_id", "state"}}
    return Run(run_id=UUID(str(row["run_id"])), state=State(str(row["state"])), **values)  # type: ignore[arg-type]


async def wait_for(desk: Desk, run_id: UUID, timeout: float) -> Run | None:
    """A run once it is over; None when that takes longer. Raises Later when a service that it needs has gone."""
    began = desk.clock.now()
    while True:
        run = (await look(desk.database, [run_id])).get(run_id)
        if run is not None and run.is_over:
            return run
        if missing := await desk.silent():
            raise Later(f"{nobody_runs(missing)}; what was asked for goes on then")
        if (desk.clock.now() - began).total_seconds() >= timeout:
            return None
        await desk.clock.sleep(LOOK_SECONDS)


class Outcome(IntEnum):
    """How much of what was asked for was written: the exit code."""

    ALL = 0
    NONE = 1
    PART = 3


def outcome(written: int, failed: int) -> Outcome:
    """The exit code of so many pieces written and so many not."""
    if not failed:
        return Outcome.ALL
    return Outcome.PART if written else Outcome.NONE


def reason(run: Run | None) -> str:
    """Why a run did not bring what was asked for, in a sentence without a full stop."""
    if run is None:
        return "it was not begun yet"
    if run.error:
        return run.error
    if run.not_before is not None:
        return f"it waits until {run.not_before:%H:%M:%S} UTC ({run.error_code or 'put off'})"
    return "it is not complete yet" if not run.is_over else f"it {run.state}"


def total(runs: Sequence[Run], *names: str) -> Mapping[str, int]:
    """Sums of counts over runs, each run counted once."""
    once = {run.run_id: run for run in runs}.values()
    return {name: sum(getattr(run, name) for run in once) for name in names}
