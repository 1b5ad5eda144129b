"""A run is complete if and only if exactly the batches of its pass are applied, whoever brings what in which order."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.contracts import Body, Failure, ParticipantsFetched
from shared.domain.cursor import OVERLAP
from shared.domain.run import Mode, State
from shared.postgres import Database
from tests import fakes
from tests.builders import (
    NOON,
    Tenant,
    a_batch,
    a_participant_record,
    a_partner,
    a_race,
    a_removal_record,
    a_removals_batch,
    a_run,
    an_end,
    at,
)

ABSENT = "6999"


@dataclass(frozen=True)
class Story:
    """A pass over two attempts, what was sent besides, and what of all that arrives."""

    first: int  # batches that attempt 1 confirmed and saved
    second: int  # batches that attempt 2 went on with
    strays: int  # batches that attempt 1 sent behind those, and did not save
    copies: tuple[int, ...]  # how often each message arrives: those of the pass, the end, then the strays
    order: tuple[int, ...]
    splits: tuple[bool, ...]  # which of two writers gets it


@st.composite
def stories(draw: st.DrawFn) -> Story:
    first, second, strays = draw(st.integers(0, 3)), draw(st.integers(1, 3)), draw(st.integers(0, 2))
    arrives = st.sampled_from((1, 1, 1, 2, 0)) if draw(st.booleans()) else st.sampled_from((1, 2))
    copies = tuple(draw(arrives) for _ in range(first + second + 1 + strays))
    total = sum(copies)
    order = tuple(draw(st.permutations(range(total))))
    return Story(first, second, strays, copies, order, tuple(draw(st.booleans()) for _ in range(total)))


async def someone_absent(database: Database, tenant: Tenant) -> None:
    """Somebody who was there before, whom a full pass has lacked once, and who is in no batch of the pass."""
    run_id = await a_run(database, tenant, state=State.EXPIRED)
    record = a_participant_record(int(ABSENT))
    await fakes.write(fakes.a_house(database), a_batch(tenant, run_id, [record], fetched_at=at(-600)))
    await database.execute(
        "INSERT INTO missed SELECT provider_id, timing_partner_id, race_id, gen_random_uuid(), $2, $3, true"
        " FROM race_sync WHERE timing_partner_id = $1",
        tenant.timing_partner_id,
        [ABSENT],
        at(-300),
    )


def messages_of(story: Story, tenant: Tenant, run_id: UUID) -> tuple[list[Body], list[Body]]:
    """Each message once: the pass and its end; the strays."""

    def batch(attempt: int, sequence: int) -> Body:
        people = [a_participant_record(7000 + 10 * sequence + offset) for offset in range(2)]
        return a_batch(tenant, run_id, people, attempt=attempt, sequence=sequence, fetched_at=at(sequence))

    last = story.first + story.second
    ranges = [(1, 1, story.first)] if story.first else []
    the_pass = [batch(1 if each <= story.first else 2, each) for each in range(1, last + 1)]
    end = an_end(tenant, run_id, (*ranges, (2, story.first + 1, last)), newest_modified=at(0))
    strays = [batch(1, story.first + each) for each in range(1, story.strays + 1)]
    return [*the_pass, end], strays


async def outcome(database: Database, tenant: Tenant, run_id: UUID) -> tuple[str, bool, bool, int]:
    """The run's state; whether its cursor moved; whether the absent were removed; how often its end was told."""
    state = await database.fetchval("SELECT state FROM sync_runs WHERE run_id = $1", run_id)
    cursor = await database.fetchval(
        "SELECT cursor_at FROM events WHERE timing_partner_id = $1", tenant.timing_partner_id
    )
    assert cursor in {None, NOON - OVERLAP}
    gone = await database.fetchval(
        "SELECT removed_at IS NOT NULL FROM participants WHERE timing_partner_id = $1 AND registration_id = $2",
        tenant.timing_partner_id,
        ABSENT,
    )
    told = await database.fetchval(
        "SELECT count(*) FROM outbox WHERE type = 'sync.completed.v1' AND correlation_id = $1", run_id
    )
    return state, cursor is not None, gone, told


async def stored(database: Database, tenant: Tenant) -> set[str]:
    rows = await database.fetch(
        "SELECT registration_id FROM participants WHERE timing_partner_id = $1 AND registration_id <> $2",
        tenant.timing_partner_id,
        ABSENT,
    )
    return {row["registration_id"] for row in rows}


