"""What a batch does to the tables, the feed and the outbox, in one transaction."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson
import pytest

from fetcher.telling import introduce
from shared.contracts import ParticipantsChanged, ParticipantsFetched
from shared.contracts.records import Unopened
from shared.domain.participant import Identity, Participant
from shared.domain.run import Mode, State
from shared.errors import Never
from shared.postgres import Database
from shared.providers import registry
from shared.providers.runsignup import mapping
from shared.providers.runsignup.mapping import identify
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
    a_race_record,
    a_races_batch,
    a_removal_record,
    a_removals_batch,
    a_run,
    an_end,
    at,
    body_of,
)
from writer import participants


@pytest.fixture
async def tenant(database: Database) -> Tenant:
    """A partner with one race of one event."""
    tenant = await a_partner(database)
    await a_race(database, tenant)
    return tenant


async def person(database: Database, registration_id: int = 7001) -> dict[str, Any]:
    row = await database.fetchrow("SELECT * FROM participants WHERE registration_id = $1", str(registration_id))
    assert row is not None
    return dict(row)


async def feed(database: Database) -> list[tuple[str, str, dict[str, Any]]]:
    """Registration, kind and fields of every diff, in order."""
    rows = await database.fetch("SELECT * FROM changes ORDER BY batch_id, ordinal")
    return [(row["registration_id"], row["kind"], orjson.loads(row["fields"])) for row in rows]


async def counts(database: Database, run_id: UUID) -> dict[str, int]:
    row = await database.fetchrow("SELECT * FROM sync_runs WHERE run_id = $1", run_id)
    assert row is not None
    names = ("added", "updated", "unchanged", "stale", "removed", "restored", "quarantined")
    return {name: row[name] for name in names if row[name]}


async def quarantine(database: Database) -> list[tuple[str | None, str, int]]:
    rows = await database.fetch("SELECT registration_id, reason, times FROM quarantine ORDER BY item_id")
    return [(row["registration_id"], row["reason"], row["times"]) for row in rows]


async def active(database: Database) -> set[str]:
    rows = await database.fetch("SELECT registration_id FROM participants WHERE removed_at IS NULL")
    return {row["registration_id"] for row in rows}


# -- New, changed, unchanged ------------------------------------------------------------------------------------------


async def test_somebody_new_is_stored_told_and_counted(database: Database, house: House, tenant: Tenant) -> None:
    run_id = await a_run(database, tenant)
    await fakes.write(house, a_batch(tenant, run_id, [a_participant_record(7001, bib="12", modified=5)]))
    row = await person(database)
    assert (row["bib"], row["last_name"], row["provider_modified_at"]) == ("12", "Lindqvist", at(5))
    assert row["credentials_used"] == tenant.fingerprint
    assert await feed(database) == [("7001", "added", {"bib": [None, "12"]})]
    assert await counts(database, run_id) == {"added": 1}


async def test_diffs_and_their_message_leave_together(database: Database, house: House, tenant: Tenant) -> None:
    run_id = await a_run(database, tenant)
    await fakes.write(house, a_batch(tenant, run_id, [a_participant_record(7001), a_participant_record(7002)]))
    row = await database.fetchrow("SELECT * FROM outbox WHERE type = 'participants.changed.v1'")
    assert row is not None
    told = body_of(row["body"])
    assert isinstance(told, ParticipantsChanged)
    assert [each["registration_id"] for each in told.diffs] == ["7001", "7002"]
    assert row["batch_id"] == await database.fetchval("SELECT batch_id FROM change_batches")


async def test_a_change_is_told_field_by_field(database: Database, house: House, tenant: Tenant) -> None:
    run_id = await a_run(database, tenant)
    await fakes.write(house, a_batch(tenant, run_id, [a_participant_record(bib="12")]))
    changed = a_participant_record(bib="13", first_name="Åsa", modified=9)
    await fakes.write(house, a_batch(tenant, run_id, [changed], sequence=2, fetched_at=at(10)))
    (_, kind, fields) = (await feed(database))[-1]
    assert kind == "updated"
    assert fields["bib"] == ["12", "13"]
    assert fields["first_name"] == ["Ada", "Åsa"]
    assert set(fields) == {"bib", "first_name", "provider_modified_at"}
    assert (await person(database))["first_seen_at"] == at(0)


async def test_an_unchanged_row_is_not_written(database: Database, house: House, tenant: Tenant) -> None:
    run_id = await a_run(database, tenant)
    people = [a_participant_record(7001), a_participant_record(7002)]
    where = "SELECT xmin::text, ctid::text FROM participants ORDER BY registration_id"
    await fakes.write(house, a_batch(tenant, run_id, people))
    before = await database.fetch(where)
    await fakes.write(house, a_batch(tenant, run_id, people, sequence=2, fetched_at=at(60)))
    assert await database.fetch(where) == before
    assert len(await feed(database)) == 2
    assert await counts(database, run_id) == {"added": 2, "unchanged": 2}


async def test_a_batch_that_comes_twice_is_applied_once(database: Database, house: House, tenant: Tenant) -> None:
    run_id = await a_run(database, tenant)
    batch = a_batch(tenant, run_id, [a_participant_record(bib="1")])
    await fakes.write(house, batch, batch)
    assert await counts(database, run_id) == {"added": 1}
    assert await database.fetchval("SELECT count(*) FROM raw_batches") == 1


async def test_an_older_batch_that_comes_late_overwrites_nothing(
    database: Database, house: House, tenant: Tenant
) -> None:
    run_id = await a_run(database, tenant)
    await fakes.write(
        house,
        a_batch(tenant, run_id, [a_participant_record(bib="2", modified=50)], sequence=2, fetched_at=at(60)),
        a_batch(tenant, run_id, [a_participant_record(bib="1", modified=0)], sequence=1, fetched_at=at(1)),
    )
    assert (await person(database))["bib"] == "2"
    assert await counts(database, run_id) == {"added": 1, "stale": 1}


async def test_a_duplicate_row_in_a_batch_counts_once_and_as_its_newer_version(
    database: Database, house: House, tenant: Tenant
) -> None:
    run_id = await a_run(database, tenant)
    rows = [a_participant_record(bib="2", modified=9), a_participant_record(bib="1", modified=1)]
    await fakes.write(house, a_batch(tenant, run_id, rows))
    assert (await person(database))["bib"] == "2"
    assert await counts(database, run_id) == {"added": 1}


async def test_a_blank_bib_is_stored_as_none_and_its_former_value_is_told(
    database: Database, house: House, tenant: Tenant
) -> None:
    run_id = await a_run(database, tenant)
    await fakes.write(
        house,
        a_batch(tenant, run_id, [a_participant_record(bib="7")]),
        a_batch(tenant, run_id, [a_participant_record(bib="", modified=9)], sequence=2, fetched_at=at(10)),
    )
    assert (await person(database))["bib"] is None
    assert (await feed(database))[-1][2]["bib"] == ["7", None]


async def test_a_new_mapping_rewrites_a_row_of_equal_version(
    database: Database, house: House, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await a_run(database, tenant)
    record = a_participant_record(bib="7", first_name="ada")
    await fakes.write(house, a_batch(tenant, run_id, [record], fetched_at=at(5)))

    def map_better(raw: Any, race_id: str, who: Identity | None = None) -> Any:
        mapped = PROVIDER.map_participant(raw, race_id, who)
        assert isinstance(mapped, Participant)
        return mapped._replace(first_name="Ada")

    monkeypatch.setattr(mapping, "MAPPING_VERSION", mapping.MAPPING_VERSION + 1)
    monkeypatch.setitem(registry.PROVIDERS, PROVIDER.name, replace(PROVIDER, map_participant=map_better))
    replayed = await a_run(database, tenant, state=State.COMPLETED)
    await fakes.write(house, a_batch(tenant, replayed, [record], fetched_at=at(5)))
    assert (await person(database))["first_name"] == "Ada"


async def test_a_record_that_comes_differently_and_says_the_same_is_unchanged(
    database: Database, house: House, tenant: Tenant
) -> None:
    run_id = await a_run(database, tenant)
    record = a_participant_record(bib="7")
    renewed = {**record, "a_new_field_of_the_vendor": 1}
    await fakes.write(house, a_batch(tenant, run_id, [record], fetched_at=at(5)))
    before = await person(database)
    await fakes.write(house, a_batch(tenant, run_id, [renewed], sequence=2, fetched_at=at(6)))
    after = await person(database)
    assert await counts(database, run_id) == {"added": 1, "unchanged": 1}
    assert len(await feed(database)) == 1
    assert {name for name, value in after.items() if value != before[name]} == {"content_hash", "fetched_at"}
    assert after["content_hash"] == identify([renewed], RACE)[0].content_hash  # next time it is known at once


async def test_of_two_records_of_one_registration_the_later_counts_whichever_is_stored(
    database: Database, house: House, tenant: Tenant
) -> None:
    run_id = await a_run(database, tenant)
    twice = [a_participant_record(bib="7"), a_participant_record(bib="8")]
    for number in (1, 2):
        await fakes.write(house, a_batch(tenant, run_id, twice, sequence=number, fetched_at=at(number)))
    assert (await person(database))["bib"] == "8"
    assert await counts(database, run_id) == {"added": 1, "unchanged": 1}


def overtaken(monkeypatch: pytest.MonkeyPatch, *writes: Any) -> list[None]:
    """Let something be written behind the first look of a batch; what is returned grows with each look."""
    look, looks = participants.look, list[None]()

    async def look_and_be_overtaken(*arguments: Any) -> participants.Look:
        looks.append(None)
        is_first, found = len(looks) == 1, await look(*arguments)
        if is_first:
            await fakes.write(*writes)
        return found

    monkeypatch.setattr(participants, "look", look_and_be_overtaken)
    return looks


async def test_who_changed_after_a_batch_looked_and_before_it_had_the_lock_is_looked_at_again(
    database: Database, house: House, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await a_run(database, tenant)
    as_before, otherwise = a_participant_record(bib="7"), a_participant_record(bib="8")  # modified at the same moment
    await fakes.write(house, a_batch(tenant, run_id, [as_before], fetched_at=at(5)))
    overtaken(monkeypatch, house, a_batch(tenant, run_id, [otherwise], sequence=2, fetched_at=at(7)))
    await fakes.write(house, a_batch(tenant, run_id, [as_before], sequence=3, fetched_at=at(9)))
    assert (await person(database))["bib"] == "7"
    assert await counts(database, run_id) == {"added": 1, "updated": 2}


@pytest.mark.parametrize("sequence", [1, 2], ids=["the same batch", "another batch"])
async def test_new_people_whom_another_has_stored_before_the_lock_are_found_stored(
    database: Database, house: House, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, sequence: int
) -> None:
    """Where nobody was known, nobody looks a second time: the primary key does."""
    run_id = await a_run(database, tenant)
    older, newer = (a_participant_record(bib=bib, modified=when) for bib, when in (("7", 0), ("8", 5)))
    others = [newer, a_participant_record(7002)]
    overtaken(monkeypatch, house, a_batch(tenant, run_id, others, sequence=sequence, fetched_at=at(7)))
    await fakes.write(house, a_batch(tenant, run_id, [older], fetched_at=at(9)))
    assert (await person(database))["bib"] == "8"
    assert await counts(database, run_id) == {"added": 2} | ({"stale": 1} if sequence == 2 else {})
    assert await database.fetchval("SELECT count(*) FROM raw_batches") == sequence


async def test_new_people_are_looked_for_once_though_their_race_has_changed_since(
    database: Database, house: House, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await a_run(database, tenant)
    looks = overtaken(monkeypatch, house, a_batch(tenant, run_id, [a_participant_record(7002)], sequence=2))
    await fakes.write(house, a_batch(tenant, run_id, [a_participant_record(7001)]))
    assert await active(database) == {"7001", "7002"}
    assert len(looks) == 2  # one for each batch


async def test_a_batch_of_known_and_unknown_people_is_applied_whole(
    database: Database, house: House, tenant: Tenant
) -> None:
    """The first one's being known or not is only a guess at what is to be mapped, and when."""
    await loaded(database, house, tenant, 7002)
    run_id = await a_run(database, tenant)
    for number, ids in enumerate(((7001, 7002, 7003), (7002, 7004)), 1):
        records = [a_participant_record(each, bib=str(each)) for each in ids]
        await fakes.write(house, a_batch(tenant, run_id, records, sequence=number, fetched_at=at(5 + number)))
    assert await active(database) == {"7001", "7002", "7003", "7004"}


