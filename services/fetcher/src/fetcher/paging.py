"""Which page next, and when a pass is over. Plain functions over frozen values.

A full pass of a race ends only with an empty page: completeness is proven, for one call. An empty page behind one as
long as the longest is doubted and asked for once more: a list ends there once in a page's length, or somebody lies.

Every other list ends with a page shorter than the provider's smallest default page, since a server that silently
serves less than asked for serves at least that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from shared.domain.run import Kind, Mode

Range = tuple[int, int, int]  # attempt, first and last sequence
Mark = tuple[int, int, int, int]  # at a page's end: sequence, last id, records, pages


class Stage(StrEnum):
    """Which list is being paged through."""

    RACES = "races"
    RACE = "race"
    PARTICIPANTS = "participants"
    REMOVED = "removed"
    BIB = "bib"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come; saved after each page, so that another attempt goes on from there."""

    stage: Stage
    page: int = 1  # for lists that are paged by number
    last_id: int | None = None  # for lists that are paged by key
    sequence: int = 0
    ranges: tuple[Range, ...] = ()
    records: int = 0
    pages: int = 0
    first_call_at: datetime | None = None
    first_answer_at: datetime | None = None  # the provider's Date
    first_page_newest: int | None = None  # Unix seconds
    newest_modified: int | None = None
    last_count: int = 0  # people on the last page of this list
    longest: int = 0  # on its longest one
    is_doubted: bool = False  # its end was seen once and is asked for again
    marks: tuple[Mark, ...] = ()  # of a full pass: where each of its pages ended


@dataclass(frozen=True, slots=True)
class Received:
    """What paging needs to know of a page."""

    count: int
    last_id: int | None
    newest_modified: int | None
    answered_at: datetime | None
    called_at: datetime
    batches: int  # messages it was cut into


def begin(kind: Kind, *, of_race: bool = False) -> Progress:
    """Where a run starts; ``of_race`` says that it names a race."""
    match kind:
        case Kind.HISTORY if of_race:
            return Progress(Stage.RACE)
        case Kind.DISCOVER | Kind.VERIFY | Kind.HISTORY:
            return Progress(Stage.RACES)
        case Kind.RACE:
            return Progress(Stage.PARTICIPANTS)
        case Kind.BIB:
            return Progress(Stage.BIB)
        case Kind.REPLAY:
            return Progress(Stage.DONE)


def is_last(stage: Stage, mode: Mode, count: int, smallest_page: int) -> bool:
    """Whether nothing of this list can follow a page of ``count`` records."""
    if stage in {Stage.BIB, Stage.RACE}:
        return True
    if stage is Stage.PARTICIPANTS and mode is Mode.FULL:
        return count == 0
    return count < smallest_page


def next_stage(stage: Stage, *, removals: bool) -> Stage:
    """What follows a list: after a race's people, if wanted, those who left."""
    return Stage.REMOVED if stage is Stage.PARTICIPANTS and removals else Stage.DONE


def after_page(
    progress: Progress,
    got: Received,
    *,
    attempt: int,
    mode: Mode,
    removals: bool,
    smallest_page: int,
    full_page: int | None = None,
) -> Progress:
    """The progress once a page's batches have been confirmed. ``full_page`` is how many people were asked for."""
    first = progress.sequence + 1
    last = progress.sequence + got.batches
    newest = max((each for each in (progress.newest_modified, got.newest_modified) if each is not None), default=None)
    done = replace(
        progress,
        page=progress.page + 1,
        last_id=got.last_id if got.last_id is not None else progress.last_id,
        sequence=last,
        ranges=extend(progress.ranges, attempt, first, last) if got.batches else progress.ranges,
        records=progress.records + got.count,
        pages=progress.pages + 1,
        first_call_at=progress.first_call_at or got.called_at,
        first_answer_at=progress.first_answer_at or (got.answered_at if progress.pages == 0 else None),
        first_page_newest=got.newest_modified if progress.pages == 0 else progress.first_page_newest,
        newest_modified=newest,
    )
    if mode is Mode.FULL and progress.stage is Stage.PARTICIPANTS and got.last_id is not None:
        done = replace(done, marks=(*progress.marks, (last, got.last_id, done.records, done.pages)))
    if not is_last(progress.stage, mode, got.count, smallest_page):
        return replace(done, last_count=got.count, longest=max(progress.longest, got.count), is_doubted=False)
    if mode is Mode.FULL and progress.stage is Stage.PARTICIPANTS and is_doubtful(progress, full_page):
        return replace(done, is_doubted=True)
    return replace(
        done, stage=next_stage(progress.stage, removals=removals), page=1, last_id=None, last_count=0, longest=0
    )


def is_doubtful(progress: Progress, full_page: int | None) -> bool:
    """Whether an empty page comes where a list hardly ever ends: behind one that is no shorter than those before it, or
    behind a single one that is full."""
    if progress.is_doubted or progress.last_count == 0 or progress.last_count < progress.longest:
        return False
    return progress.pages > 1 or (full_page is not None and progress.last_count >= full_page)


def extend(ranges: Sequence[Range], attempt: int, first: int, last: int) -> tuple[Range, ...]:
    """Add a page's sequences to the pass; sequences of one attempt that follow each other are one range."""
    if ranges and ranges[-1][0] == attempt and ranges[-1][2] == first - 1:
        return (*ranges[:-1], (attempt, ranges[-1][1], last))
    return (*ranges, (attempt, first, last))