def ids_in(messages: list[Body]) -> set[str]:
    batches = [each for each in messages if isinstance(each, ParticipantsFetched)]
    return {str(record["registration_id"]) for each in batches for record in each.records}


@given(story=stories())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_run_completes_once_if_and_only_if_exactly_its_pass_was_applied(
    story: Story, database: Database, other_database: Database
) -> None:
    tenant = await a_partner(database)
    await a_race(database, tenant)
    await someone_absent(database, tenant)
    run_id = await a_run(database, tenant, attempt=2)
    the_pass, strays = messages_of(story, tenant, run_id)
    everything = [*the_pass, *strays]
    arriving = [each for each, copies in zip(everything, story.copies, strict=True) for _ in range(copies)]
    in_order = [arriving[each] for each in story.order]
    hands: tuple[list[Body], list[Body]] = ([], [])
    for message, second in zip(in_order, story.splits, strict=True):
        hands[second].append(message)

    await asyncio.gather(
        fakes.write(fakes.a_house(database, seed=2), *hands[0]),
        fakes.write(fakes.a_house(other_database, seed=3), *hands[1]),
    )

    whole = all(story.copies[: len(the_pass)])
    state, moved, removed, told = await outcome(database, tenant, run_id)
    end_came = story.copies[len(the_pass) - 1] > 0
    assert state == (State.COMPLETED if whole else State.FETCHED if end_came else State.RUNNING)
    assert (moved, removed, told) == (whole, whole, int(whole))
    assert await stored(database, tenant) == ids_in(arriving)  # rows are applied whatever becomes of the run
    if not whole:  # what was lost comes after all
        await fakes.write(fakes.a_house(database, seed=4), *the_pass)
        assert await outcome(database, tenant, run_id) == (State.COMPLETED, True, True, 1)


@pytest.mark.parametrize("state", [State.EXPIRED, State.REPLACED, State.FAILED])
async def test_batches_that_come_after_a_run_has_ended_bring_their_rows_and_nothing_else(
    state: State, database: Database
) -> None:
    tenant = await a_partner(database)
    await a_race(database, tenant)
    await someone_absent(database, tenant)
    run_id = await a_run(database, tenant, state=state)
    batch = a_batch(tenant, run_id, [a_participant_record(7001)], fetched_at=at(1))
    await fakes.write(fakes.a_house(database), batch, an_end(tenant, run_id))
    assert await stored(database, tenant) == {"7001"}
    assert await outcome(database, tenant, run_id) == (state, False, False, 0)


async def test_a_pass_that_becomes_whole_after_its_deadline_completes_nothing(
    database: Database, clock: fakes.ManualClock
) -> None:
    tenant = await a_partner(database)
    await a_race(database, tenant)
    await someone_absent(database, tenant)
    run_id = await a_run(database, tenant, deadline_at=NOON + timedelta(minutes=3))
    house = fakes.a_house(database, clock)
    await fakes.write(house, an_end(tenant, run_id))
    clock.pass_(181)
    await fakes.write(house, a_batch(tenant, run_id, [a_participant_record(7001)], fetched_at=at(1)))
    assert await stored(database, tenant) == {"7001"}
    assert await outcome(database, tenant, run_id) == (State.FETCHED, False, False, 0)


async def test_removed_people_belong_to_the_pass_too(database: Database) -> None:
    tenant = await a_partner(database)
    await a_race(database, tenant)
    await someone_absent(database, tenant)
    run_id = await a_run(database, tenant, mode=Mode.INCREMENTAL, removals=True)
    house = fakes.a_house(database)
    await fakes.write(house, a_batch(tenant, run_id, [a_participant_record(7001)]), an_end(tenant, run_id, [(1, 1, 2)]))
    assert (await outcome(database, tenant, run_id))[:3] == (State.FETCHED, False, False)
    await fakes.write(house, a_removals_batch(tenant, run_id, [a_removal_record(int(ABSENT))], sequence=2))
    assert (await outcome(database, tenant, run_id))[:3] == (State.COMPLETED, True, True)


async def test_an_incremental_pass_says_nothing_of_those_it_does_not_contain(database: Database) -> None:
    tenant = await a_partner(database)
    await a_race(database, tenant, cursor=NOON - OVERLAP)
    await someone_absent(database, tenant)
    run_id = await a_run(database, tenant, mode=Mode.INCREMENTAL)
    batch = a_batch(tenant, run_id, [a_participant_record(7001)])
    await fakes.write(fakes.a_house(database), batch, an_end(tenant, run_id))
    assert (await outcome(database, tenant, run_id))[:3] == (State.COMPLETED, True, False)


