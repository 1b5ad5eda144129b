"""No interleaving of writes at the provider with the calls of passes loses a row.

A provider is simulated on paper: rows with whole-second dates, keyset pages, an inclusive `modified_after`, a `Date` of
a moment after the rows were read, or none. Passes page and move their cursors exactly as the services do.
"""

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import overload

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fetcher.paging import Progress, Received, Stage, after_page, begin
from shared.domain.cursor import OVERLAP, next_cursor
from shared.domain.run import Kind, Mode

SMALLEST_PAGE = 2  # what the server serves at least
PAGE_SIZE = 3


@dataclass(frozen=True)
class Write:
    """Something happens at the provider after a while."""

    after: float
    what: str  # register, edit or remove
    who: int  # index into those who are there


@dataclass(frozen=True)
class Gap:
    """What happens before a call, and how the call is answered."""

    writes: tuple[Write, ...] = ()
    date_after: float | None = 0.0  # seconds from reading the rows to writing the Date; None: no Date
    served: int = PAGE_SIZE


QUIET = Gap()


@dataclass
class Provider:
    now: float = 1000.0
    rows: dict[int, tuple[int, int]] = field(default_factory=dict)  # id: modified, version
    removed: dict[int, int] = field(default_factory=dict)  # id: modified
    highest: int = 0
    version: int = 0

    def write(self, write: Write) -> None:
        self.now += write.after
        self.version += 1
        second = math.floor(self.now)
        if write.what == "register":
            self.highest += 1
            self.rows[self.highest] = (second, self.version)
        elif self.rows:
            someone = sorted(self.rows)[write.who % len(self.rows)]
            if write.what == "edit":
                self.rows[someone] = (second, self.version)
            else:
                del self.rows[someone]
                self.removed[someone] = second


@dataclass
class Hub:
    """What is stored, and where the next pass starts."""

    provider: Provider
    rows: dict[int, tuple[int, int]] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    cursor: datetime | None = None
    reach: datetime | None = None  # where the removals of the next pass that asks for them start

    def run(self, mode: Mode, gaps: list[Gap], *, removals: bool, abandoned: bool) -> None:
        if self.cursor is None:
            mode = Mode.FULL
        starts = [each for each in (self.cursor, self.reach) if each is not None]
        after = min(starts) if removals and starts else self.cursor
        began = self.provider.now
        progress, seen = begin(Kind.RACE), set[int]()
        while progress.stage is not Stage.DONE:
            gap = gaps.pop(0) if gaps else QUIET
            for write in gap.writes:
                self.provider.write(write)
            progress = self._page(progress, mode, after, gap, seen, removals=removals)
            if abandoned and not gaps:
                return  # some rows came, the run did not end: neither cursor nor removals
        if mode is Mode.FULL:
            self.gone |= {each for each in self.rows if each not in seen and self.first_seen(each) < began}
        self._move(progress, removals=removals)

    def first_seen(self, registration: int) -> float:
        return float(self.rows[registration][0])

    def _page(
        self, progress: Progress, mode: Mode, after: datetime | None, gap: Gap, seen: set[int], *, removals: bool
    ) -> Progress:
        people = progress.stage is Stage.PARTICIPANTS
        source = self.provider.rows if people else {each: (at, 0) for each, at in self.provider.removed.items()}
        since = int(after.timestamp()) if after is not None and (mode is Mode.INCREMENTAL or not people) else 0
        size = max(SMALLEST_PAGE, gap.served)
        ids = [each for each in sorted(source) if each > (progress.last_id or 0) and source[each][0] >= since][:size]
        for each in ids:
            if people:
                self.rows[each] = max(self.rows.get(each, (0, 0)), source[each])
                seen.add(each)
                self.gone.discard(each)
            else:
                self.gone.add(each)
        got = Received(
            count=len(ids),
            last_id=max(ids, default=None),
            newest_modified=max((source[each][0] for each in ids), default=None),
            answered_at=None if gap.date_after is None else instant(math.floor(self.provider.now + gap.date_after)),
            called_at=instant(self.provider.now),
            batches=1 if ids else 0,
        )
        self.provider.now += 0.3 + (gap.date_after or 0.0)
        return after_page(
            progress,
            got,
            attempt=1,
            mode=mode,
            removals=removals and after is not None,
            smallest_page=SMALLEST_PAGE,
        )

    def _move(self, progress: Progress, *, removals: bool) -> None:
        newest, first = instant(progress.newest_modified), progress.first_answer_at
        moved = next_cursor(
            newest_seen=newest,
            first_answer_at=first,
            first_page_newest=instant(progress.first_page_newest),
            before=self.cursor,
        )
        self.cursor = moved
        if removals or self.reach is None:
            self.reach = moved

    def differences(self) -> set[int]:
        """Whose stored version is not the provider's."""
        known = {each: version for each, version in self.rows.items() if each not in self.gone}
        return {each for each, _ in known.items() ^ self.provider.rows.items()}


