"""The writer alone, through its real handler, against bare COPY of the same rows into the same columns."""

import asyncio
import gc
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any
from uuid import UUID, uuid4

from fetcher.telling import introduce
from shared.bus.inprocess import InProcessBus
from shared.bus.port import Delivery
from shared.clock import SystemClock
from shared.contracts import ParticipantsFetched, RacesFetched, encode
from shared.contracts.messages import BATCH_RECORDS
from shared.domain.participant import Participant
from shared.ops.demo.provider import pretend_provider
from shared.postgres import Database
from shared.providers.port import Credential
from shared.providers.registry import PROVIDERS, open_client
from shared.runtime import House
from shared.runtime.service import collect_less_often
from shared.settings import Settings, load
from tests.bench import processes
from tests.bench.figures import Figure, Target, middle, middle_round, spread
from tests.bench.place import Place
from tests.bench.processes import Processes, used
from tests.builders import SEALER, Tenant, a_partner
from writer import participants
from writer.handlers import on_message
from writer.settings import WriterSettings

PROVIDER = PROVIDERS["runsignup"]
PEOPLE, PEOPLE_QUICK = 40_000, 10_000
#: A round does each kind of work turn by turn, so many batches at a time: a machine's speed changes within seconds.
TURN = 20


@dataclass(frozen=True, slots=True)
class People:
    """Everybody of a pretend partner, as the provider sends them: race records, and batches of a race's people."""

    races: list[Any]
    batches: list[tuple[str, list[Any]]]

    @property
    def count(self) -> int:
        return sum(len(records) for _, records in self.batches)


@dataclass(frozen=True, slots=True)
class Taken:
    """How long some work took: by the clock, and in processor seconds."""

    seconds: float
    cpu: dict[str, float]

    def __add__(self, more: "Taken") -> "Taken":
        return Taken(
            self.seconds + more.seconds, {name: self.cpu.get(name, 0.0) + value for name, value in more.cpu.items()}
        )


@dataclass(frozen=True, slots=True)
class Round:
    """The same people, again and again."""

    bare: Taken  # batch after batch on one connection, as the batches of a race are written
    bare_twice: Taken  # two in flight
    new: Taken
    unchanged: Taken

    @property
    def against_bare(self) -> float:
        return self.bare.seconds / self.new.seconds

    @property
    def against_bare_twice(self) -> float:
        return self.bare_twice.seconds / self.new.seconds

    @property
    def against_new(self) -> float:
        return self.new.seconds / self.unchanged.seconds


async def writer(place: Place) -> list[Figure]:
    """All new against bare COPY; nothing changed against all new."""
    people = await invite(place, PEOPLE_QUICK if place.is_quick else PEOPLE)
    rounds: list[Round] = []
    count = 3 * place.rounds  # they are short, and the figure is close to what it is to be
    for _ in range(count):
        async with place.database_url() as url:
            rounds.append(await measure(url, people))
        place.say(
            f"writer, round {len(rounds)} of {count}: {rounds[-1].against_bare:.2f} of bare COPY,"
            f" nothing changed {rounds[-1].against_new:.1f} times as fast as all new"
        )
    shown = middle_round(rounds, lambda each: each.against_bare)
    per = 100_000 / people.count
    costs = "; ".join(
        f"{name} {people.count / taken.seconds:,.0f}/s ("
        + ", ".join(f"{role} {seconds * per:.1f}" for role, seconds in taken.cpu.items())
        + ")"
        for name, taken in (
            ("bare COPY", shown.bare),
            ("bare COPY two in flight", shown.bare_twice),
            ("all new", shown.new),
            ("nothing changed", shown.unchanged),
        )
    )
    return [
        Figure(
            "writer, batches of 500, all new, against bare COPY",
            middle(rounds, lambda each: each.against_bare),
            "of its rate",
            Target("≥", 0.50),
            f"{people.count:,} people in {len(people.batches)} batches; in brackets processor seconds"
            f" per 100,000: {costs}; {spread([each.against_bare for each in rounds])}",
        ),
        Figure(
            "writer, the same against bare COPY two in flight",
            middle(rounds, lambda each: each.against_bare_twice),
            "of its rate",
            None,
            spread([each.against_bare_twice for each in rounds]),
        ),
        Figure(
            "writer, nothing changed, against all new",
            middle(rounds, lambda each: each.against_new),
            "times its rate",
            Target("≥", 6),
            spread([each.against_new for each in rounds]),
        ),
    ]