async def test_the_failure_of_a_run_moves_nothing_and_is_told_once(database: Database) -> None:
    tenant = await a_partner(database)
    await a_race(database, tenant)
    await someone_absent(database, tenant)
    run_id = await a_run(database, tenant)
    batch = a_batch(tenant, run_id, [a_participant_record(7001)], fetched_at=at(1))
    failed = an_end(tenant, run_id, failure=Failure(code="error_17", consequence="never", message="refused"))
    await fakes.write(fakes.a_house(database), batch, failed, failed)
    assert await outcome(database, tenant, run_id) == (State.FAILED, False, False, 1)


async def test_a_cursor_never_goes_back(database: Database) -> None:
    tenant = await a_partner(database)
    await a_race(database, tenant, cursor=NOON - OVERLAP)
    run_id = await a_run(database, tenant, mode=Mode.INCREMENTAL)
    end = an_end(tenant, run_id, newest_modified=at(-3600))
    await fakes.write(fakes.a_house(database), a_batch(tenant, run_id, [a_participant_record()]), end)
    assert (await outcome(database, tenant, run_id))[:2] == (State.COMPLETED, True)


async def test_the_cursor_of_removed_people_moves_only_with_a_pass_that_asked_for_them(database: Database) -> None:
    tenant = await a_partner(database)
    await a_race(database, tenant)
    house = fakes.a_house(database)
    found = []
    for number, removals in enumerate((False, False, True)):
        mode = Mode.INCREMENTAL if number else Mode.FULL
        run_id = await a_run(database, tenant, mode=mode, removals=removals)
        person = a_participant_record(modified=100 * number)
        moment = at(100 * number)
        end = an_end(tenant, run_id, first_call_at=moment, first_answer_at=moment, newest_modified=moment)
        await fakes.write(house, a_batch(tenant, run_id, [person], fetched_at=moment), end)
        row = await database.fetchrow("SELECT cursor_at, removals_cursor_at FROM events")
        assert row is not None
        found.append(((row["cursor_at"] - NOON).total_seconds(), (row["removals_cursor_at"] - NOON).total_seconds()))
    assert found == [(-10, -10), (90, -10), (190, 190)]


async def test_ranges_of_bibs_are_kept_with_the_events_of_the_run_that_read_them(
    database: Database,
) -> None:
    house = fakes.a_house(database)
    tenant = await a_partner(database)
    await a_race(database, tenant, events=("1", "2", "3"))

    async def kept(ranges: dict[str, list[tuple[int, int]]]) -> list[str | None]:
        run_id = await a_run(database, tenant, events=("1", "2", "3"))
        await fakes.write(house, an_end(tenant, run_id, (), bib_ranges=ranges))
        rows = await database.fetch("SELECT bib_ranges FROM events ORDER BY event_id")
        return [row["bib_ranges"] for row in rows]

    assert await kept({"1": [(1, 99), (200, 299)], "2": [], "9": [(1, 2)]}) == ["[[1, 99], [200, 299]]", "[]", None]
    assert await kept({}) == ["[[1, 99], [200, 299]]", "[]", None]  # not read this time
    assert await kept({"1": [], "2": [(5, 6)]}) == ["[]", "[[5, 6]]", None]


@pytest.mark.parametrize(
    ("asked", "asked_then", "due_then"),
    [
        (600, 0, 60),  # asks joined it, or it waited between its calls: what it brings is ten minutes old
        (-5, -5, 55),  # asked for, and called a moment later
        (None, None, 660),  # to be asked for anyway, whatever this run brings
    ],
)
async def test_the_next_round_is_due_an_interval_after_what_this_one_knows(
    database: Database, asked: float | None, asked_then: float | None, due_then: float
) -> None:
    tenant = await a_partner(database)
    last_asked_at = None if asked is None else at(asked)
    due = at(660 if asked is None else asked + 60)
    await a_race(database, tenant, last_asked_at=last_asked_at, next_due_at=due)
    await fakes.write(fakes.a_house(database), an_end(tenant, await a_run(database, tenant), ()))
    row = await database.fetchrow("SELECT last_asked_at, next_due_at FROM race_sync")
    assert row is not None
    assert tuple(row) == (None if asked_then is None else at(asked_then), at(due_then))
