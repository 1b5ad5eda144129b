"""The bib-watcher reads each race's feed in order, once, whoever dies, and follows up without end or excess."""

import asyncio
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bib_watcher import store
from bib_watcher.handlers import sweep
from bib_watcher.settings import BibWatcherSettings
from shared.contracts import BibChanged, SyncRequest
from shared.domain.run import Mode, Reason, State, SyncClass
from shared.errors import Later
from shared.postgres import Database
from shared.postgres.outbox import number_changes
from shared.runtime import House
from tests import fakes
from tests.builders import (
    EVENT,
    Tenant,
    a_batch,
    a_participant_record,
    a_partner,
    a_race,
    a_removal_record,
    a_removals_batch,
    a_run,
    at,
    body_of,
)

SETTINGS = BibWatcherSettings()
moments = count(1)


@pytest.fixture
async def tenant(database: Database) -> Tenant:
    tenant = await a_partner(database)
    await a_race(database, tenant, cursor=at(-60))
    return tenant


async def written(
    database: Database, tenant: Tenant, bibs: dict[int, str | None], *, reason: Reason = Reason.SCHEDULE, **fields: Any
) -> None:
    """People with their bibs, written and numbered as one batch of a run of its own, which is over."""
    run_id = await a_run(database, tenant, state=State.COMPLETED, reason=reason)
    await written_by(database, tenant, run_id, bibs, **fields)
    await numbered(database)


async def written_by(
    database: Database, tenant: Tenant, run_id: UUID, bibs: dict[int, str | None], *, sequence: int = 1, **fields: Any
) -> None:
    """People with their bibs, written as one batch of a run, without numbers."""
    moment = next(moments)
    records = [a_participant_record(who, bib=bib, modified=moment, **fields) for who, bib in bibs.items()]
    batch = a_batch(tenant, run_id, records, sequence=sequence, fetched_at=at(moment))
    await fakes.write(fakes.a_house(database, seed=moment), batch)


async def numbered(database: Database) -> None:
    async with database.connection() as connection:
        await number_changes(connection)


async def history(database: Database) -> list[tuple[str, str, str | None, str | None]]:
    rows = await database.fetch("SELECT * FROM bib_history ORDER BY bib_event_id")
    return [(row["registration_id"], row["kind"], row["before"], row["after"]) for row in rows]


async def sent(database: Database, kind: str) -> list[Any]:
    rows = await database.fetch("SELECT body FROM outbox WHERE type = $1 ORDER BY outbox_id", kind)
    return [body_of(row["body"]) for row in rows]


async def told(database: Database) -> list[tuple[str, str]]:
    bodies = await sent(database, BibChanged.TYPE)
    return [(each["registration_id"], each["kind"]) for body in bodies for each in body.changes]


async def follow_ups(database: Database) -> list[SyncRequest]:
    requests: list[SyncRequest] = await sent(database, SyncRequest.TYPE)
    return requests


async def swept(house: House) -> None:
    while await sweep(house, SETTINGS):
        pass


async def test_bibs_given_changed_and_cleared_are_told_and_remembered_in_the_order_of_the_feed(
    database: Database, house: House, tenant: Tenant
) -> None:
    for bib in ("5", "6", None, "7"):
        await written(database, tenant, {7001: bib})
    await swept(house)
    assert await history(database) == [
        ("7001", "given", None, "5"),
        ("7001", "changed", "5", "6"),
        ("7001", "cleared", "6", None),
        ("7001", "given", None, "7"),
    ]
    assert [kind for _, kind in await told(database)] == ["given", "changed", "cleared", "given"]


async def test_two_who_exchanged_their_bibs_are_told_as_a_swap(
    database: Database, house: House, tenant: Tenant
) -> None:
    await written(database, tenant, {7001: "5", 7002: "6"})
    await written(database, tenant, {7001: "6", 7002: "5"})
    await swept(house)
    rows = await database.fetch("SELECT * FROM bib_history WHERE kind = 'swapped' ORDER BY registration_id")
    assert [(row["registration_id"], row["other_registration_id"]) for row in rows] == [
        ("7001", "7002"),
        ("7002", "7001"),
    ]


