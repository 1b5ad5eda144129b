"""What could not be stored is kept, and stored once it can be."""

from dataclasses import replace
from typing import Any

import pytest

from scheduler.replaying import replay_older_mappings
from shared.domain.participant import Participant
from shared.domain.replay import What
from shared.domain.run import State
from shared.postgres import Database
from shared.postgres.replays import Selection
from shared.providers import registry
from shared.runtime import House
from tests import fakes
from tests.builders import (
    EVENT,
    PROVIDER,
    RACE,
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
from tests.fakes import ManualClock
from tests.integration.replay.driving import deliver, drive, items, stuck_replay

NEW_EVENT = "90012"


@pytest.fixture
async def tenant(database: Database) -> Tenant:
    """A partner with one race of one event."""
    tenant = await a_partner(database)
    await a_race(database, tenant)
    return tenant


async def put_aside(database: Database, house: House, tenant: Tenant, *records: Any) -> None:
    run_id = await a_run(database, tenant, state=State.COMPLETED)
    await fakes.write(house, a_batch(tenant, run_id, list(records), fetched_at=at(-60)))


async def the_event_is_discovered(database: Database, tenant: Tenant, event_id: str = NEW_EVENT) -> None:
    await database.execute(
        """
        INSERT INTO events (provider_id, timing_partner_id, event_id, race_id, is_volunteer, sub_event_ids, fetched_at,
            first_seen_at, changed_at)
        SELECT provider_id, timing_partner_id, $1, race_id, is_volunteer, sub_event_ids, fetched_at, first_seen_at,
            changed_at FROM events WHERE event_id = $2 AND timing_partner_id = $3
        """,
        event_id,
        EVENT,
        tenant.timing_partner_id,
    )


async def resolutions(database: Database) -> list[str | None]:
    rows = await database.fetch("SELECT resolution FROM quarantine ORDER BY item_id")
    return [row["resolution"] for row in rows]


async def active(database: Database) -> set[str]:
    rows = await database.fetch("SELECT registration_id FROM participants WHERE removed_at IS NULL")
    return {row["registration_id"] for row in rows}


async def test_a_record_that_can_be_stored_by_now_is_stored_as_of_when_it_was_fetched(
    database: Database, house: House, tenant: Tenant
) -> None:
    await put_aside(database, house, tenant, a_participant_record(7001, event_id=int(NEW_EVENT), bib="5"))
    await the_event_is_discovered(database, tenant)
    replay = await stuck_replay(house, What.QUARANTINE)
    found = await drive(house, replay)
    assert (found["state"], found["done"], found["items"]) == ("done", 1, 1)
    row = await database.fetchrow("SELECT * FROM participants")
    assert row is not None
    assert (row["registration_id"], row["bib"], row["fetched_at"]) == ("7001", "5", at(-60))
    assert await resolutions(database) == ["replayed"]
    run = await database.fetchrow("SELECT kind, state, added, calls FROM sync_runs WHERE kind = 'replay'")
    assert run is not None
    assert tuple(run.values()) == ("replay", State.COMPLETED, 1, 0)
    assert await database.fetchval("SELECT count(*) FROM raw_batches") == 1  # it stands in its batch, once


async def test_a_record_that_is_as_bad_as_before_stays_and_the_canary_spares_the_others(
    database: Database, house: House, tenant: Tenant
) -> None:
    bad = [a_participant_record(7000 + number, event_id=int(NEW_EVENT)) for number in range(3)]
    await put_aside(database, house, tenant, *bad)
    replay = await stuck_replay(house, What.QUARANTINE)
    found = await drive(house, replay)
    assert (found["state"], found["again"], found["skipped"]) == ("stopped", 1, 2)
    assert (await items(database, replay))[0] == ("again", "foreign_event")
    assert await resolutions(database) == [None] * 3
    assert await database.fetchval("SELECT max(times) FROM quarantine") == 2


async def test_a_record_that_is_bad_for_another_reason_by_now_is_another_item(
    database: Database, house: House, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put_aside(database, house, tenant, a_participant_record(7001, event_id=int(NEW_EVENT)))
    await the_event_is_discovered(database, tenant)

    def forgetful(raw: Any, race_id: str, *more: Any) -> Any:
        mapped = PROVIDER.map_participant(raw, race_id, *more)
        assert isinstance(mapped, Participant)
        return mapped._replace(first_name="\0")

    monkeypatch.setitem(registry.PROVIDERS, PROVIDER.name, replace(PROVIDER, map_participant=forgetful))
    found = await drive(house, await stuck_replay(house, What.QUARANTINE))
    assert (found["again"], found["failed"]) == (1, 0)
    rows = await database.fetch("SELECT reason, resolution FROM quarantine ORDER BY item_id")
    first, second = [tuple(row.values()) for row in rows]
    assert (first[0], second) == ("foreign_event", ("unstorable", None))
    assert first[1].startswith("replayed: now item")


async def test_a_removal_in_quarantine_is_replayed_as_a_removal(
    database: Database, house: House, tenant: Tenant
) -> None:
    run_id = await a_run(database, tenant, state=State.COMPLETED)
    await fakes.write(
        house,
        a_batch(tenant, run_id, [a_participant_record(7001)], fetched_at=at(-600)),
        a_removals_batch(
            tenant, run_id, [a_removal_record(7001, event_id=int(NEW_EVENT), reason="deferred")], sequence=2
        ),
    )
    await the_event_is_discovered(database, tenant)
    await drive(house, await stuck_replay(house, What.QUARANTINE))
    assert await active(database) == set()
    assert await database.fetchval("SELECT removed_reason FROM participants") == "deferred"


async def test_a_new_mapping_tries_the_quarantine_by_itself_once(
    database: Database, house: House, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = [a_participant_record(7000 + number, event_id=None) for number in range(3)]
    await put_aside(database, house, tenant, *bad)
    await replay_older_mappings(house)
    assert await database.fetchval("SELECT count(*) FROM replays") == 0

    def understanding(raw: Any, race_id: str, *more: Any) -> Any:
        known = raw if raw["registration_id"] == 7000 else {**raw, "event_id": int(EVENT)}
        return PROVIDER.map_participant(known, race_id, *more)

    newer = replace(PROVIDER, map_participant=understanding, mapping_version=PROVIDER.mapping_version + 1)
    monkeypatch.setitem(registry.PROVIDERS, PROVIDER.name, newer)
    await replay_older_mappings(house)
    replay = await database.fetchval("SELECT replay_id FROM replays WHERE reason = 'mapping'")
    found = await drive(house, replay)
    assert (found["done"], found["again"]) == (2, 1)  # the first one is no canary: each may be of a reason of its own
    assert await active(database) == {"7001", "7002"}
    await replay_older_mappings(house)
    assert await database.fetchval("SELECT count(*) FROM replays") == 1


async def test_a_writer_with_an_older_mapping_leaves_it_to_a_newer_one(
    database: Database, house: House, clock: ManualClock, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put_aside(database, house, tenant, a_participant_record(7001, event_id=None))
    with monkeypatch.context() as newer:
        newer.setitem(
            registry.PROVIDERS, PROVIDER.name, replace(PROVIDER, mapping_version=PROVIDER.mapping_version + 1)
        )
        await replay_older_mappings(house)
        clock.pass_(1)
        from scheduler.replaying import step

        await step(house)
    assert await deliver(house) == ["replay.request.v1"]
    assert await database.fetchval("SELECT count(*) FROM replay_items WHERE finished_at IS NULL") == 1


async def test_a_record_that_was_corrected_at_the_provider_closes_its_item(
    database: Database, house: House, tenant: Tenant
) -> None:
    await put_aside(database, house, tenant, a_participant_record(7001, event_id=None))
    run_id = await a_run(database, tenant)
    await fakes.write(house, a_batch(tenant, run_id, [a_participant_record(7001)]), an_end(tenant, run_id))
    assert await resolutions(database) == ["settled by a later record"]


async def test_a_record_of_somebody_who_left_since_closes_its_item(
    database: Database, house: House, tenant: Tenant
) -> None:
    await put_aside(database, house, tenant, a_participant_record(7001, event_id=None))
    run_id = await a_run(database, tenant)
    await fakes.write(
        house,
        a_removals_batch(tenant, run_id, [a_removal_record(7001)]),
        a_batch(tenant, run_id, [], sequence=2),
        an_end(tenant, run_id, ((1, 1, 2),)),
    )
    assert await resolutions(database) == ["settled by a later record"]


async def test_an_item_of_a_platform_that_is_not_installed_fails_alone(
    database: Database, house: House, tenant: Tenant
) -> None:
    await put_aside(database, house, tenant, a_participant_record(7001, event_id=int(NEW_EVENT)))
    await the_event_is_discovered(database, tenant)
    await database.execute(
        "INSERT INTO quarantine (provider_id, timing_partner_id, race_id, run_id, type, reason, fingerprint,"
        " mapping_version, fetched_at, raw, first_seen_at, last_seen_at) SELECT 4, timing_partner_id, race_id, run_id,"
        " type, reason, fingerprint, 0, fetched_at, raw, first_seen_at, last_seen_at FROM quarantine"
    )
    strange = await stuck_replay(house, What.QUARANTINE, Selection(item_ids=(2,)))
    known = await stuck_replay(house, What.QUARANTINE)
    assert (await drive(house, known))["done"] == 1
    await drive(house, strange)
    (failed,) = await items(database, strange)
    assert failed[0] == "failed"
    assert "No provider has this number" in str(failed[1])


async def test_a_selection_is_frozen(database: Database, house: House, tenant: Tenant) -> None:
    await put_aside(database, house, tenant, a_participant_record(7001, event_id=int(NEW_EVENT)))
    await the_event_is_discovered(database, tenant)
    replay = await stuck_replay(house, What.QUARANTINE)
    await put_aside(database, house, tenant, a_participant_record(7002, event_id=int("90013")))
    assert (await drive(house, replay))["items"] == 1
    assert await resolutions(database) == ["replayed", None]


async def test_items_are_chosen_by_id_type_cause_race_and_age(
    database: Database, house: House, clock: ManualClock, tenant: Tenant
) -> None:
    await put_aside(database, house, tenant, a_participant_record(7001, event_id=None))
    clock.pass_(3600)
    await put_aside(database, house, tenant, a_participant_record(7002, event_id=int(NEW_EVENT)))
    rows = await database.fetch("SELECT item_id, fingerprint FROM stuck ORDER BY item_id")
    (first, cause), (second, other) = [tuple(row.values()) for row in rows]
    assert cause != other

    async def chosen(**by: Any) -> list[int]:
        replay = await stuck_replay(house, What.QUARANTINE, Selection(**by))
        found = await database.fetch("SELECT item_id FROM replay_items WHERE replay_id = $1 ORDER BY 1", replay)
        await database.execute("DELETE FROM replays")
        await database.execute("DELETE FROM sync_runs WHERE kind = 'replay'")
        return [row["item_id"] for row in found]

    assert await chosen() == [first, second]
    assert await chosen(item_ids=(second,)) == [second]
    assert await chosen(cause=cause) == [first]
    assert await chosen(type="participants.fetched") == [first, second]
    assert await chosen(type="participants.removed") == []
    assert await chosen(race_id=RACE, partner_id=tenant.timing_partner_id) == [first, second]
    assert await chosen(race_id="502") == []
    assert await chosen(before=at(60)) == [first]
    assert await chosen(after=at(60)) == [second]


async def test_what_a_replay_has_in_hand_is_left_to_it(database: Database, house: House, tenant: Tenant) -> None:
    await put_aside(database, house, tenant, a_participant_record(7001, event_id=None))
    await stuck_replay(house, What.QUARANTINE)
    await stuck_replay(house, What.QUARANTINE)
    assert await database.fetchval("SELECT count(*) FROM replays") == 1