async def test_the_raw_batch_is_kept_as_it_came(database: Database, house: House, tenant: Tenant) -> None:
    from zstandard import ZstdDecompressor

    run_id = await a_run(database, tenant)
    await fakes.write(house, a_batch(tenant, run_id, [a_participant_record(bib="7")]))
    row = await database.fetchrow("SELECT * FROM raw_batches")
    assert row is not None
    assert b'"bib_num":"7"' in ZstdDecompressor().decompress(row["body"])
    assert (row["race_id"], row["records"]) == (RACE, 1)


async def test_a_batch_of_a_race_nobody_discovered_is_never(database: Database, house: House, tenant: Tenant) -> None:
    run_id = await a_run(database, tenant, "999")
    with pytest.raises(Never, match="discover it first"):
        await fakes.write(house, a_batch(tenant, run_id, [a_participant_record()], race_id="999"))


async def test_a_hand_written_batch_without_a_run_gets_one_that_has_ended(
    database: Database, house: House, tenant: Tenant
) -> None:
    run_id = UUID(int=7)
    await fakes.write(house, a_batch(tenant, run_id, [a_participant_record()]))
    row = await database.fetchrow("SELECT kind, state, added FROM sync_runs WHERE run_id = $1", run_id)
    assert row is not None
    assert tuple(row.values()) == ("replay", "completed", 1)