async def test_a_bib_that_somebody_wears_already_is_a_duplicate(
    database: Database, house: House, tenant: Tenant
) -> None:
    await written(database, tenant, {7001: "5"})
    await swept(house)
    await written(database, tenant, {7002: "5"})
    await swept(house)
    assert (await history(database))[1:] == [("7002", "given", None, "5"), ("7002", "duplicate", None, "5")]


async def test_a_bib_of_somebody_who_left_is_free(database: Database, house: House, tenant: Tenant) -> None:
    await written(database, tenant, {7001: "5"})
    run_id = await a_run(database, tenant, state=State.COMPLETED)
    removals = a_removals_batch(tenant, run_id, [a_removal_record(7001, modified=900)], fetched_at=at(900))
    await fakes.write(fakes.a_house(database), removals)
    await numbered(database)
    await written(database, tenant, {7002: "5"})
    await swept(house)
    assert [(who, kind) for who, kind, _, _ in await history(database)] == [
        ("7001", "given"),
        ("7001", "cleared"),
        ("7002", "given"),
    ]
    modified = await database.fetch("SELECT provider_modified_at FROM bib_history ORDER BY bib_event_id")
    assert [row["provider_modified_at"] is None for row in modified] == [True, True, False]  # no latency is made of it


async def test_a_bundle_and_its_sub_event_share_a_bib(database: Database, house: House) -> None:
    tenant = await a_partner(database)
    await a_race(database, tenant, events=(EVENT, "90012"), bundles={EVENT: ["90012"]}, cursor=at(-60))
    await written(database, tenant, {7001: "5"}, user_id=1)
    await written(database, tenant, {7002: "5"}, user_id=1, event_id=90012)
    await written(database, tenant, {7003: "5"}, user_id=2, event_id=90012)
    await swept(house)
    duplicates = {who for who, kind, _, _ in await history(database) if kind == "duplicate"}
    assert "7003" in duplicates


async def test_partners_with_the_same_race_are_not_mixed(database: Database, house: House, tenant: Tenant) -> None:
    other = await a_partner(database)
    await a_race(database, other, cursor=at(-60))
    await written(database, tenant, {7001: "5"})
    await written(database, other, {7002: "5"})
    await swept(house)
    assert [kind for _, kind, _, _ in await history(database)] == ["given", "given"]


# -- Once, in order ---------------------------------------------------------------------------------------------------


async def test_two_watchers_tell_everything_once_and_each_race_in_order(
    database: Database, other_database: Database, tenant: Tenant
) -> None:
    other = await a_partner(database)
    await a_race(database, other, cursor=at(-60))
    for number in range(12):
        for each in (tenant, other):
            await written(database, each, {7001: str(number), 7002 + number: f"x{number}"})
    houses = [fakes.a_house(each, seed=seed) for seed, each in enumerate((database, other_database, database))]
    small = SETTINGS.model_copy(update={"sweep_diffs": 1})

    async def work(house: House) -> None:
        while await database.fetchval("SELECT count(*) FROM change_batches WHERE watched_at IS NULL"):
            await sweep(house, small)

    async with asyncio.timeout(30):
        await asyncio.gather(*(work(house) for house in houses))
    seen: dict[int, list[int]] = {}
    for row in await database.fetch("SELECT * FROM bib_history WHERE kind <> 'duplicate' ORDER BY bib_event_id"):
        seen.setdefault(row["timing_partner_id"], []).append(row["feed_id"])
    assert sorted(seen[tenant.timing_partner_id] + seen[other.timing_partner_id]) == list(range(1, 49))
    assert all(each == sorted(each) for each in seen.values())
    assert len(await told(database)) == len(await history(database))


