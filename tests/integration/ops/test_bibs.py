"""`hub bibs`: as they are, as they were, what happened to them, and which are in conflict."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bib_watcher.handlers import sweep
from bib_watcher.settings import BibWatcherSettings
from shared.domain.run import State
from shared.ops.bibs import NEWEST
from shared.ops.failing import WrongUsage
from shared.ops.moments import instant
from shared.postgres import Database
from shared.postgres.outbox import number_changes
from tests import fakes
from tests.builders import EVENT, NOON, RACE, Tenant, a_batch, a_participant_record, a_partner, a_race, a_run
from tests.integration.ops.command import Hub

NOW = datetime.now(UTC).replace(microsecond=0)


@dataclass
class Morning:
    """A race whose gun is in an hour, and its bibs over the last three."""

    database: Database
    tenant: Tenant
    clock: fakes.ManualClock = field(default_factory=lambda: fakes.ManualClock(NOW - timedelta(hours=3)))

    async def brings(self, hours_ago: float, bibs: dict[int, str | None], **fields: Any) -> datetime:
        """People and their bibs, written and watched at that moment."""
        self.clock.at = NOW - timedelta(hours=hours_ago)
        house = fakes.a_house(self.database, self.clock, seed=int(hours_ago * 1000))
        run_id = await a_run(self.database, self.tenant, state=State.COMPLETED)
        modified = (self.clock.at - NOON).total_seconds()
        records = [a_participant_record(who, bib=bib, modified=modified, **fields) for who, bib in bibs.items()]
        await fakes.write(house, a_batch(self.tenant, run_id, records, fetched_at=self.clock.at))
        async with self.database.connection() as connection:
            await number_changes(connection)
        while await sweep(house, BibWatcherSettings()):
            pass
        return self.clock.at


@pytest.fixture
async def morning(database: Database) -> Morning:
    tenant = await a_partner(database)
    await a_race(database, tenant, starts_at=NOW + timedelta(hours=1), cursor=NOW)
    await database.execute("UPDATE races SET timezone = 'America/Denver'")
    return Morning(database, tenant)


def worn(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["bib"], each["registration_id"]) for each in document["bibs"]]


async def test_the_list_as_it_is_as_it_was_and_what_happened_since(hub: Hub, morning: Morning) -> None:
    first = await morning.brings(3, {7001: "5", 7002: "6"})
    second = await morning.brings(2, {7001: None, 7003: "6"})  # one is blanked, and one given twice
    document = (await hub("bibs", "--conflicts", "--json")).document
    assert [(each["bib"], each["registration_id"]) for each in document["conflicts"]] == [("6", "7002"), ("6", "7003")]
    await morning.brings(1, {7003: "8"})
    assert (await hub("bibs", "--conflicts", "--json")).document["conflicts"] == []  # it resolved itself

    race = ("bibs", "--race", RACE, "--json")
    now = (await hub(*race)).document
    assert worn(now) == [("6", "7002"), ("8", "7003")]
    assert [(each["registration_id"], each["before"], each["kind"]) for each in now["blanks"]] == [
        ("7001", "5", "blanked")
    ]
    then = (await hub(*race, "--at", (first + timedelta(minutes=1)).isoformat())).document
    assert worn(then) == [("5", "7001"), ("6", "7002")]
    between = (await hub(*race, "--at", (second + timedelta(minutes=1)).isoformat())).document
    assert worn(between) == [("6", "7002"), ("6", "7003")]
    assert worn((await hub(*race, "--at", "4h")).document) == []

    since = (await hub(*race, "--since", (second + timedelta(minutes=1)).isoformat())).document["events"]
    assert [(each["kind"], each["before"], each["after"]) for each in since] == [("changed", "6", "8")]
    person = (await hub(*race, "--person", "7001")).document["events"]
    assert [each["kind"] for each in person] == ["given", "blanked"]
    number = (await hub(*race, "--number", "6")).document["events"]
    assert [(each["kind"], each["registration_id"]) for each in number] == [
        ("given", "7002"), ("given", "7003"), ("duplicate", "7003"), ("changed", "7003"),
    ]  # fmt: skip
    assert f"seen ({NOW.astimezone(ZoneInfo('America/Denver')):%Z})" in (await hub(*race[:-1], "--history")).out
    said = (await hub("bibs", "--race", RACE)).said
    assert "blanked" in said
    printed = datetime.now(UTC).astimezone(ZoneInfo("America/Denver"))
    assert f"hub bibs --race {RACE} --since {printed:%Y-%m-%dT}" in said  # the race's own clock, ready to be typed


async def test_nothing_that_changed_since_a_list_was_printed_is_left_out(hub: Hub, morning: Morning) -> None:
    printed = await morning.brings(2, {7000: "9"})
    await morning.brings(1, {7001 + number: str(100 + number) for number in range(NEWEST + 20)})
    race = ("bibs", "--race", RACE, "--json")
    since = (await hub(*race, "--since", (printed + timedelta(minutes=1)).isoformat())).document["events"]
    assert len(since) == NEWEST + 20
    assert len((await hub(*race, "--history")).document["events"]) == NEWEST


async def test_the_list_as_it_was_has_each_in_the_event_that_they_were_in(hub: Hub, morning: Morning) -> None:
    await a_race(morning.database, morning.tenant, "502", events=("2",), starts_at=NOW, cursor=NOW)
    await morning.database.execute("UPDATE events SET race_id = $1", RACE)
    moments = [
        await morning.brings(hours_ago, {7001: bib}, event_id=event)
        for hours_ago, bib, event in ((3, "5", int(EVENT)), (2.5, "5", 2), (2, "6", 2), (1, "6", int(EVENT)))
    ]
    for moment, expected in zip(moments, (("5", EVENT), ("5", "2"), ("6", "2"), ("6", EVENT)), strict=True):
        at = (moment + timedelta(minutes=1)).isoformat()
        listed = (await hub("bibs", "--race", RACE, "--json", "--at", at)).document["bibs"]
        assert [(each["bib"], each["event_id"]) for each in listed] == [expected]


async def test_a_bundle_is_no_conflict_and_neither_is_last_year(hub: Hub, morning: Morning) -> None:
    await morning.database.execute("UPDATE events SET sub_event_ids = '{2}'")
    copy = (
        "INSERT INTO events (provider_id, timing_partner_id, event_id, race_id, starts_at, is_volunteer, sub_event_ids,"
        " fetched_at, first_seen_at, changed_at) SELECT provider_id, timing_partner_id, $1, race_id,"
        " starts_at - $2::interval, false, '{}', fetched_at, first_seen_at, changed_at FROM events WHERE event_id = $3"
    )
    await morning.database.execute(copy, "2", timedelta(0), EVENT)
    await morning.database.execute(copy, "3", timedelta(days=365), EVENT)
    await morning.brings(3, {7001: "5"}, user_id=1)
    await morning.brings(2.9, {7002: "5"}, event_id=2, user_id=1)
    await morning.brings(2.8, {7003: "5"}, event_id=3)
    assert (await hub("bibs", "--conflicts")).said.startswith("No bib is worn by two people")
    await morning.brings(2.7, {7004: "5"}, event_id=2, user_id=9)
    rows = (await hub("bibs", "--conflicts", "--race", RACE, "--json")).document["conflicts"]
    assert {each["registration_id"] for each in rows} == {"7001", "7002", "7004"}


async def test_bibs_that_their_event_does_not_give_out_are_a_line_an_event_until_the_data_says_otherwise(
    hub: Hub, morning: Morning
) -> None:
    await morning.database.execute("UPDATE events SET bib_ranges = '[[100, 499], [700, 850]]'")
    await morning.brings(3, {7001: "100", 7002: "7", 7003: "A12", 7004: "850"})
    said = (await hub("bibs", "--conflicts")).out
    assert "100-499, 700-850" in said
    assert "7, A12" in said
    rows = (await hub("bibs", "--conflicts", "--json")).document["conflicts"]
    assert [(each["bib"], each["is_shared"], each["bib_ranges"]) for each in rows] == [
        ("7", False, [[100, 499], [700, 850]]),
        ("A12", False, [[100, 499], [700, 850]]),
    ]
    conflicts = "! 2 bibs in conflict in 1 race starting within a day; see: hub bibs --conflicts"
    assert conflicts in (await hub("status")).said
    told = (await hub("bibs", "--race", RACE, "--history", "--json")).document["events"]
    assert {each["registration_id"] for each in told if each["kind"] == "out_of_range"} == {"7002", "7003"}
    await morning.brings(2, {7002: "101"})
    await morning.database.execute("UPDATE events SET bib_ranges = '[]'")
    assert (await hub("bibs", "--conflicts", "--json")).document["conflicts"] == []


async def test_the_race_that_starts_next_comes_first_and_the_status_tells_of_those_within_a_day(
    hub: Hub, morning: Morning
) -> None:
    database, tenant = morning.database, morning.tenant
    await a_race(database, tenant, "400", events=("9",), starts_at=NOW + timedelta(days=3), cursor=NOW)
    run_id = await a_run(database, tenant, "400", state=State.COMPLETED)
    records = [a_participant_record(who, event_id=9, bib="5") for who in (8001, 8002)]
    await fakes.write(fakes.a_house(database), a_batch(tenant, run_id, records, race_id="400"))
    await morning.brings(1, {7001: "6", 7002: "6"})
    found = (await hub("bibs", "--conflicts", "--json")).document["conflicts"]
    assert [(each["race_id"], each["bib"]) for each in found] == 2 * [(RACE, "6")] + 2 * [("400", "5")]
    status = (await hub("status", "--json")).document
    assert [(each["race_id"], each["bibs"]) for each in status["bib_conflicts"]] == [(RACE, 1)]


@pytest.mark.parametrize(
    "words", ["", "--race 501 --at 06:45 --history", "--race 501 --at 99:99", "--race 501 --at tomorrow"]
)
async def test_a_question_that_is_none_is_wrong_usage(hub: Hub, morning: Morning, words: str) -> None:
    assert (await hub("bibs", *words.split())).code == 2


def test_a_clocks_time_is_the_last_one_of_the_zone() -> None:
    denver = ZoneInfo("America/Denver")
    five = datetime(2027, 5, 22, 11, 0, tzinfo=UTC)  # five in the morning there
    assert instant("04:45", five, denver) == datetime(2027, 5, 22, 10, 45, tzinfo=UTC)
    assert instant("22:15:30", five, denver) == datetime(2027, 5, 22, 4, 15, 30, tzinfo=UTC)  # last night
    assert instant("2027-05-21T22:15", five, denver) == datetime(2027, 5, 22, 4, 15, tzinfo=UTC)
    assert instant("15min", five, denver) == five - timedelta(minutes=15)
    with pytest.raises(WrongUsage):
        instant("24:00", five, denver)


def test_on_the_night_when_clocks_go_back_the_last_of_two_is_meant_and_in_spring_none_is_missed() -> None:
    denver = ZoneInfo("America/Denver")
    back = datetime(2027, 11, 7, 8, 0, tzinfo=UTC)  # two o'clock becomes one
    assert instant("01:30", back + timedelta(minutes=45), denver) == back + timedelta(minutes=30)
    assert instant("01:30", back + timedelta(minutes=15), denver) == back - timedelta(minutes=30)  # not shown again yet
    assert instant("2027-11-07T01:30", back + timedelta(minutes=45), denver) == back - timedelta(minutes=30)
    assert instant("00:30", back + timedelta(minutes=45), denver) == back - timedelta(minutes=90)
    forward = datetime(2027, 3, 14, 9, 0, tzinfo=UTC)  # two becomes three
    assert instant("01:30", forward + timedelta(minutes=15), denver) == forward - timedelta(minutes=30)
    assert instant("22:00", forward + timedelta(minutes=15), denver) == forward - timedelta(hours=4)