@overload
def instant(seconds: float) -> datetime: ...
@overload
def instant(seconds: float | None) -> datetime | None: ...
def instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


moments = st.floats(0, 30, allow_nan=False).map(lambda each: round(each, 1))
writes = st.builds(
    Write, after=moments, what=st.sampled_from(("register", "edit", "edit", "remove")), who=st.integers(0, 9)
)
dates = st.none() | st.floats(0, OVERLAP.total_seconds() - 1).map(lambda each: round(each, 1))
gaps = st.builds(
    Gap,
    writes=st.lists(writes, max_size=3).map(tuple),
    date_after=dates,
    served=st.integers(SMALLEST_PAGE, PAGE_SIZE),
)
passes = st.tuples(
    st.sampled_from((Mode.INCREMENTAL, Mode.INCREMENTAL, Mode.FULL)),
    st.lists(gaps, min_size=1, max_size=6),
    st.booleans(),
    st.sampled_from((False, False, False, True)),
)


@given(first=st.integers(0, 8), rounds=st.lists(passes, min_size=1, max_size=5))
@settings(max_examples=400)
def test_whatever_is_written_while_passes_page_is_stored_after_a_quiet_one(
    first: int, rounds: list[tuple[Mode, list[Gap], bool, bool]]
) -> None:
    provider = Provider()
    for _ in range(first):
        provider.write(Write(0.4, "register", 0))
    hub = Hub(provider)
    for mode, script, removals, abandoned in rounds:
        hub.run(mode, list(script), removals=removals, abandoned=abandoned)
    provider.now += 60
    hub.run(Mode.INCREMENTAL, [], removals=True, abandoned=False)
    assert hub.differences() == set()


def test_an_edit_behind_a_long_pass_is_found_by_the_next_incremental_one() -> None:
    provider = Provider()
    for _ in range(7):
        provider.write(Write(1, "register", 0))
    hub = Hub(provider)
    behind = [QUIET, Gap((Write(30, "edit", 0), Write(30, "register", 0))), Gap((Write(400, "register", 0),))]
    hub.run(Mode.FULL, behind, removals=False, abandoned=False)
    assert hub.differences() == {1}
    provider.now += 60
    hub.run(Mode.INCREMENTAL, [], removals=False, abandoned=False)
    assert hub.differences() == set()


def test_a_removal_after_an_empty_page_without_a_date_vouches_for_nobody() -> None:
    """The list of people was read before the list of removed: what the latter shows says nothing of the former."""
    provider = Provider()
    for _ in range(3):
        provider.write(Write(20, "register", 0))
    hub = Hub(provider)
    hub.run(Mode.FULL, [], removals=False, abandoned=False)
    empty = Gap((Write(600, "remove", 2),), date_after=None)  # the one person that an incremental pass would show again
    late = Gap((Write(30, "edit", 0), Write(60, "remove", 1)), date_after=None)
    hub.run(Mode.INCREMENTAL, [empty, late], removals=True, abandoned=False)
    assert hub.differences() == {1}
    hub.run(Mode.INCREMENTAL, [], removals=True, abandoned=False)
    assert hub.differences() == set()


@pytest.mark.parametrize(
    ("newest", "answered", "first_page", "before", "after"),
    [
        (100, 50, None, None, 40),  # newer than the first answer: seen late, not vouched for
        (40, 50, None, None, 30),
        (100, None, 60, None, 50),  # no Date: the newest of the first page
        (100, 50, None, 45, 45),  # never backwards
        (100, None, None, 5, 5),  # nothing vouches
        (None, 50, None, 5, 5),  # nothing seen moves nothing
        (None, 50, None, None, None),
    ],
)
def test_the_cursor_stays_behind_what_the_pass_can_vouch_for(
    newest: int | None, answered: int | None, first_page: int | None, before: int | None, after: int | None
) -> None:
    moved = next_cursor(
        newest_seen=instant(newest) if newest else None,
        first_answer_at=instant(answered) if answered else None,
        first_page_newest=instant(first_page) if first_page else None,
        before=instant(before) if before else None,
    )
    assert moved == (instant(after) if after else None)