async def test_a_race_that_a_watcher_holds_is_left_to_it_and_the_others_are_not(
    database: Database, other_database: Database, house: House, tenant: Tenant
) -> None:
    other = await a_partner(database)
    await a_race(database, other, cursor=at(-60))
    for each in (tenant, tenant, other):
        await written(database, each, {7001: str(next(moments))})
    async with other_database.transaction() as connection:
        first, *_ = await store.unwatched(connection, at(0))
        assert list(await store.take(connection, [first.batch_id], 1)) == [first.batch_id]
        await swept(house)
        rows = await database.fetch("SELECT timing_partner_id FROM bib_history")
        assert [row["timing_partner_id"] for row in rows] == [other.timing_partner_id]
    await swept(house)
    assert await database.fetchval("SELECT count(*) FROM bib_history") == 3


async def test_a_watcher_that_dies_before_its_commit_leaves_everything_to_the_next(
    database: Database, house: House, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    await written(database, tenant, {7001: "5"})

    async def die(*_arguments: object) -> None:
        raise Later("the process ends here")

    with monkeypatch.context() as patched:
        patched.setattr(store, "mark_watched", die)
        with pytest.raises(Later):
            await sweep(house, SETTINGS)
    assert await history(database) == []
    assert await told(database) == []
    await swept(house)
    assert await told(database) == [("7001", "given")]


# -- A run is seen whole ----------------------------------------------------------------------------------------------


async def test_a_swap_in_two_batches_of_a_run_is_a_swap_however_early_the_watcher_looks(
    database: Database, house: House, tenant: Tenant
) -> None:
    await written(database, tenant, {7001: "5", 7002: "6"}, reason=Reason.FIRST)
    await swept(house)
    run_id = await a_run(database, tenant)
    await written_by(database, tenant, run_id, {7001: "6"})
    await numbered(database)
    await swept(house)  # 7002 wears the 6 still: in the same run, in a later batch
    await written_by(database, tenant, run_id, {7002: "5"}, sequence=2)
    await database.execute("UPDATE sync_runs SET state = 'completed' WHERE run_id = $1", run_id)
    await swept(house)  # the run is over, and its second batch has no number yet
    await numbered(database)
    await swept(house)
    assert sorted((await history(database))[2:]) == [("7001", "swapped", "5", "6"), ("7002", "swapped", "6", "5")]


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED, State.EXPIRED, State.REPLACED])
async def test_a_run_that_is_over_is_acted_on_at_once(
    database: Database, house: House, tenant: Tenant, state: State
) -> None:
    run_id = await a_run(database, tenant, state=state)
    await written_by(database, tenant, run_id, {7001: "5"})
    await numbered(database)
    await swept(house)
    assert await told(database) == [("7001", "given")]


@pytest.mark.parametrize("state", [State.RUNNING, State.FETCHED, State.QUEUED])
async def test_a_run_that_goes_on_is_not_waited_for_longer_than_a_while(
    database: Database, house: House, clock: fakes.ManualClock, tenant: Tenant, state: State
) -> None:
    run_id = await a_run(database, tenant, state=state)
    await written_by(database, tenant, run_id, {7001: "5"})
    await numbered(database)
    await swept(house)
    assert await told(database) == []
    clock.pass_(SETTINGS.settle_seconds)
    await swept(house)
    assert await told(database) == [("7001", "given")]


async def test_no_race_waits_for_the_run_of_another_and_within_a_race_the_order_stays(
    database: Database, house: House, clock: fakes.ManualClock, tenant: Tenant
) -> None:
    other = await a_partner(database)
    await a_race(database, other, cursor=at(-60))
    await written_by(database, tenant, await a_run(database, tenant), {7001: "5"})
    await written(database, tenant, {7001: "6"})  # by a run that is over, behind one that is not
    await written(database, other, {7002: "7"})
    await swept(house)
    assert await told(database) == [("7002", "given")]
    clock.pass_(SETTINGS.settle_seconds)
    await swept(house)
    assert await told(database) == [("7002", "given"), ("7001", "given"), ("7001", "changed")]


