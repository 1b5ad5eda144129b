"""The budget, in PostgreSQL: in no rolling hour more calls than the limit, over all replicas, whatever dies."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fetcher.budget import REST, Hold, Postpone
from fetcher.ledger import MARGIN, WAITS, Granted, Ledger, Wish
from fetcher.settings import FetcherSettings
from shared.domain.budget import HOUR
from shared.domain.run import Reason, SyncClass
from shared.postgres import Database
from tests.builders import NOON, PROVIDER, a_partner, at

LIMIT = 3
CALL = timedelta(seconds=60)
SETTINGS = FetcherSettings(call_seconds=60, calls_in_flight=2, reserve_share=0, slow_seconds=1000)


def a_wish(fingerprint: str, *, reason: Reason = Reason.SCHEDULE, caller: str = "runsignup:1") -> Wish:
    return Wish(PROVIDER.provider_id, fingerprint, caller, SyncClass.ROUTINE, reason, UUID(int=1))


async def a_key(database: Database, name: str, *, limit: int = LIMIT) -> str:
    await database.execute(
        "INSERT INTO provider_keys (provider_id, fingerprint, calls_per_hour) VALUES ($1, $2, $3)"
        " ON CONFLICT (provider_id, fingerprint) DO UPDATE SET calls_per_hour = $3",
        PROVIDER.provider_id,
        name,
        limit,
    )
    return name


@pytest.fixture
async def key(database: Database) -> str:
    return await a_key(database, "ours")


async def call(ledger: Ledger, wish: Wish, start: float, end: float | None = None, outcome: str = "ok") -> Granted:
    """A call that must be granted; without an end, its fetcher dies."""
    granted = await ledger.reserve(wish, at(start))
    assert isinstance(granted, Granted)
    if end is not None:
        await ledger.finish(wish, granted, outcome, at(end))
    return granted


# -- Any schedule -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """Some time passes, then somebody wants to call. A call lasts for a while, or its fetcher dies under it."""

    pause: float
    key: str
    lasts: float
    arrives: float  # a share of what it lasts
    dies: bool


steps = st.builds(
    Step,
    pause=st.sampled_from((0, 0, 0, 1, 1, 5, 30, 61, 71, 600, 3000, 3540, 3600, 3669.5)),
    key=st.sampled_from(("ours", "ours", "theirs", "others")),
    lasts=st.floats(0, 60).map(lambda each: round(each, 1)),
    arrives=st.floats(0, 1),
    dies=st.sampled_from((False, False, False, True)),
)


@dataclass
class InFlight:
    key: str
    wish: Wish
    granted: Granted
    ends_at: datetime
    dies: bool


@dataclass
class Fetchers:
    """Replicas that call by a script, and what the provider sees of it."""

    ledger: Ledger
    now: datetime = NOON
    in_flight: list[InFlight] = field(default_factory=list)
    arrivals: dict[str, list[datetime]] = field(default_factory=dict)
    waiting: dict[str, datetime] = field(default_factory=dict)
    leases: dict[int, tuple[str, datetime]] = field(default_factory=dict)

    async def pass_until(self, moment: datetime) -> None:
        """Let the calls that end until then end, each at its time."""
        for each in sorted(self.in_flight, key=lambda each: each.ends_at):
            if each.ends_at <= moment:
                self.in_flight.remove(each)
                if not each.dies:
                    self.leases.pop(each.granted.call_id)
                    await self.ledger.finish(each.wish, each.granted, "ok", each.ends_at)
        self.now = moment

    async def take(self, step: Step) -> None:
        await self.pass_until(self.now + timedelta(seconds=step.pause))
        wish = a_wish(step.key)
        verdict = await self.ledger.reserve(wish, self.now)
        leased = [key for key, until in self.leases.values() if until > self.now]
        if isinstance(verdict, Hold):
            self.waiting[step.key] = self.now + WAITS
            assert len(leased) == SETTINGS.calls_in_flight or step.key in leased, "there was a slot for it"
            return
        if isinstance(verdict, Postpone):
            assert verdict.until > self.now
            return
        others = [key for key, until in self.waiting.items() if until > self.now and key not in {step.key, *leased}]
        assert not (others and step.key in leased), "a second slot, while another key waits for one"
        self.waiting.pop(step.key, None)
        ends_at = self.now + timedelta(seconds=step.lasts)
        self.leases[verdict.call_id] = (step.key, self.now + CALL + MARGIN)
        self.in_flight.append(InFlight(step.key, wish, verdict, ends_at, step.dies))
        self.arrivals.setdefault(step.key, []).append(self.now + timedelta(seconds=step.lasts * step.arrives))
        assert sum(each.ends_at > self.now for each in self.in_flight) <= SETTINGS.calls_in_flight


@given(script=st.lists(steps, min_size=1, max_size=30))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_in_no_rolling_hour_more_calls_arrive_than_the_limit_allows(
    script: list[Step], database: Database
) -> None:
    await database.execute("TRUNCATE calls, call_slots, call_waiters")
    for name in ("ours", "theirs", "others"):
        await a_key(database, name)
    fetchers = Fetchers(Ledger(database, SETTINGS))
    for step in script:
        await fetchers.take(step)
    for arrivals in fetchers.arrivals.values():
        arrivals.sort()
        assert all(late - early >= HOUR for early, late in zip(arrivals, arrivals[LIMIT:], strict=False))
    # When all is quiet, what a postponed call was told is true: not before, and then at once.
    await fetchers.pass_until(fetchers.now + CALL)
    ledger, wish = fetchers.ledger, a_wish("ours")
    for _ in range(LIMIT + 1):
        verdict = await ledger.reserve(wish, fetchers.now)
        if isinstance(verdict, Granted):
            await ledger.finish(wish, verdict, "ok", fetchers.now)
        elif isinstance(verdict, Hold):
            await fetchers.pass_until(fetchers.now + CALL + MARGIN)  # the leases of the dead are over
    verdict = await ledger.reserve(wish, fetchers.now)
    if isinstance(verdict, Postpone):
        assert isinstance(await ledger.reserve(wish, verdict.until - timedelta(milliseconds=1)), Postpone)
        assert isinstance(await ledger.reserve(wish, verdict.until), Granted)


async def test_two_replicas_at_once_spend_exactly_the_limit_with_two_calls_in_flight(
    database: Database, other_database: Database
) -> None:
    wish = a_wish(await a_key(database, "ours", limit=12))
    ledgers = [Ledger(each, SETTINGS) for each in (database, other_database)]
    flying = most = granted = 0
    both = asyncio.Barrier(2)

    async def work(ledger: Ledger) -> None:
        nonlocal flying, most, granted
        while True:
            verdict = await ledger.reserve(wish, NOON)
            if isinstance(verdict, Postpone):
                return
            if isinstance(verdict, Hold):
                await asyncio.sleep(0.002)
                continue
            granted += 1
            flying += 1
            most = max(most, flying)
            async with asyncio.timeout(30):
                await both.wait()  # there are always two
            flying -= 1
            await ledger.finish(wish, verdict, "ok", NOON)

    await asyncio.gather(*(work(ledgers[number % 2]) for number in range(6)))
    assert (granted, most) == (12, 2)


async def test_replicas_that_reserve_at_the_same_moment_share_one_count(
    database: Database, other_database: Database
) -> None:
    """With slots of their own, nothing but the key's row stands between them and one call too many."""
    await a_key(database, "ours", limit=5)
    wishes = [a_wish("ours", caller=f"runsignup:{number}") for number in range(24)]
    ledgers = [Ledger(each, SETTINGS) for each in (database, other_database)]
    verdicts = await asyncio.gather(*(ledgers[n % 2].reserve(wish, NOON) for n, wish in enumerate(wishes)))
    assert sum(isinstance(each, Granted) for each in verdicts) == 5


