"""The change feed: numbers without gaps in the order of commits, and no reader ever misses a row."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from itertools import pairwise
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.bus.inprocess import InProcessBus
from shared.bus.port import Message
from shared.bus.topology import MAX_MESSAGE_BYTES
from shared.contracts import Diff, ParticipantsChanged
from shared.domain.run import Kind, Mode, Reason, State
from shared.postgres import Connection, Database
from shared.postgres.outbox import number_changes
from shared.runtime import House
from shared.runtime.relay import Publisher, relay
from tests import fakes
from tests.builders import EVENT, NOON, PROVIDER, RACE
from writer.store import Place, RunRow, record_changes
from writer.telling import tell_changes

PLACE = Place(PROVIDER.provider_id, 1, RACE)


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Database]:
    """Connections enough for five open transactions, a relay and a reader."""
    async with fakes.a_database(database_url, size=8) as database:
        yield database


def a_run_row() -> RunRow:
    return RunRow(uuid4(), Kind.RACE, Mode.FULL, Reason.SCHEDULE, State.RUNNING, (EVENT,), None)


def a_message() -> Message:
    """What diffs are told in; nobody publishes it here."""
    return Message(str(uuid4()), ParticipantsChanged.TYPE, ParticipantsChanged.TYPE, b"{}")


def diffs(name: str, size: int) -> list[Diff]:
    return [
        {"registration_id": f"{name}.{each}", "event_id": EVENT, "kind": "added", "fields": {}} for each in range(size)
    ]


@dataclass(frozen=True)
class Step:
    """One of five writers writes, commits or gives up; the relay numbers; or a reader polls."""

    what: str
    writer: int = 0
    size: int = 1


steps = st.one_of(
    st.builds(Step, st.just("write"), st.integers(0, 4), st.integers(1, 3)),
    st.builds(Step, st.just("write"), st.integers(0, 4), st.integers(1, 3)),
    st.builds(Step, st.just("commit"), st.integers(0, 4)),
    st.builds(Step, st.just("commit"), st.integers(0, 4)),
    st.builds(Step, st.just("give up"), st.integers(0, 4)),
    st.just(Step("number")),
    st.just(Step("poll")),
)


class GaveUpError(Exception):
    """A writer's transaction fails."""


@dataclass
class Writer:
    """An open transaction, and what was written in it."""

    transaction: AbstractAsyncContextManager[Connection]
    connection: Connection
    written: list[str] = field(default_factory=list)


@dataclass
class Feed:
    """Writers with open transactions, a relay, and a reader that asks for everything since what it has."""

    database: Database
    writers: dict[int, Writer] = field(default_factory=dict)
    committed: dict[str, int] = field(default_factory=dict)  # registration: how many numberings came before its commit
    numberings: int = 0
    read: list[str] = field(default_factory=list)
    names: int = 0

    async def take(self, step: Step) -> None:
        match step.what:
            case "write":
                await self._write(step.writer, step.size)
            case "number":
                async with self.database.connection() as connection:
                    await number_changes(connection)
                self.numberings += 1
            case "poll":
                await self._poll()
            case what if writer := self.writers.pop(step.writer, None):
                if what == "commit":
                    await writer.transaction.__aexit__(None, None, None)
                    self.committed |= dict.fromkeys(writer.written, self.numberings)
                else:
                    await writer.transaction.__aexit__(GaveUpError, GaveUpError(), None)

    async def _write(self, number: int, size: int) -> None:
        if number not in self.writers:
            transaction = self.database.transaction()
            self.writers[number] = Writer(transaction, await transaction.__aenter__())
        writer = self.writers[number]
        self.names += 1
        told = diffs(str(self.names), size)
        await record_changes(writer.connection, a_run_row(), PLACE, told, NOON, a_message())
        writer.written += [each["registration_id"] for each in told]

    async def _poll(self) -> None:
        rows = await self.database.fetch(
            "SELECT feed_id, registration_id FROM change_feed WHERE feed_id > $1 ORDER BY feed_id", len(self.read)
        )
        for row in rows:
            self.read.append(row["registration_id"])
            assert row["feed_id"] == len(self.read), "a gap, or a row that came behind the reader"


