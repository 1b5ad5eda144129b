"""What a `hub sync` wants of each partner, and how far that is: plain values, asked for through the one way to ask."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from shared.deadlines import DeadlineSettings
from shared.domain.run import Kind, Mode, Reason, SyncClass
from shared.ops.desk import Desk
from shared.ops.following import Run, total
from shared.ops.progress import Tally
from shared.ops.selecting import Key, Partner, Race
from shared.postgres.asks import Ask, ask
from shared.providers.registry import by_id
from shared.settings import load

#: A race that is asked for again and again is asked for no more often than this: who presses ten times pays for two.
SPACING = timedelta(seconds=5)


@dataclass(slots=True)
class Piece:
    """One thing asked for: a key's list of races, or a race."""

    wish: Ask
    asked_at: datetime
    run_id: UUID
    run: Run | None = None

    @property
    def is_over(self) -> bool:
        """Nothing more becomes of it."""
        return self.run is not None and self.run.is_over

    @property
    def is_written(self) -> bool:
        """It is in the tables."""
        return self.run is not None and self.run.is_written


@dataclass(slots=True)
class Job:
    """What is wanted of one partner."""

    partner: Partner
    lists: list[Piece] = field(default_factory=list)
    races: list[Piece] = field(default_factory=list)
    unusable: list[Key] = field(default_factory=list)  # refused keys: what they open cannot be asked for
    has_asked_races: bool = False

    @property
    def pieces(self) -> list[Piece]:
        """Everything that was asked for."""
        return [*self.lists, *self.races]

    @property
    def is_listed(self) -> bool:
        """Its lists of races are as new as they will be."""
        return all(piece.is_over for piece in self.lists)

    @property
    def is_over(self) -> bool:
        """Nothing more becomes of it."""
        return self.has_asked_races and all(piece.is_over for piece in self.pieces)

    @property
    def failed(self) -> int:
        """Pieces that are not written (yet), refused keys among them."""
        return len(self.unusable) + sum(not piece.is_written for piece in self.pieces)

    def tally(self, now: datetime) -> Tally:
        """How far it is, for the progress."""
        runs = [piece.run for piece in self.races if piece.run is not None]
        waits = [
            run.not_before for run in runs if not run.is_over and run.not_before is not None and run.not_before > now
        ]
        if self.is_over:
            phase = "done"
        elif not self.has_asked_races:
            phase = "discovering"
        else:
            phase = f"waits until {min(waits):%H:%M} UTC" if waits else "loading"
        over = [piece for piece in self.races if piece.is_over]
        return Tally(
            self.partner.partner_id,
            self.partner.name,
            len(self.races),
            len(over),
            sum(not piece.is_written for piece in over),
            sum(run.people for run in {run.run_id: run for run in runs}.values()),
            phase,
        )

    def counts(self) -> Mapping[str, int]:
        """What its runs did, each counted once."""
        runs = [piece.run for piece in self.races if piece.run is not None]
        lists = [piece.run for piece in self.lists if piece.run is not None]
        names = ("people", "added", "updated", "unchanged", "removed", "restored", "quarantined")
        return {**total(runs, *names), **total([*runs, *lists], "calls")}


def of_key(desk: Desk, partner: Partner, key: Key, kind: Kind, deadline_seconds: int) -> Ask:
    """An operator's ask about a key: its races, or whether it is accepted."""
    return Ask(
        run_id=desk.new_id(),
        kind=kind,
        provider=by_id(key.provider_id).name,
        provider_id=key.provider_id,
        timing_partner_id=partner.partner_id,
        credential_id=key.credential_id,
        source="hub",
        reason=Reason.OPERATOR,
        sync_class=SyncClass.RACEDAY,
        mode=Mode.FULL,
        deadline_seconds=deadline_seconds,
        needs_fresh=True,
    )


def of_race(desk: Desk, race: Race, kind: Kind, mode: Mode, deadline_seconds: int) -> Ask:
    """An operator's ask about a race: its people, or who wears a bib."""
    return Ask(
        run_id=desk.new_id(),
        kind=kind,
        provider=by_id(race.provider_id).name,
        provider_id=race.provider_id,
        timing_partner_id=race.partner_id,
        credential_id=race.credential_id,
        source="hub",
        reason=Reason.OPERATOR,
        sync_class=SyncClass.RACEDAY,
        mode=mode,
        race_id=race.race_id,
        deadline_seconds=deadline_seconds,
        needs_fresh=True,
    )


def _deadline(mode: Mode) -> int:
    """An operator may stand at the start line: a lost message must not hold up the race for longer than there."""
    return load(DeadlineSettings).deadline(SyncClass.RACEDAY, mode)


async def ask_lists(desk: Desk, job: Job) -> None:
    """Ask for the list of races of each of the partner's keys."""
    deadline_seconds = _deadline(Mode.FULL)
    for key in job.partner.keys:
        if key.is_usable:
            wish = of_key(desk, job.partner, key, Kind.DISCOVER, deadline_seconds)
            if piece := await place(desk, wish):
                job.lists.append(piece)


async def ask_races(desk: Desk, job: Job, races: Sequence[Race], *, full: bool, event_id: str | None = None) -> None:
    """Ask for races; one of which nothing is in the future is passed over."""
    job.has_asked_races = True
    mode = Mode.FULL if full else Mode.INCREMENTAL
    deadline_seconds = _deadline(mode)
    for race in races:
        wish = replace(
            of_race(desk, race, Kind.RACE, mode, deadline_seconds),
            removals=True,
            event_ids=(event_id,) if event_id else (),
            spacing=SPACING,
        )
        if piece := await place(desk, wish):
            job.races.append(piece)


async def place(desk: Desk, wish: Ask) -> Piece | None:
    """Ask in a transaction of its own: a race is locked for a moment only."""
    async with desk.database.transaction("asking for a sync") as connection:
        asked_at = desk.clock.now()
        run_id = await ask(connection, wish, asked_at)
    return None if run_id is None else Piece(wish, asked_at, run_id)


async def ahead(desk: Desk, pieces: Sequence[Piece]) -> int:
    """How many requests as near as an operator's will be taken before the last of these."""
    count: int = await desk.database.fetchval(
        """
        WITH mine AS (SELECT provider_id, max(requested_at) AS asked FROM sync_runs WHERE run_id = ANY($1) GROUP BY 1)
        SELECT count(*) FROM sync_runs r JOIN mine USING (provider_id)
        WHERE r.state IN ('requested', 'running') AND r.sync_class = 'raceday' AND r.requested_at < mine.asked
          AND r.run_id <> ALL($1)
        """,
        [piece.run_id for piece in pieces],
    )
    return count