async def test_looking_for_what_is_new_reads_no_history(database: Database) -> None:
    await database.execute(
        "INSERT INTO change_batches (feed_first, size, run_id, reason, provider_id, timing_partner_id, race_id,"
        " written_at, watched_at) SELECT n, 1, gen_random_uuid(), 'schedule', 2, 1, '501', $1::timestamptz,"
        " CASE WHEN n <= 20000 THEN $1::timestamptz END FROM generate_series(1, 20001) AS n",
        at(0),
    )
    await database.execute("VACUUM ANALYZE change_batches")
    reads = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_all_tables WHERE relid = 'change_batches'::regclass"
    async with database.transaction() as connection:
        assert len(await store.unwatched(connection, at(0))) == 1
        assert await connection.fetchval(reads) < 10


async def test_what_has_no_number_yet_is_not_read(database: Database, house: House, tenant: Tenant) -> None:
    run_id = await a_run(database, tenant, state=State.COMPLETED)
    await fakes.write(fakes.a_house(database), a_batch(tenant, run_id, [a_participant_record(bib="5")]))
    await swept(house)
    assert await told(database) == []
    await numbered(database)
    await swept(house)
    assert await told(database) == [("7001", "given")]


async def test_diffs_that_touch_no_bib_are_passed_over(database: Database, house: House, tenant: Tenant) -> None:
    await written(database, tenant, {7001: None})
    await swept(house)
    assert await history(database) == []
    assert await database.fetchval("SELECT count(*) FROM change_batches WHERE watched_at IS NULL") == 0