@given(script=st.lists(steps, max_size=25))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_reader_sees_every_committed_row_once_without_a_gap_in_the_order_of_commits(
    script: list[Step], pool: Database
) -> None:
    await pool.execute("TRUNCATE change_batches, changes RESTART IDENTITY")
    feed = Feed(pool)
    for step in [*script, *(Step("commit", each) for each in range(5)), Step("number"), Step("poll")]:
        await feed.take(step)
    assert sorted(feed.read) == sorted(feed.committed)
    # What was committed before a numbering stands before what was committed after it.
    assert all(feed.committed[one] <= feed.committed[two] for one, two in pairwise(feed.read))


async def test_a_transaction_that_began_first_and_commits_last_comes_behind(pool: Database) -> None:
    feed = Feed(pool)
    for step in (Step("write", 0), Step("write", 1), Step("commit", 1), Step("number"), Step("poll")):
        await feed.take(step)
    assert feed.read == ["2.0"]
    for step in (Step("commit", 0), Step("number"), Step("poll")):
        await feed.take(step)
    assert feed.read == ["2.0", "1.0"]


async def test_two_relays_and_many_writers_at_once_leave_one_feed(pool: Database, other_database: Database) -> None:
    """Each relay numbers and publishes while it holds the lock; the other stands by, and takes over."""
    clocks = fakes.ManualClock(), fakes.ManualClock()
    houses = [fakes.a_house(each, clock) for each, clock in zip((pool, other_database), clocks, strict=True)]
    running = [asyncio.create_task(relay(house)) for house in houses]

    async def write(writer: int) -> None:
        for number in range(8):
            async with pool.transaction() as connection:
                told = diffs(f"{writer}-{number}", 1 + number % 3)
                await tell_changes(connection, a_run_row(), PLACE, told, house=houses[writer % 2], now=NOON)
                if number == 5:
                    running[writer % 2].cancel()  # a relay dies; the bell of the other rings or its time comes
            await asyncio.sleep(0.001 * writer)

    running.append(asyncio.create_task(relay(fakes.a_house(pool, fakes.ManualClock()))))
    await asyncio.gather(*(write(writer) for writer in range(3)))
    async with asyncio.timeout(10):  # one relay is left, and looks all the time
        while await pool.fetchval("SELECT count(*) FROM outbox"):  # noqa: ASYNC110 - rows ring no bell here
            await asyncio.sleep(0.01)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    numbers = [row["feed_id"] for row in await pool.fetch("SELECT feed_id FROM change_feed ORDER BY feed_id")]
    assert numbers == list(range(1, 1 + 3 * sum(1 + number % 3 for number in range(8))))


async def relay_once(house: House) -> int:
    """Publish what may leave; how many rows it was."""
    publisher = Publisher(house, asyncio.Event())
    begun = await publisher.start()
    await publisher.finish()
    return begun


async def test_a_message_of_diffs_waits_for_its_number_and_carries_it(pool: Database) -> None:
    house = fakes.a_house(pool)
    assert isinstance(house.bus, fakes.RecordingBus)
    for name, size in (("1", 3), ("2", 2)):
        async with pool.transaction() as connection:
            await tell_changes(connection, a_run_row(), PLACE, diffs(name, size), house=house, now=NOON)
    assert await relay_once(house) == 0
    async with pool.connection() as connection:
        assert await number_changes(connection) == 5
    assert await relay_once(house) == 2
    told = [each for each in house.bus.bodies if isinstance(each, ParticipantsChanged)]
    assert [(each.feed_first, len(each.diffs)) for each in told] == [(1, 3), (4, 2)]
    assert await pool.fetchval("SELECT count(*) FROM outbox") == 0


def a_diff_of(name: str, size: int) -> Diff:
    """A diff whose message has about so many bytes."""
    fields: dict[str, tuple[object, object]] = {"bib": ("5", "6"), "email": (None, "x" * size)}
    return {"registration_id": name, "event_id": EVENT, "kind": "updated", "fields": fields}