async def test_the_same_race_under_two_partners_is_stored_for_each(database: Database, house: House) -> None:
    tenants = [await a_partner(database) for _ in range(2)]
    for number, tenant in enumerate(tenants):
        await a_race(database, tenant)
        run_id = await a_run(database, tenant)
        await fakes.write(house, a_batch(tenant, run_id, [a_participant_record(bib=str(number))]))
    rows = await database.fetch("SELECT timing_partner_id, bib FROM participants ORDER BY timing_partner_id")
    assert [tuple(row.values()) for row in rows] == [(each.timing_partner_id, str(n)) for n, each in enumerate(tenants)]


# -- One bad row costs one row ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "registration_id", "reason"),
    [
        (a_participant_record(None), None, "id_missing"),
        (a_participant_record("x"), None, "id_not_a_number"),
        (a_participant_record(7002, event_id=None), "7002", "event_id_missing"),
        (a_participant_record(7002, event_id=4711), "7002", "foreign_event"),
        ("a word", None, "not_an_object"),
        ([], None, "not_an_object"),
    ],
)
async def test_one_bad_row_costs_one_row(
    database: Database, house: House, tenant: Tenant, bad: Any, registration_id: str | None, reason: str
) -> None:
    run_id = await a_run(database, tenant)
    await fakes.write(house, a_batch(tenant, run_id, [a_participant_record(7001), bad, a_participant_record(7003)]))
    assert await active(database) == {"7001", "7003"}
    assert await quarantine(database) == [(registration_id, reason, 1)]
    assert await counts(database, run_id) == {"added": 2, "quarantined": 1}
    assert orjson.loads(await database.fetchval("SELECT raw FROM quarantine")) == bad