@given(
    script=st.lists(st.tuples(st.integers(7001, 7003), st.none() | st.sampled_from("123")), max_size=12),
    step=st.integers(1, 5),
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_history_leads_from_nothing_to_the_bibs_that_are_worn(
    script: list[tuple[int, str | None]], step: int, database: Database
) -> None:
    await database.execute("TRUNCATE participants, bib_history, outbox, sync_runs")
    tenant = await a_partner(database)
    await a_race(database, tenant, cursor=at(-60))
    house = fakes.a_house(database, seed=next(moments))
    for number, (who, bib) in enumerate(script):
        await written(database, tenant, {who: bib})
        if number % step == 0:
            await swept(house)
    await swept(house)
    worn: dict[str, str | None] = {}
    for registration, kind, before, after in await history(database):
        if kind != "duplicate":
            assert worn.get(registration) == before
            worn[registration] = after
    rows = await database.fetch("SELECT registration_id, bib FROM participants WHERE bib IS NOT NULL")
    assert {each: bib for each, bib in worn.items() if bib} == {row["registration_id"]: row["bib"] for row in rows}


# -- Following up -----------------------------------------------------------------------------------------------------


async def test_a_bib_change_asks_for_its_race_once_more(database: Database, house: House, tenant: Tenant) -> None:
    await written(database, tenant, {7001: "5"})
    await swept(house)
    (request,) = await follow_ups(database)
    assert (request.reason, request.sync_class, request.mode, request.removals) == (
        Reason.FOLLOW_UP,
        SyncClass.NEAR,
        Mode.INCREMENTAL,
        False,
    )


async def test_a_follow_up_that_loses_a_message_holds_up_its_race_no_longer_than_a_race_day_run(
    database: Database, house: House, tenant: Tenant
) -> None:
    """Chaos, seeds 71 and 99: its batch was lost, and its race waited for its deadline, ten minutes later."""
    await written(database, tenant, {7001: "5"})
    await swept(house)
    (request,) = await follow_ups(database)
    assert request.deadline_seconds == SETTINGS.deadline_raceday_seconds < SETTINGS.deadline_near_seconds


async def test_many_changes_of_a_race_are_followed_up_by_one_run(
    database: Database, house: House, tenant: Tenant
) -> None:
    for number in range(5):
        await written(database, tenant, {7001: str(number)})
        await swept(house)
    assert len(await follow_ups(database)) == 1


async def test_while_a_run_is_under_way_one_follow_up_waits_behind_it(
    database: Database, house: House, tenant: Tenant
) -> None:
    await a_run(database, tenant, state=State.RUNNING, mode=Mode.INCREMENTAL)
    for bib in ("5", "6"):
        await written(database, tenant, {7001: bib})
        await swept(house)
    assert await follow_ups(database) == []
    assert await database.fetchval("SELECT count(*) FROM sync_runs WHERE state = 'queued'") == 1


@pytest.mark.parametrize("reason", [Reason.FOLLOW_UP, Reason.FIRST, Reason.BACKFILL, Reason.INJECTED])
async def test_what_a_follow_up_or_a_first_load_found_is_told_and_not_followed_up(
    database: Database, house: House, tenant: Tenant, reason: Reason
) -> None:
    await written(database, tenant, {7001: "5"}, reason=reason)
    await swept(house)
    assert await told(database) == [("7001", "given")]
    assert await follow_ups(database) == []


async def test_following_up_can_be_turned_off(database: Database, house: House, tenant: Tenant) -> None:
    await written(database, tenant, {7001: "5"})
    await sweep(house, SETTINGS.model_copy(update={"follow_up": False}))
    assert await told(database) == [("7001", "given")]
    assert await follow_ups(database) == []


async def test_a_race_that_is_over_is_not_followed_up(database: Database, house: House, tenant: Tenant) -> None:
    await written(database, tenant, {7001: "5"})
    await database.execute("UPDATE events SET starts_at = $1", at(-3 * 86400))
    await swept(house)
    assert await told(database) == [("7001", "given")]
    assert await follow_ups(database) == []


async def test_a_bib_that_moved_between_people_asks_who_left_as_well(
    database: Database, house: House, tenant: Tenant
) -> None:
    await written(database, tenant, {7001: "5", 7002: "6"}, reason=Reason.FIRST)
    await written(database, tenant, {7001: "6", 7002: "5"})
    await swept(house)
    assert [each.removals for each in await follow_ups(database)] == [True]


async def test_a_blank_on_race_morning_is_told_as_what_it_is_and_its_former_bib_is_kept(
    database: Database, house: House, tenant: Tenant
) -> None:
    await written(database, tenant, {7001: "5", 7002: "6"})
    await written(database, tenant, {7001: None})  # days before the start
    await swept(house)
    assert (await history(database))[-1] == ("7001", "cleared", "5", None)
    await database.execute("UPDATE events SET starts_at = $1", at(3 * 3600))
    await written(database, tenant, {7002: None})
    await swept(house)
    assert (await history(database))[-1] == ("7002", "blanked", "6", None)
    assert await database.fetchval("SELECT bib FROM participants WHERE registration_id = '7002'") is None
    assert (await told(database))[-1] == ("7002", "blanked")
    run_id = await a_run(database, tenant, state=State.COMPLETED)
    await written(database, tenant, {7003: "7"})
    await fakes.write(
        fakes.a_house(database, seed=99),
        a_removals_batch(tenant, run_id, [a_removal_record(7003, modified=500)], fetched_at=at(500)),
    )
    await numbered(database)
    await swept(house)
    assert (await history(database))[-1] == ("7003", "cleared", "7", None)  # who left is not blank


async def test_a_bib_of_last_year_in_the_same_race_is_no_duplicate(
    database: Database, house: House, tenant: Tenant
) -> None:
    await a_past_event(database, tenant)
    await written(database, tenant, {6001: "5"}, event_id=8)
    await written(database, tenant, {7001: "5"})
    await swept(house)
    assert [kind for _, kind in await told(database)] == ["given", "given"]


async def a_past_event(database: Database, tenant: Tenant) -> None:
    """Another edition of the race, a year ago."""
    await database.execute(
        "INSERT INTO events (provider_id, timing_partner_id, event_id, race_id, starts_at, is_volunteer, sub_event_ids,"
        " fetched_at, first_seen_at, changed_at) SELECT provider_id, timing_partner_id, '8', race_id,"
        " starts_at - interval '1 year', false, '{}', fetched_at, first_seen_at, changed_at FROM events"
    )
