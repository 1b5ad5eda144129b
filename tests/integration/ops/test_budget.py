"""`hub budget`: what is spent, what is to come, what does not fit, and what if. And the promises of `hub status`."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.domain.run import Reason
from shared.postgres import Database
from tests.builders import Tenant, a_partner, a_race, a_run
from tests.integration.ops.command import Hub

RACES = 30


@pytest.fixture
async def saturday(database: Database) -> Tenant:
    """A partner whose thirty races start at one moment, the day after tomorrow."""
    gun = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=2)
    tenant = await a_partner(database)
    for number in range(RACES):
        await a_race(database, tenant, str(number + 1), events=(str(10_000 + number),), starts_at=gun)
    return tenant


async def test_an_operator_sees_today_that_a_morning_will_not_fit_and_what_would_help(
    hub: Hub, saturday: Tenant
) -> None:
    (key,) = (await hub("budget", "--json")).document["keys"]
    assert (key["fingerprint"], key["races"], key["spent"], key["reserve"]) == (saturday.fingerprint, RACES, 0, 100)
    assert len(key["forecast"]) == 14 * 24
    over = [each for each in key["forecast"] if not each["fits"]]
    assert (len(over), key["over"]) == (5, 5)
    assert all(each["interval_seconds"] > 60 and each["raceday_races"] == RACES for each in over)
    for change in ("limit=5000", "interval_raceday_seconds=300"):
        (better,) = (await hub("budget", "--json", "--what-if", change)).document["keys"]
        assert better["over"] == 0, change
    said = await hub("budget")
    assert said.code == 0
    assert "instead of 60 s" in said.said


async def test_what_no_forecast_foresees_is_told_of_what_was_spent(
    hub: Hub, database: Database, saturday: Tenant
) -> None:
    now = datetime.now(UTC)
    assert "Not in the forecast" not in (await hub("budget")).out
    for number, (reason, outcome) in enumerate(
        [("schedule", "ok"), ("follow_up", "ok"), ("follow_up", "http_503"), ("operator", "ok"), ("first", None)]
    ):
        run_id = await a_run(database, saturday, str(number + 1), reason=Reason(reason))
        await database.execute(
            "INSERT INTO calls (provider_id, fingerprint, sync_class, run_id, reserved_at, counts_until, outcome)"
            " VALUES (2, $1, 'near', $2, $3, $3::timestamptz + interval '1 hour', $4)",
            saturday.fingerprint,
            run_id,
            now,
            outcome,
        )
    (key,) = (await hub("budget", "--json")).document["keys"]
    assert (key["spent"], key["spent_on"]) == (5, {"schedule": 2, "follow_up": 1, "failed": 1, "by_hand": 1})
    said = (await hub("budget")).said
    told = "of 5 calls spent, 1 for follow-ups of bib changes, 1 asked for by hand, 1 that failed."
    assert f"Not in the forecast: {told}" in said


async def test_races_may_be_thought_of_with_another_key(hub: Hub, database: Database, saturday: Tenant) -> None:
    other = await a_partner(database)
    moves = [word for number in range(RACES // 2) for word in ("--what-if", f"race:{number + 1}={other.fingerprint}")]
    keys = (await hub("budget", "--json", *moves)).document["keys"]
    assert {each["fingerprint"]: (each["races"], each["over"] > 0) for each in keys} == {
        saturday.fingerprint: (RACES // 2, True), other.fingerprint: (RACES // 2, True),
    }  # fmt: skip
    nobodys = await hub("budget", "--what-if", f"race:{RACES + 1}={other.fingerprint}")
    assert (nobodys.code, f"no race {RACES + 1} is asked for" in nobodys.sentence) == (2, True)
    fewer = (await hub("budget", "--json", "--partner", str(saturday.timing_partner_id), *moves)).document["keys"]
    assert [each["fingerprint"] for each in fewer] == [saturday.fingerprint]


async def test_somebody_elses_use_of_a_key_is_said_with_its_hour(
    hub: Hub, database: Database, saturday: Tenant
) -> None:
    seen = datetime.now(UTC)
    await database.execute("UPDATE provider_keys SET others_calls = 400, others_seen_at = $1", seen)
    (key,) = (await hub("budget", "--json")).document["keys"]
    assert 390 <= key["others"] <= 400
    assert f"seen at {seen:%H:%M}" in (await hub("budget")).out


@pytest.mark.parametrize("word", ["limit", "limit=many", "race:1=nokey", "colour=red", "interval_near_seconds=soon"])
async def test_a_question_that_is_none_is_wrong_usage(hub: Hub, saturday: Tenant, word: str) -> None:
    result = await hub("budget", "--what-if", word)
    assert result.code == 2
    assert "--what-if" in result.sentence or "fingerprint" in result.sentence


async def test_the_status_says_beforehand_what_a_race_morning_is_promised(
    hub: Hub, database: Database, saturday: Tenant
) -> None:
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=2)
    await database.execute(
        "INSERT INTO key_hours SELECT 2, $1, $2::timestamptz + n * interval '1 hour', 30, 2160, 60, 900, 145, $2, $2"
        " FROM generate_series(0, 3) AS n",
        saturday.fingerprint,
        hour,
    )
    await database.execute("UPDATE provider_keys SET others_calls = 300, others_seen_at = $1", datetime.now(UTC))
    said = (await hub("status")).said
    assert f"{hour:%a %m-%d %H:%M} to {hour + timedelta(hours=4):%H:%M} UTC" in said
    assert "30 races asked for every 145 s" in said
    assert "somebody else uses it" in said
    document = (await hub("status", "--json")).document
    assert [each["interval_seconds"] for each in document["stretched_hours"]] == [145] * 4
    await database.execute("UPDATE key_hours SET slowdown = 1.5")
    slower = "30 races asked for every 145 s instead, what is not race day at 1.5 times its intervals"
    assert slower in (await hub("status")).said
    confirmed = datetime.now(UTC) - timedelta(minutes=40)
    await database.execute(
        "UPDATE key_hours SET interval_seconds = NULL, hour = hour - interval '50 hours';"
        f" UPDATE race_sync SET last_confirmed_at = '{confirmed}';"
        f" UPDATE events SET starts_at = '{datetime.now(UTC) + timedelta(hours=12)}'"
    )
    status = (await hub("status", "--json")).document
    assert {(each["pace"], each["promised_seconds"], each["kept"]) for each in status["races"]} == {
        ("near", 2700, True)
    }
    assert "does not fit; what is not race day at 1.5 times its intervals" in (await hub("status")).said


async def test_the_status_tells_first_of_the_races_that_a_director_would_ask_about(
    hub: Hub, database: Database
) -> None:
    now = datetime.now(UTC)
    tenant = await a_partner(database)
    ages = (("1", 300, 60), ("2", 3, 20), ("3", 2, 600), ("4", 300, 9000), ("5", 1, None), ("6", 300, None))
    for race, to_start, age in ages:
        start = now + timedelta(hours=to_start)
        await a_race(database, tenant, race, events=(f"100{race}",), starts_at=start)
        confirmed = None if age is None else now - timedelta(seconds=age)
        await database.execute("UPDATE race_sync SET last_confirmed_at = $1 WHERE race_id = $2", confirmed, race)
    since = now - timedelta(hours=3)  # it is asked for in vain
    await database.execute("UPDATE race_sync SET pace = 'routine', pace_since = $1 WHERE race_id = '6'", since)
    document = (await hub("status", "--json")).document
    told = [(each["race_id"], each["pace"], each["kept"]) for each in document["races"]]
    assert told == [
        ("3", "raceday", False), ("6", "routine", False), ("4", "routine", False), ("5", "raceday", None),
        ("2", "raceday", True),
    ]  # fmt: skip
    said = (await hub("status")).said
    assert "in 119 min" in said
    assert "in 2:59 h" in said
    assert "loading" in said
    assert "Never loaded: 1 race starting within a day" in said
    assert "Never loaded: 1 race starting later" in said


async def test_a_provider_that_fails_just_now_is_told(hub: Hub, database: Database, saturday: Tenant) -> None:
    async def made(outcomes: list[str], minutes_ago: float) -> list[str]:
        at = datetime.now(UTC) - timedelta(minutes=minutes_ago)
        await database.execute(
            "INSERT INTO calls (provider_id, fingerprint, sync_class, reserved_at, finished_at, counts_until, outcome)"
            " SELECT 2, $1, 'near', $2::timestamptz, $2, $2, outcome FROM unnest($3::text[]) AS outcome",
            saturday.fingerprint,
            at,
            outcomes,
        )
        lines: list[str] = (await hub("status", "--json")).document["troubles"]
        return lines

    assert not any("failed" in line for line in await made(["timeout"] * 9, 6))
    assert not any("failed" in line for line in await made(["ok", "ok", "unreachable", "timeout"], 1))
    told = "RunSignUp: 4 of 6 calls failed in five minutes, mostly timeout; see: hub doctor"
    assert told in await made(["timeout", "timeout", "unused"], 1)