async def test_the_same_bad_row_seen_again_is_the_same_item(database: Database, house: House, tenant: Tenant) -> None:
    run_id = await a_run(database, tenant)
    bad = a_participant_record(7002, event_id=None)
    await fakes.write(house, *(a_batch(tenant, run_id, [bad], sequence=number) for number in (1, 2)))
    assert await quarantine(database) == [("7002", "event_id_missing", 2)]


async def test_somebody_whose_row_went_bad_was_seen_and_is_not_removed(
    database: Database, house: House, tenant: Tenant
) -> None:
    await loaded(database, house, tenant, 7001, 7002)
    bad = a_participant_record(7002, event_id=None)
    await full_pass(database, house, tenant, [a_participant_record(7001), bad])
    assert await active(database) == {"7001", "7002"}


async def test_rows_that_the_database_cannot_store_are_found_and_cost_nobody_else(
    database: Database, house: House, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mapping makes everything storable that we know of; this one has forgotten something."""

    def forgetful(raw: Any, race_id: str, who: Identity | None = None) -> Any:
        mapped = PROVIDER.map_participant(raw, race_id, who)
        assert isinstance(mapped, Participant)
        return mapped._replace(first_name="\0") if raw["registration_id"] in {7003, 7006} else mapped

    monkeypatch.setitem(registry.PROVIDERS, PROVIDER.name, replace(PROVIDER, map_participant=forgetful))
    run_id = await a_run(database, tenant)
    people = [a_participant_record(7000 + number) for number in range(1, 9)]
    await fakes.write(house, a_batch(tenant, run_id, people), an_end(tenant, run_id))
    assert await active(database) == {str(7000 + number) for number in (1, 2, 4, 5, 7, 8)}
    assert await quarantine(database) == [("7003", "unstorable", 1), ("7006", "unstorable", 1)]
    assert await database.fetchval("SELECT state FROM sync_runs") == State.COMPLETED


@pytest.mark.parametrize("size", [3_000, 1_000_000])
@pytest.mark.parametrize("name", ["bib_num", "chip_num", "first_name"])
async def test_text_of_any_length_is_stored(
    database: Database, house: House, tenant: Tenant, name: str, size: int
) -> None:
    from random import Random

    long = "".join(Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=size))
    fields = {"first_name": long} if name == "first_name" else {name: long}
    run_id = await a_run(database, tenant)
    await fakes.write(
        house, a_batch(tenant, run_id, [a_participant_record(7001, **fields), a_participant_record(7002)])
    )
    column = {"bib_num": "bib", "chip_num": "chip"}.get(name, name)
    assert (await person(database))[column] == long


async def test_u0000_is_removed_and_noted(database: Database, house: House, tenant: Tenant) -> None:
    run_id = await a_run(database, tenant)
    await fakes.write(house, a_batch(tenant, run_id, [a_participant_record(first_name="A\0da", bib="\0")]))
    row = await person(database)
    assert (row["first_name"], row["bib"]) == ("Ada", None)
    assert "first_name: U+0000 removed" in row["notes"]


# -- Gone and back ----------------------------------------------------------------------------------------------------


async def loaded(database: Database, house: House, tenant: Tenant, *registrations: int, bib: str | None = None) -> None:
    """Some people, stored from a pass ten minutes ago."""
    run_id = await a_run(database, tenant, state=State.COMPLETED)
    people = [a_participant_record(each, bib=bib, modified=-3600) for each in registrations]
    for start in range(0, len(people), 500):
        batch = a_batch(tenant, run_id, people[start : start + 500], sequence=start + 1, fetched_at=at(-600))
        await fakes.write(house, batch)


async def full_pass(
    database: Database, house: House, tenant: Tenant, records: list[Any], *, seconds: float = 0, **run: Any
) -> UUID:
    """A complete full pass that began so long after noon."""
    run_id = await a_run(database, tenant, **run)
    batch = a_batch(tenant, run_id, records, fetched_at=at(seconds))
    await fakes.write(house, batch, an_end(tenant, run_id, first_call_at=at(seconds), first_answer_at=at(seconds)))
    assert await database.fetchval("SELECT state FROM sync_runs WHERE run_id = $1", run_id) == State.COMPLETED
    return run_id


async def missed_before(database: Database, *registrations: int) -> None:
    """A full pass before noon lacked them already."""
    await database.execute(
        "INSERT INTO missed SELECT provider_id, timing_partner_id, race_id, gen_random_uuid(), $1, $2, true"
        " FROM race_sync",
        [str(each) for each in registrations],
        at(-60),
    )


async def removed(database: Database, house: House, tenant: Tenant, *records: Any, fetched_at: float = 0) -> UUID:
    """A batch of the list of those who left."""
    run_id = await a_run(database, tenant, mode=Mode.INCREMENTAL, state=State.EXPIRED)
    await fakes.write(house, a_removals_batch(tenant, run_id, records, fetched_at=at(fetched_at)))
    return run_id


async def test_somebody_who_left_is_kept_with_reason_and_successor(
    database: Database, house: House, tenant: Tenant
) -> None:
    await loaded(database, house, tenant, 7001, bib="5")
    run_id = await removed(database, house, tenant, a_removal_record(reason="transferred", new_registration_id=7009))
    row = await person(database)
    assert (row["removed_at"], row["removed_reason"], row["new_registration_id"]) == (at(0), "transferred", "7009")
    assert (await feed(database))[-1] == (
        "7001",
        "removed",
        {"removed_reason": [None, "transferred"], "new_registration_id": [None, "7009"], "bib": ["5", None]},
    )
    assert await counts(database, run_id) == {"removed": 1}


async def test_a_transfer_takes_the_bib_from_one_and_gives_it_to_the_other(
    database: Database, house: House, tenant: Tenant
) -> None:
    await loaded(database, house, tenant, 7001, bib="5")
    run_id = await a_run(database, tenant, mode=Mode.INCREMENTAL)
    came = a_batch(tenant, run_id, [a_participant_record(7009, bib="5")])
    left = a_removal_record(7001, reason="transferred", new_registration_id=7009)
    await fakes.write(house, came, a_removals_batch(tenant, run_id, [left], sequence=2))
    assert await active(database) == {"7009"}
    bibs = [(who, kind, fields["bib"]) for who, kind, fields in await feed(database)]
    assert bibs[1:] == [("7009", "added", [None, "5"]), ("7001", "removed", ["5", None])]


async def test_a_removal_of_somebody_never_seen_holds_against_an_older_page_that_comes_late(
    database: Database, house: House, tenant: Tenant
) -> None:
    await removed(database, house, tenant, a_removal_record(7001, modified=30), fetched_at=60)
    run_id = await a_run(database, tenant, state=State.EXPIRED)
    await fakes.write(house, a_batch(tenant, run_id, [a_participant_record(7001, modified=0)], fetched_at=at(1)))
    assert await active(database) == set()
    assert await feed(database) == []  # nobody was ever told that this person was there


async def test_a_page_between_two_lists_that_show_the_same_removal_brings_nobody_back(
    database: Database, house: House, tenant: Tenant
) -> None:
    await loaded(database, house, tenant, 7001)
    await removed(database, house, tenant, a_removal_record(7001, modified=5), fetched_at=10)
    await removed(database, house, tenant, a_removal_record(7001, modified=40), fetched_at=50)
    run_id = await a_run(database, tenant, state=State.EXPIRED)
    await fakes.write(house, a_batch(tenant, run_id, [a_participant_record(7001, modified=20)], fetched_at=at(30)))
    assert await active(database) == set()


async def test_somebody_seen_after_leaving_is_back_and_wears_the_bib_again(
    database: Database, house: House, tenant: Tenant
) -> None:
    await loaded(database, house, tenant, 7001, bib="5")
    await removed(database, house, tenant, a_removal_record(7001), fetched_at=10)
    run_id = await a_run(database, tenant)
    record = a_participant_record(7001, bib="5", modified=-3600)
    await fakes.write(house, a_batch(tenant, run_id, [record], fetched_at=at(20)))
    row = await person(database)
    assert (row["removed_at"], row["removed_reason"], row["presence_at"]) == (None, None, at(20))
    assert (await feed(database))[-1] == (
        "7001",
        "restored",
        {"bib": [None, "5"], "removed_reason": ["removed", None]},
    )
    assert await counts(database, run_id) == {"restored": 1}


async def test_an_edit_of_somebody_gone_that_comes_late_gives_nobody_a_bib(
    database: Database, house: House, tenant: Tenant
) -> None:
    await loaded(database, house, tenant, 7001)
    await removed(database, house, tenant, a_removal_record(7001, modified=50), fetched_at=60)
    run_id = await a_run(database, tenant, state=State.EXPIRED)
    await fakes.write(
        house, a_batch(tenant, run_id, [a_participant_record(7001, bib="5", modified=20)], fetched_at=at(30))
    )
    assert await active(database) == set()
    assert (await person(database))["bib"] == "5"  # what is known of them is known
    assert "bib" not in (await feed(database))[-1][2]


async def test_the_list_tells_the_reason_of_a_removal_that_was_inferred(
    database: Database, house: House, tenant: Tenant
) -> None:
    await loaded(database, house, tenant, 7001, 7002)
    await missed_before(database, 7001)
    await full_pass(database, house, tenant, [a_participant_record(7002, modified=-3600)])
    assert (await person(database))["removed_reason"] == "absent"
    await removed(database, house, tenant, a_removal_record(7001, reason="deferred"), fetched_at=60)
    assert (await person(database))["removed_reason"] == "deferred"


async def test_somebody_seen_after_the_list_was_read_stays(database: Database, house: House, tenant: Tenant) -> None:
    run_id = await a_run(database, tenant)
    await fakes.write(house, a_batch(tenant, run_id, [a_participant_record(7001)], fetched_at=at(60)))
    late = await removed(database, house, tenant, a_removal_record(7001), fetched_at=30)
    assert await active(database) == {"7001"}
    assert await counts(database, late) == {}


async def test_a_removal_of_another_races_event_goes_aside(database: Database, house: House, tenant: Tenant) -> None:
    await loaded(database, house, tenant, 7001)
    await removed(database, house, tenant, a_removal_record(7001, event_id=4711))
    assert await active(database) == {"7001"}
    assert await quarantine(database) == [("7001", "foreign_event", 1)]


# -- The end of a full pass -------------------------------------------------------------------------------------------


async def test_whom_two_full_passes_lack_one_after_the_other_is_gone(
    database: Database, house: House, tenant: Tenant
) -> None:
    """The end of a list that lies once, or twice in a row, or leaves people out in its middle, takes nobody away."""
    await loaded(database, house, tenant, 7001, 7002, bib="5")
    there = [a_participant_record(7001, bib="5", modified=-3600)]
    first = await full_pass(database, house, tenant, there)
    assert await active(database) == {"7001", "7002"}
    assert await counts(database, first) == {"unchanged": 1}
    second = await full_pass(database, house, tenant, there, seconds=60)
    assert await active(database) == {"7001"}
    assert (await feed(database))[-1] == ("7002", "removed", {"removed_reason": [None, "absent"], "bib": ["5", None]})
    assert await counts(database, second) == {"unchanged": 1, "removed": 1}
    assert await database.fetchval("SELECT presence_at FROM participants WHERE registration_id = '7002'") == at(60)
    assert await database.fetchval("SELECT count(*) FROM missed") == 0


async def test_whoever_is_seen_again_is_not_missed_any_more(database: Database, house: House, tenant: Tenant) -> None:
    both = [a_participant_record(each, modified=-3600) for each in (7001, 7002)]
    await loaded(database, house, tenant, 7001, 7002)
    for seconds, found in enumerate((both[:1], both, both[:1], both[1:], both)):
        await full_pass(database, house, tenant, found, seconds=seconds)
    assert await active(database) == {"7001", "7002"}


async def test_whoever_was_edited_since_they_were_missed_stays(
    database: Database, house: House, tenant: Tenant
) -> None:
    await loaded(database, house, tenant, 7001, 7002)
    await full_pass(database, house, tenant, [a_participant_record(7001, modified=-3600)])
    changes = await a_run(database, tenant, mode=Mode.INCREMENTAL, state=State.EXPIRED)
    await fakes.write(house, a_batch(tenant, changes, [a_participant_record(7002, modified=20)], fetched_at=at(30)))
    for seconds, people in ((60, {"7001", "7002"}), (120, {"7001"})):
        await full_pass(database, house, tenant, [a_participant_record(7001, modified=-3600)], seconds=seconds)
        assert await active(database) == people


async def test_a_pass_that_is_the_first_to_lack_somebody_is_repeated_in_the_next_round_and_only_once(
    database: Database, house: House, tenant: Tenant
) -> None:
    people = [a_participant_record(each, modified=-3600) for each in (7001, 7002, 7003)]
    await loaded(database, house, tenant, 7001, 7002, 7003)
    again = []
    for seconds, lacking in enumerate((7003, 7003, None, 7002, 7001, 7002)):  # a provider that flickers
        there = [each for each in people[:2] if each["registration_id"] != lacking]
        await full_pass(database, house, tenant, there, seconds=seconds)
        again.append(await database.fetchval("SELECT ask_again FROM missed"))
    assert await active(database) == {"7001", "7002"}
    assert again == [True, None, None, True, False, False]


async def test_whoever_came_while_a_full_pass_was_under_way_stays(
    database: Database, house: House, tenant: Tenant
) -> None:
    run_id = await a_run(database, tenant, state=State.EXPIRED)
    await fakes.write(house, a_batch(tenant, run_id, [a_participant_record(7002)], fetched_at=at(30)))
    await full_pass(database, house, tenant, [a_participant_record(7001)])
    assert await active(database) == {"7001", "7002"}


async def test_a_pass_of_some_events_says_nothing_of_the_others(database: Database, house: House) -> None:
    tenant = await a_partner(database)
    await a_race(database, tenant, events=(EVENT, "90012"))
    await loaded(database, house, tenant, 7001, 7002)
    run_id = await a_run(database, tenant, state=State.COMPLETED)
    other = a_participant_record(7003, event_id=90012)
    await fakes.write(house, a_batch(tenant, run_id, [other], fetched_at=at(-600)))
    await full_pass(database, house, tenant, [a_participant_record(7001)])
    assert await database.fetchval("SELECT count(*) FROM missed") == 0  # and is no first one
    await missed_before(database, 7002, 7003)
    await full_pass(database, house, tenant, [a_participant_record(7001)])
    assert await active(database) == {"7001", "7003"}


async def test_an_empty_full_pass_removes_nobody_and_is_held(database: Database, house: House, tenant: Tenant) -> None:
    await loaded(database, house, tenant, 7001, 7002)
    run_id = await a_run(database, tenant)
    await fakes.write(house, an_end(tenant, run_id, ()))
    assert await database.fetchval("SELECT state FROM sync_runs WHERE run_id = $1", run_id) == State.COMPLETED
    assert await active(database) == {"7001", "7002"}
    held = await database.fetchrow("SELECT registration_ids, active FROM held_removals WHERE resolved_at IS NULL")
    assert held is not None
    assert (sorted(held["registration_ids"]), held["active"]) == (["7001", "7002"], 2)


async def test_a_pass_with_a_row_that_cannot_be_named_removes_nobody(
    database: Database, house: House, tenant: Tenant
) -> None:
    await loaded(database, house, tenant, 7001, 7002)
    await full_pass(database, house, tenant, [a_participant_record(7001), a_participant_record(None)])
    assert await active(database) == {"7001", "7002"}


async def test_a_sudden_loss_of_most_of_a_race_is_held_once_for_an_operator(
    database: Database, house: House, tenant: Tenant
) -> None:
    await loaded(database, house, tenant, *range(7001, 7041))
    for _ in range(2):
        run_id = await full_pass(database, house, tenant, [a_participant_record(7001)])
        assert len(await active(database)) == 40
    rows = await database.fetch("SELECT run_id, cardinality(registration_ids) AS people FROM held_removals")
    assert [tuple(row.values()) for row in rows] == [(run_id, 39)]


async def test_a_loss_that_may_be_is_not_held(database: Database, house: House, tenant: Tenant) -> None:
    await loaded(database, house, tenant, *range(7001, 7027))
    stay = range(7001, 7015)
    for seconds in (0, 60):
        await full_pass(database, house, tenant, [a_participant_record(each) for each in stay], seconds=seconds)
    assert await active(database) == {str(each) for each in stay}
    assert await database.fetchval("SELECT count(*) FROM held_removals") == 0


# -- Two writers ------------------------------------------------------------------------------------------------------


async def test_two_writers_on_one_race_take_turns(database: Database, other_database: Database, tenant: Tenant) -> None:
    """The same people in opposite orders from two processes: without the race's lock they would block each other."""
    run_id = await a_run(database, tenant)
    people = [a_participant_record(7001 + number) for number in range(100)]
    await fakes.write(fakes.a_house(database), a_batch(tenant, run_id, people))

    def edits(writer: int, number: int) -> Any:
        records = [{**each, "bib_num": f"{writer}-{number}", "last_modified": None} for each in people]
        moment = at(2 * number + writer)
        sequence = 2 + 2 * number + writer
        return a_batch(tenant, run_id, records[:: 1 - 2 * writer], sequence=sequence, fetched_at=moment)

    async def one(writer: int, database: Database) -> None:
        house = fakes.a_house(database, seed=writer)
        for number in range(1, 6):
            await fakes.write(house, edits(writer, number))

    await asyncio.wait_for(asyncio.gather(one(0, database), one(1, other_database)), 20)  # a deadlock costs a second
    assert await database.fetchval("SELECT count(*) FROM applied_batches") == 11
    bibs = await database.fetch("SELECT DISTINCT bib FROM participants")
    assert len(bibs) == 1  # each batch was applied whole, behind or before the other's


async def test_an_event_that_leaves_the_list_is_missing_unless_it_is_over(database: Database, house: House) -> None:
    """A list shows a race's current events only: those of last year are not gone, they are history."""
    tenant = await a_partner(database)
    await a_race(database, tenant, events=("1", "2"), starts_at=at(3600))
    await database.execute("UPDATE events SET starts_at = $1 WHERE event_id = '2'", at(-7200))
    run_id = await a_run(database, tenant)
    await fakes.write(house, a_races_batch(tenant, run_id, [a_race_record(event_ids=(3,))]))
    rows = await database.fetch("SELECT event_id FROM events WHERE missing_at IS NOT NULL")
    assert [row["event_id"] for row in rows] == ["1"]


def introduced(body: ParticipantsFetched, records: list[Any]) -> ParticipantsFetched:
    """A batch as the fetcher sends it."""
    return body.model_copy(update=introduce(records, PROVIDER, RACE))


async def test_who_is_stored_already_is_known_without_opening_the_records(
    database: Database, house: House, tenant: Tenant
) -> None:
    run_id = await a_run(database, tenant)
    record = a_participant_record(bib="7")
    await fakes.write(house, introduced(a_batch(tenant, run_id, fetched_at=at(5)), [record]))
    again = introduced(a_batch(tenant, run_id, sequence=2, fetched_at=at(6)), [record])
    unreadable = again.model_copy(update={"records": Unopened(b"[{,}]")})
    await fakes.write(house, unreadable)
    assert await counts(database, run_id) == {"added": 1, "unchanged": 1}


async def test_records_fewer_or_more_than_their_message_says_are_refused(
    database: Database, house: House, tenant: Tenant
) -> None:
    run_id = await a_run(database, tenant)
    batch = introduced(a_batch(tenant, run_id, fetched_at=at(5)), [a_participant_record(bib="7")])
    for records in (b"[]", b"[{}, {}]"):
        with pytest.raises(Never, match="not as many"):
            await fakes.write(house, batch.model_copy(update={"records": Unopened(records)}))
    assert await counts(database, run_id) == {}