async def invite(place: Place, count: int) -> People:
    """Fetch everybody of a pretend world of one partner with the hub's own client."""
    place.say(f"inventing {count:,} people of one partner ...")
    words = ("--partners", "1", "--events", "60", "--future-events", "40", "--largest-event", "4000")
    async with pretend_provider(*words, "--future-people", str(count), "--people", str(count + 2000)) as provider:
        settings = load(Settings, _env_file=None, runsignup_base_url=provider.url)
        client = open_client(PROVIDER.name, settings, timeout_seconds=60)
        try:
            who = (await provider.partners())[0]
            key = Credential(who.key, who.secret, who.form)
            since = datetime.now(UTC).date()
            races = PROVIDER.read_races(await client.ask(PROVIDER.ask_races(page=1, start_date=since), key)).records
            batches = []
            for record in races:
                race = PROVIDER.map_race(record)
                events = [each.event_id for each in race.events]  # type: ignore[union-attr]  # a simulator's is usable
                last: int | None = None
                while True:
                    call = PROVIDER.ask_participants(
                        race.race_id,  # type: ignore[union-attr]
                        events,
                        after_id=last,
                        modified_after=None,
                        page_size=2500,
                        include=(),
                    )
                    page = PROVIDER.read_participants(await client.ask(call, key))
                    if not page.count:
                        break
                    last = page.last_id
                    batches += [
                        (race.race_id, list(page.records[start : start + BATCH_RECORDS]))  # type: ignore[union-attr]
                        for start in range(0, page.count, BATCH_RECORDS)
                    ]
        finally:
            await client.close()
    return People(list(races), batches)


async def measure(url: str, people: People, *, stored: int = 0) -> Round:
    """One round in a database of its own, in which some others are ``stored`` already."""
    database = await Database.connect(url, name="bench")
    try:
        clock, random = SystemClock(), Random(88)
        bus = InProcessBus(clock, random, providers=tuple(PROVIDERS))
        house = House(load(Settings, _env_file=None), clock, random, database, bus, SEALER)
        taking_part = Processes()
        taking_part.watch("client", os.getpid())
        taking_part.watch("postgres", await processes.postgres(database))
        tenant = await a_partner(database)
        if stored:
            await crowd(database, tenant, stored)
        handle = handler(house)
        await handle(_delivery(_races(tenant, people)))
        for table in ("bare", "bare_twice"):
            await database.execute(f"CREATE TABLE hub.{table} (LIKE hub.participants INCLUDING ALL)")
        kinds = (
            (_copies(database, "bare", tenant, people), 1),
            (_copies(database, "bare_twice", tenant, people), None),
            (await batches(database, tenant, people, handle), None),
            (await batches(database, tenant, people, handle), None),
        )
        taken = [Taken(0.0, {}) for _ in kinds]
        for begin in range(0, len(people.batches), TURN):
            for number, (work, in_flight) in enumerate(kinds):
                taken[number] += await _take(taking_part, work[begin : begin + TURN], in_flight)
        bare, bare_twice, new, unchanged = taken
        written = await database.fetchval("SELECT count(*) FROM participants") - stored
        assert written == await database.fetchval("SELECT count(*) FROM bare"), "both must have stored everybody"
        await bus.close()
        return Round(bare, bare_twice, new, unchanged)
    finally:
        await database.close()


async def crowd(database: Database, tenant: Tenant, count: int) -> None:
    """People of the same partner, a thousand a race, as wide as real ones; and their statistics, as after a minute."""
    await database.execute(
        """
        INSERT INTO participants (provider_id, timing_partner_id, registration_id, race_id, event_id, user_id,
            first_name, last_name, email, gender, phone, address, bib, age, registered_at, team_info, payment_info,
            additional_data, provider_modified_at, content_hash, credentials_used, fetched_at, presence_at,
            first_seen_at, changed_at)
        SELECT $1, $2, (900000000 + n)::text, (700000 + n / 1000)::text, (800000 + n / 500)::text, n::text,
            'First' || n % 977, 'Last' || n % 7919, 'runner' || n || '@example.com', 'F', '555-010-' || n % 10000,
            '{"street": "427 Bay Rd", "city": "Kettle Creek", "state": "PA", "zipcode": "15000", "country_code": "US"}',
            (n % 1000)::text, n % 80, $3, '{"team_id": null, "team_name": null}',
            '{"race_fee": 45.00, "processing_fee": 3.70, "amount_paid": 48.70, "transaction_id": "ay_0000000006C5"}',
            '{"giveaway": "M", "imported": false}', $3, decode(md5(n::text), 'hex'), 'bench', $3, $3, $3, $3
        FROM generate_series(1, $4::integer) AS n
        """,
        PROVIDER.provider_id,
        tenant.timing_partner_id,
        datetime.now(UTC),
        count,
    )
    await database.execute("ANALYZE hub.participants")