async def test_a_key_that_is_blocked_while_a_call_is_decided_on_makes_none(
    database: Database, other_database: Database, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, wish = Ledger(database, SETTINGS), a_wish(key)
    look = ledger._look

    async def look_and_be_late(*question: Any) -> Any:
        seen = await look(*question)
        await Ledger(other_database, SETTINGS).block(wish, at(60), "throttled")
        return seen

    monkeypatch.setattr(ledger, "_look", look_and_be_late)
    assert await ledger.reserve(wish, at(0)) == Postpone(at(60), "throttled")


async def test_keys_that_reserve_at_the_same_moment_share_the_callers_slots(
    database: Database, other_database: Database
) -> None:
    wishes = [a_wish(await a_key(database, f"key {number}")) for number in range(24)]
    ledgers = [Ledger(each, SETTINGS) for each in (database, other_database)]
    verdicts = await asyncio.gather(*(ledgers[n % 2].reserve(wish, NOON) for n, wish in enumerate(wishes)))
    assert sum(isinstance(each, Granted) for each in verdicts) == 2
    assert await database.fetchval("SELECT count(DISTINCT call_id) FROM call_slots WHERE leased_until > $1", NOON) == 2


# -- One rule at a time -----------------------------------------------------------------------------------------------


async def test_a_call_counts_until_an_hour_after_its_end(database: Database, key: str) -> None:
    ledger, wish = Ledger(database, SETTINGS), a_wish(key)
    for _ in range(LIMIT):
        await call(ledger, wish, 0, 40)
    assert await ledger.reserve(wish, at(41)) == Postpone(at(3640), "budget")
    assert isinstance(await ledger.reserve(wish, at(3639.999)), Postpone)
    assert isinstance(await ledger.reserve(wish, at(3640)), Granted)


async def test_a_call_whose_fetcher_died_counts_until_an_hour_after_its_time_out(database: Database, key: str) -> None:
    ledger, wish = Ledger(database, SETTINGS), a_wish(key)
    for _ in range(LIMIT - 1):
        await call(ledger, wish, 0, 10)
    await call(ledger, wish, 0)
    assert await ledger.reserve(wish, at(41)) == Postpone(at(3610), "budget")
    for _ in range(LIMIT - 1):
        await call(ledger, wish, 3610, 3611)
    assert await ledger.reserve(wish, at(3612)) == Postpone(at(3670), "budget")


async def test_a_dead_fetchers_slot_is_free_after_its_lease(database: Database, key: str) -> None:
    ledger, wish = Ledger(database, SETTINGS), a_wish(key)
    await call(ledger, wish, 0)
    await call(ledger, wish, 0)
    assert isinstance(await ledger.reserve(wish, at(69)), Hold)
    assert isinstance(await ledger.reserve(wish, at(70)), Granted)


async def test_an_end_that_comes_after_its_lease_frees_nobody_elses_slot(database: Database) -> None:
    ledger, wish = Ledger(database, SETTINGS), a_wish(await a_key(database, "ours", limit=99))
    late = [await call(ledger, wish, 0) for _ in range(2)]
    for _ in range(2):
        await call(ledger, wish, 75)
    for each in late:
        await ledger.finish(wish, each, "ok", at(76))
    assert isinstance(await ledger.reserve(wish, at(77)), Hold)


async def test_while_another_key_waits_a_key_holds_one_slot(database: Database, key: str) -> None:
    ledger, ours, theirs = Ledger(database, SETTINGS), a_wish(key), a_wish(await a_key(database, "theirs"))
    first = await call(ledger, ours, 0)
    await call(ledger, ours, 0)
    assert await ledger.reserve(theirs, at(1)) == Hold(fair=False)
    await ledger.finish(ours, first, "ok", at(1.5))
    assert await ledger.reserve(ours, at(2)) == Hold(fair=True)
    await call(ledger, theirs, 2)


async def test_whoever_stopped_waiting_holds_nobody_up(database: Database, key: str) -> None:
    ledger, ours, theirs = Ledger(database, SETTINGS), a_wish(key), a_wish(await a_key(database, "theirs"))
    first = await call(ledger, ours, 0)
    await call(ledger, ours, 0)
    await ledger.reserve(theirs, at(0))
    await ledger.finish(ours, first, "ok", at(1))
    await call(ledger, ours, 2)


async def test_a_call_that_was_given_back_frees_its_slot_and_counts_no_more(database: Database) -> None:
    ledger, wish = Ledger(database, SETTINGS), a_wish(await a_key(database, "ours", limit=1))
    await ledger.give_back(wish, await call(ledger, wish, 0), at(1))
    assert await database.fetchval("SELECT count(*) FROM call_slots WHERE leased_until > $1", at(1)) == 0
    await call(ledger, wish, 1)


async def test_a_call_whose_run_is_not_ours_any_more_is_given_back(database: Database, key: str) -> None:
    async def fail(_connection: object) -> None:
        raise LookupError

    ledger = Ledger(database, SETTINGS)
    with pytest.raises(LookupError):
        await ledger.reserve(a_wish(key), at(0), fail)
    assert await database.fetchval("SELECT count(*) FROM calls WHERE counts_until > $1", at(0)) == 0
    assert await database.fetchval("SELECT count(*) FROM call_slots WHERE leased_until > $1", at(0)) == 0


async def test_the_slot_of_a_call_that_was_given_up_rests_for_a_moment(database: Database, key: str) -> None:
    """The provider may not have noticed yet, and would count a call too many in flight."""
    ledger, wish = Ledger(database, SETTINGS.model_copy(update={"calls_in_flight": 1})), a_wish(key)
    await ledger.finish(wish, await call(ledger, wish, 0), "timeout", at(5))
    assert isinstance(await ledger.reserve(wish, at(5.9)), Hold)
    await ledger.finish(wish, await call(ledger, wish, 6), "http_503", at(7))
    await call(ledger, wish, 7)


async def test_who_takes_the_last_slot_is_told(database: Database, key: str) -> None:
    ledger = Ledger(database, SETTINGS)
    assert [(await call(ledger, a_wish(key), 0)).was_last for _ in range(2)] == [False, True]


async def test_each_caller_registration_has_slots_of_its_own(database: Database, key: str) -> None:
    ledger = Ledger(database, SETTINGS)
    for _ in range(2):
        await call(ledger, a_wish(key), 0)
    assert isinstance(await ledger.reserve(a_wish(key, caller="runsignup:2"), at(0)), Granted)


async def test_the_reserve_is_for_race_day_and_operators(database: Database) -> None:
    ledger = Ledger(database, SETTINGS.model_copy(update={"reserve_share": 0.25}))
    wish = a_wish(await a_key(database, "ours", limit=4))
    for _ in range(3):
        await call(ledger, wish, 0, 10)
    assert await ledger.reserve(wish, at(20)) == Postpone(at(3610), "budget")
    await call(ledger, a_wish("ours", reason=Reason.OPERATOR), 20, 30)
    assert await ledger.reserve(a_wish("ours", reason=Reason.OPERATOR), at(40)) == Postpone(at(3610), "budget")
    # the privileged call counts too: the reserve stands open again only when two calls have stopped counting
    await call(ledger, a_wish("ours", reason=Reason.OPERATOR), 3610, 3630)
    assert isinstance(await ledger.reserve(wish, at(3640)), Granted)


async def test_a_backfill_leaves_the_fresh_its_half_of_the_hour(database: Database) -> None:
    """It counts everybody's calls: what the fresh has used of an hour, the past does not get."""
    ledger = Ledger(database, SETTINGS.model_copy(update={"backfill_share": 0.5}))
    await a_key(database, "ours", limit=6)
    past, fresh = replace(a_wish("ours"), sync_class=SyncClass.BACKFILL), a_wish("ours")
    await call(ledger, fresh, 0, 1)
    for _ in range(2):
        await call(ledger, past, 2, 3)
    assert await ledger.reserve(past, at(4)) == Postpone(at(3601), "budget")
    for _ in range(3):
        await call(ledger, fresh, 5, 6)
    assert isinstance(await ledger.reserve(fresh, at(7)), Postpone)


async def test_two_partners_who_share_a_key_share_its_budget(database: Database) -> None:
    one, two = [await a_partner(database, principal="shared") for _ in range(2)]
    assert one.fingerprint == two.fingerprint
    await a_key(database, one.fingerprint)
    ledger = Ledger(database, SETTINGS)
    for number in range(LIMIT):
        await call(ledger, a_wish((one, two)[number % 2].fingerprint), 0, 1)
    assert isinstance(await ledger.reserve(a_wish(two.fingerprint), at(2)), Postpone)


async def test_without_a_limit_of_its_own_a_key_has_the_providers(database: Database) -> None:
    tenant = await a_partner(database)
    await database.execute("UPDATE public.providers SET rate_limit_per_hour = 1 WHERE provider_id = 2")
    ledger, wish = Ledger(database, SETTINGS), a_wish(tenant.fingerprint)
    await call(ledger, wish, 0, 1)
    assert await ledger.reserve(wish, at(2)) == Postpone(at(3601), "budget")


async def test_a_throttled_key_is_blocked_as_long_as_the_provider_said(database: Database, key: str) -> None:
    ledger, wish = Ledger(database, SETTINGS), a_wish(key)
    await ledger.block(wish, at(120), "throttled")
    await ledger.block(wish, at(60), "throttled")  # another answer that names an earlier time
    assert await ledger.reserve(wish, at(100)) == Postpone(at(120), "throttled")
    await call(ledger, wish, 120)


async def test_another_key_is_not_blocked(database: Database, key: str) -> None:
    ledger = Ledger(database, SETTINGS)
    await ledger.block(a_wish(key), at(120), "throttled")
    await call(ledger, a_wish(await a_key(database, "theirs")), 0)


SLOW = SETTINGS.model_copy(update={"slow_seconds": 20, "slow_answers": 3, "park_seconds": 300})


async def test_a_key_whose_answers_are_slow_three_times_running_is_parked(database: Database) -> None:
    ledger, wish = Ledger(database, SLOW), a_wish(await a_key(database, "ours", limit=99))
    for start, end in pairwise((0, 20, 45, 70)):
        await call(ledger, wish, start, end)
    assert await ledger.reserve(wish, at(71)) == Postpone(at(370), "slow")
    await call(ledger, wish, 370, 371)


async def test_a_quick_answer_between_slow_ones_parks_nobody(database: Database) -> None:
    ledger, wish = Ledger(database, SLOW), a_wish(await a_key(database, "ours", limit=99))
    for start, end in ((0, 30), (30, 60), (60, 61), (61, 91), (91, 121)):
        await call(ledger, wish, start, end)
    await call(ledger, wish, 121, 122)


async def test_parking_a_slow_key_does_not_shorten_what_the_provider_asked_for(database: Database) -> None:
    ledger, wish = Ledger(database, SLOW), a_wish(await a_key(database, "ours", limit=99))
    for start in (0, 30):
        await call(ledger, wish, start, start + 30)
    third = await call(ledger, wish, 60)
    await ledger.block(wish, at(3600), "throttled")
    await ledger.finish(wish, third, "throttled", at(90))
    assert await ledger.reserve(wish, at(400)) == Postpone(at(3600), "throttled")


# -- A provider that fails --------------------------------------------------------------------------------------------


async def fail(ledger: Ledger, wish: Wish, start: float) -> None:
    """A call that is answered with an error of the provider's a second later."""
    granted = await call(ledger, wish, start)
    await ledger.rest(wish, at(start + 1))
    await ledger.finish(wish, granted, "http_503", at(start + 1))


async def test_a_key_whose_calls_fail_three_times_running_rests_the_longer_the_fuller_its_hour_is(
    database: Database,
) -> None:
    ledger, wish = Ledger(database, SETTINGS), a_wish(await a_key(database, "ours", limit=4))
    for start in (0, 2, 4):
        await fail(ledger, wish, start)
    rested = at(5) + REST / 2  # 3 of 4 are spent
    assert await ledger.reserve(wish, at(6)) == Postpone(rested, "failing")
    fourth = await ledger.reserve(wish, rested)
    assert isinstance(fourth, Granted)
    await ledger.rest(wish, rested)  # now one failure is enough
    assert await ledger.reserve(wish, rested) == Postpone(rested + REST, "failing")


async def test_an_answer_ends_a_row_of_failures(database: Database) -> None:
    ledger, wish = Ledger(database, SETTINGS), a_wish(await a_key(database, "ours", limit=99))
    for start in (0, 2):
        await fail(ledger, wish, start)
    await call(ledger, wish, 4, 5)
    for start in (6, 8):
        await fail(ledger, wish, start)
    await call(ledger, wish, 10, 11)


async def test_a_resting_key_waits_for_what_the_provider_asked_for(database: Database) -> None:
    ledger, wish = Ledger(database, SETTINGS), a_wish(await a_key(database, "ours", limit=99))
    for start in (0, 2):
        await fail(ledger, wish, start)
    third = await call(ledger, wish, 4)
    await ledger.block(wish, at(3600), "throttled")
    await ledger.rest(wish, at(5))
    await ledger.finish(wish, third, "http_503", at(5))
    assert await ledger.reserve(wish, at(400)) == Postpone(at(3600), "throttled")


async def test_another_keys_failures_are_not_ours(database: Database, key: str) -> None:
    ledger, theirs = Ledger(database, SETTINGS), a_wish(await a_key(database, "theirs", limit=99))
    for start in (0, 2, 4):
        await fail(ledger, theirs, start)
    await call(ledger, a_wish(key), 6, 7)


async def test_a_refused_caller_registration_stops_every_key_of_the_provider(database: Database, key: str) -> None:
    ledger, others = Ledger(database, SETTINGS), await a_key(database, "theirs")
    await ledger.stop_everything(PROVIDER.provider_id, at(300), "error_6", NOON)
    for each in (key, others):
        assert await ledger.reserve(a_wish(each), at(1)) == Postpone(at(300), "error_6")
    await call(ledger, a_wish(key), 300)


async def test_more_calls_in_flight_may_be_set(database: Database) -> None:
    wish = a_wish(await a_key(database, "ours", limit=99))
    for number in (1, 2):
        await call(Ledger(database, SETTINGS), wish, number)
    wider = Ledger(database, SETTINGS.model_copy(update={"calls_in_flight": 3}))
    await call(wider, wish, 3)
    assert isinstance(await wider.reserve(wish, at(4)), Hold)


# -- Somebody else's calls --------------------------------------------------------------------------------------------


async def test_a_throttle_while_our_count_has_room_shrinks_the_budget_which_grows_back_within_the_hour(
    database: Database,
) -> None:
    ledger, wish = Ledger(database, SETTINGS), a_wish(await a_key(database, "ours", limit=20))
    for number in range(4):
        await call(ledger, wish, number, number + 0.5)
    await ledger.shrink(wish, at(10))  # 16 calls left by our own count; half of them are believed to be gone
    for number in range(8):
        await call(ledger, wish, 11 + number, 11.5 + number)
    refused = await ledger.reserve(wish, at(30))
    assert refused == Postpone(at(90), "budget")  # not until our oldest call stops counting: it grows back before
    await call(ledger, wish, 10 + 1800, 10 + 1801)  # half of what was gone is back
    await ledger.shrink(wish, at(1900))
    row = await database.fetchrow("SELECT others_calls, others_seen_at FROM provider_keys")
    assert row is not None
    assert (row["others_calls"] > 4, row["others_seen_at"]) == (True, at(1900))


async def test_a_provider_that_says_what_remains_is_believed_when_it_counts_the_same_quantity(
    database: Database,
) -> None:
    ledger, wish = Ledger(database, SETTINGS), a_wish(await a_key(database, "ours", limit=100))
    for number, quota in enumerate([(60, 2), (100, 98), (100, 95), (100, 40)]):
        granted = await ledger.reserve(wish, at(number))
        assert isinstance(granted, Granted)
        await ledger.finish(wish, granted, "ok", at(number + 0.5), quota)
        others = await database.fetchval("SELECT others_calls FROM provider_keys")
        assert others == (0, 0, 0, 56)[number]  # another quantity; nobody; two calls apart; 100 - 40 - our 4


# -- What is foreseen -------------------------------------------------------------------------------------------------


async def test_a_first_load_leaves_free_what_the_race_morning_of_the_coming_hour_needs(database: Database) -> None:
    await a_key(database, "ours", limit=20)
    await database.execute(
        "INSERT INTO key_hours SELECT 2, 'ours', $1, 1, 8, 1, 20, NULL, NULL, $1", NOON + timedelta(hours=1)
    )
    ledger, low, near = Ledger(database, SETTINGS), a_wish("ours", reason=Reason.FIRST), a_wish("ours")
    raceday = replace(near, sync_class=SyncClass.RACEDAY)
    for number in range(12):
        await call(ledger, low, number, number + 0.5)
    assert isinstance(await ledger.reserve(low, at(13)), Postpone)
    for number in range(4):  # the morning makes its calls, and each is one that need not be held free any more
        await call(ledger, raceday, 14 + number, 14.5 + number)
    assert isinstance(await ledger.reserve(low, at(20)), Postpone)
    for number in range(4):
        await call(ledger, raceday, 21 + number, 21.5 + number)
    await call(ledger, a_wish(await a_key(database, "theirs", limit=20)), 30, 31)


@pytest.mark.parametrize(
    ("reason", "most"),
    [(Reason.FOLLOW_UP, 60), (Reason.FIRST, 60), (Reason.BACKFILL, 60), (Reason.SCHEDULE, 72)],
)
async def test_what_a_stretched_hour_leaves_over_is_for_the_planned_before_all(
    database: Database, reason: Reason, most: int
) -> None:
    """Of 80 usable calls the plan gives 40 to the slower paces, 15 % to nobody, and the rest to race day."""
    await a_key(database, "ours", limit=100)
    await database.execute(
        "INSERT INTO key_hours SELECT 2, 'ours', $1, 9, 500, 40, 80, 600, $1, $1, 1", NOON + timedelta(hours=1)
    )
    ledger, wish = Ledger(database, SETTINGS), a_wish("ours", reason=reason)
    for number in range(most):
        await call(ledger, wish, number / 10, number / 10 + 0.05)
    assert isinstance(await ledger.reserve(wish, at(60)), Postpone)