async def test_diffs_too_large_for_one_message_are_told_in_several_that_the_bus_takes(pool: Database) -> None:
    house = fakes.a_house(pool)
    bus = InProcessBus(house.clock, house.random, providers=("runsignup",))
    whole = [a_diff_of(str(each), MAX_MESSAGE_BYTES // 4) for each in range(9)]
    async with pool.transaction() as connection:
        await tell_changes(connection, a_run_row(), PLACE, whole, house=house, now=NOON)
    async with pool.connection() as connection:
        assert await number_changes(connection) == 9
    assert await relay_once(house) > 1
    assert isinstance(house.bus, fakes.RecordingBus)
    await bus.publish(house.bus.messages)  # raises when one is too large
    told = [each for each in house.bus.bodies if isinstance(each, ParticipantsChanged)]
    numbered = [
        (each.feed_first + place, diff["registration_id"]) for each in told for place, diff in enumerate(each.diffs)
    ]
    assert numbered == [(number + 1, str(number)) for number in range(9)]
    rows = await pool.fetch("SELECT feed_id, registration_id FROM change_feed ORDER BY feed_id")
    assert [tuple(row.values()) for row in rows] == numbered


async def test_a_diff_too_large_for_any_message_is_told_with_its_bib_alone_and_whole_in_the_feed(
    pool: Database,
) -> None:
    house = fakes.a_house(pool)
    async with pool.transaction() as connection:
        diff = a_diff_of("1", MAX_MESSAGE_BYTES)
        await tell_changes(connection, a_run_row(), PLACE, [diff], house=house, now=NOON)
    async with pool.connection() as connection:
        await number_changes(connection)
    await relay_once(house)
    assert isinstance(house.bus, fakes.RecordingBus)
    (told,) = house.bus.bodies
    assert isinstance(told, ParticipantsChanged)
    assert told.diffs[0]["fields"] == {"bib": ("5", "6")}
    assert await pool.fetchval("SELECT length(fields -> 'email' ->> 1) FROM changes") == MAX_MESSAGE_BYTES


async def test_numbering_again_numbers_nothing(pool: Database) -> None:
    async with pool.transaction() as connection:
        await record_changes(connection, a_run_row(), PLACE, diffs("1", 3), NOON, a_message())
    async with pool.connection() as connection:
        assert [await number_changes(connection) for _ in range(2)] == [3, 0]


async def test_the_diffs_of_one_transaction_stand_together_in_their_order(pool: Database) -> None:
    async with pool.transaction() as connection:
        await record_changes(connection, a_run_row(), PLACE, diffs("1", 3), NOON, a_message())
        await record_changes(connection, a_run_row(), PLACE, diffs("2", 1), NOON, a_message())
    async with pool.connection() as connection:
        await number_changes(connection)
    rows = await pool.fetch("SELECT feed_id, registration_id FROM change_feed ORDER BY feed_id")
    assert [tuple(row.values()) for row in rows] == [(1, "1.0"), (2, "1.1"), (3, "1.2"), (4, "2.0")]


async def test_finding_the_next_number_reads_no_history(pool: Database) -> None:
    """The relay numbers after each message of the outbox: what that costs must not grow with the feed."""
    await pool.execute(
        "INSERT INTO change_batches (feed_first, size, run_id, reason, provider_id, timing_partner_id, race_id,"
        " written_at) SELECT n, 1, gen_random_uuid(), 'schedule', 2, 1, '501', $1 FROM generate_series(1, 20000) AS n",
        NOON,
    )
    await pool.execute("ANALYZE change_batches")
    async with pool.transaction() as connection:
        await record_changes(connection, a_run_row(), PLACE, diffs("1", 1), NOON, a_message())
    reads = "SELECT seq_tup_read FROM pg_stat_xact_all_tables WHERE relid = 'change_batches'::regclass"
    async with pool.transaction() as connection:
        await number_changes(connection)
        assert await connection.fetchval(reads) == 0
    assert await pool.fetchval("SELECT max(feed_first) FROM change_batches") == 20001