def handler(house: House) -> Callable[[Delivery], Awaitable[None]]:
    """The writer's one handler, in its house."""
    settings = WriterSettings()

    async def handle(delivery: Delivery) -> None:
        await on_message(delivery, house=house, settings=settings)

    return handle


async def batches(
    database: Database, tenant: Tenant, people: People, handle: Callable[[Delivery], Awaitable[None]]
) -> list[Callable[[], Awaitable[None]]]:
    """The work of a full pass: its messages, encoded already, each of a run that a fetcher holds."""
    runs: dict[str, UUID] = {}
    sequences: dict[str, int] = {}
    work: list[Callable[[], Awaitable[None]]] = []
    fetched_at = datetime.now(UTC)
    for race_id, records in people.batches:
        if race_id not in runs:
            runs[race_id] = await _run(database, tenant, race_id, fetched_at)
        sequences[race_id] = sequences.get(race_id, 0) + 1
        body = ParticipantsFetched(
            run_id=runs[race_id],
            attempt=1,
            provider=PROVIDER.name,
            timing_partner_id=tenant.timing_partner_id,
            sequence=sequences[race_id],
            fetched_at=fetched_at,
            credential_id=tenant.credential_id,
            race_id=race_id,
            **introduce(records, PROVIDER, race_id),
        )
        work.append(partial(handle, _delivery(body)))
    return work


def _copies(database: Database, table: str, tenant: Tenant, people: People) -> list[Callable[[], Awaitable[None]]]:
    """COPY and nothing else, of rows mapped already, into an identical table with the same indexes."""
    now = datetime.now(UTC)
    head, tail = (PROVIDER.provider_id, tenant.timing_partner_id), (tenant.fingerprint, now, now, now, now)
    work: list[Callable[[], Awaitable[None]]] = []
    for race_id, records in people.batches:
        mapped = (PROVIDER.map_participant(each, race_id) for each in records)
        rows = [(*head, *each, *tail) for each in mapped if isinstance(each, Participant)]

        async def copy(rows: Sequence[tuple[Any, ...]] = rows) -> None:
            async with database.connection() as connection:
                await connection.copy_records_to_table(
                    table, schema_name="hub", columns=participants.COPIED, records=rows
                )

        work.append(copy)

    return work


def _forget_what_is_held() -> None:
    """Keep the collector from walking through everybody whom this process holds and no writer would."""
    collect_less_often()  # as a service does
    gc.collect()
    gc.freeze()


async def _take(
    taking_part: Processes, work: Sequence[Callable[[], Awaitable[None]]], in_flight: int | None = None
) -> Taken:
    """Do it, with as many in flight as the writer has unless said otherwise."""
    waiting = deque(work)

    async def worker() -> None:
        while waiting:
            await waiting.popleft()()

    _forget_what_is_held()
    before, began = taking_part.seconds(), time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(in_flight or WriterSettings().write_concurrency)))
    seconds = time.perf_counter() - began
    return Taken(seconds, used(before, taking_part.seconds()))


def _races(tenant: Tenant, people: People) -> RacesFetched:
    return RacesFetched(
        run_id=uuid4(),
        attempt=1,
        provider=PROVIDER.name,
        timing_partner_id=tenant.timing_partner_id,
        sequence=1,
        fetched_at=datetime.now(UTC),
        credential_id=tenant.credential_id,
        records=people.races,
    )


def _delivery(body: RacesFetched | ParticipantsFetched) -> Delivery:
    now = datetime.now(UTC)
    return Delivery(encode(body, id=uuid4(), occurred_at=now, source="bench"), "bench", 1, now)


async def _run(database: Database, tenant: Tenant, race_id: str, now: datetime) -> UUID:
    run_id = uuid4()
    await database.execute(
        """
        INSERT INTO sync_runs (run_id, subject, kind, provider_id, timing_partner_id, credential_id, race_id, mode,
            sync_class, reason, state, requested_at, deadline_seconds, deadline_at, attempt)
        VALUES ($1, $2, 'race', $3, $4, $5, $6, 'full', 'routine', 'first', 'running', $7, 3600, $8, 1)
        """,
        run_id,
        f"bench:{run_id}",
        PROVIDER.provider_id,
        tenant.timing_partner_id,
        tenant.credential_id,
        race_id,
        now,
        now + timedelta(hours=1),
    )
    return run_id
