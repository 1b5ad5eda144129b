"""What operators and downstream tools already ask keeps being answered."""

import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from shared.domain.participant import Participant
from shared.domain.race import Race
from shared.postgres import Database
from shared.postgres.credentials import load_credential, seal_new
from shared.providers.runsignup.mapping import map_participant
from shared.providers.runsignup.races import map_race
from shared.secrets import Sealer, fingerprint, new_key
from tests.integration.postgres.core import NOON, insert

SAMPLES = Path(__file__).parents[2] / "samples" / "runsignup"

#: Column by column, in their order.
COLUMNS = {
    "timing_partners": "timing_partner_id company_name access_password contact_email api_access_enabled created_at"
    " updated_at",
    "providers": "provider_id name provider_type api_base_url rate_limit_per_hour created_at",
    "partner_provider_credentials": "partner_provider_credential_id provider_id timing_partner_id principal secret"
    " credential_type additional_config created_at updated_at",
    "runsignup_races": "race_id name last_date last_end_date next_date next_end_date is_draft_race is_private_race"
    " is_registration_open created last_modified description url external_race_url external_results_url fb_page_id"
    " fb_event_id address timezone logo_url real_time_notifications_enabled fetched_date credentials_used"
    " timing_partner_id created_at",
    "runsignup_events": "event_id race_id name details start_time end_time age_calc_base_date registration_opens"
    " event_type distance volunteer require_dob require_phone giveaway fetched_date credentials_used timing_partner_id"
    " created_at",
    "runsignup_participants": "id race_id event_id registration_id user_id first_name middle_name last_name email"
    " address dob gender phone profile_image_url bib_num chip_num age registration_date team_info payment_info"
    " additional_data fetched_date credentials_used timing_partner_id created_at last_modified",
    "sync_history": "sync_history_id timing_partner_id provider_id event_id operation_type sync_direction sync_time"
    " status num_of_synced_records entries_success entries_failed error_details data_snapshot duration_seconds"
    " callback_url reason provider_name sync_type records_processed started_at completed_at error_message",
    "unified_participants": "source_provider timing_partner_id event_id first_name last_name email gender bib_number"
    " city state age registration_date fetched_date",
    "unified_events": "source_provider timing_partner_id event_id event_name event_date fetched_date",
    "unified_results": "source_provider timing_partner_id event_id bib_number first_name last_name gender age"
    " results_time results_gun_time overall_place fetched_date",
}
TABLES = ("timing_partners", "providers", "partner_provider_credentials")
VIEWS = tuple(name for name in COLUMNS if name not in TABLES)

KEYS = {
    "address": "street city state zipcode country_code",
    "team_info": "team_id team_name team_type_id team_type team_gender team_bib_num",
    "payment_info": "race_fee offline_payment_amount processing_fee processing_fee_paid_by_user"
    " processing_fee_paid_by_race partner_fee affiliate_profit extra_fees amount_paid rsu_transaction_id"
    " transaction_id",
    "additional_data": "usatf_discount_amount_in_cents usatf_discount_additional_field giveaway giveaway_option_id"
    " fundraiser_id fundraiser_charity_id fundraiser_charity_name team_fundraiser_id multi_race_bundle_id"
    " multi_race_bundle signed_waiver_details imported",
}


Connection = asyncpg.Connection  # a plain one: the views are read by others than us


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.connect(database_url, size=2)
    yield database
    await database.close()


def _sample_people() -> list[Participant]:
    body = json.loads((SAMPLES / "participants" / "body").read_bytes())
    mapped = [map_participant(raw, "81001") for raw in body[0]["participants"]]
    assert all(isinstance(each, Participant) for each in mapped)
    return [each for each in mapped if isinstance(each, Participant)]


async def _fill_from_samples(connection: "Connection[Any]") -> None:
    """What the provider's recorded answers become."""
    race = map_race(json.loads((SAMPLES / "races" / "body").read_bytes())["races"][0]["race"])
    assert isinstance(race, Race)
    fields = {name: getattr(race, name) for name in Race.__dataclass_fields__ if name not in {"events", "events_known"}}
    await insert(connection, "races", **fields, credentials_used="0123456789ab")
    for event in race.events:
        fields = {name: getattr(event, name) for name in event.__dataclass_fields__}
        await insert(connection, "events", **fields, race_id=race.race_id, credentials_used="0123456789ab")
    for person in _sample_people():
        await insert(connection, "participants", **person._asdict(), credentials_used="0123456789ab")


async def _one(connection: "Connection[Any]", sql: str, *arguments: Any) -> dict[str, Any]:
    row = await connection.fetchrow(sql, *arguments)
    assert row is not None
    return dict(row)


# -- Shapes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COLUMNS)
async def test_every_old_name_has_the_columns_that_readers_know(connection: "Connection[Any]", name: str) -> None:
    rows = await connection.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = $1"
        " ORDER BY ordinal_position",
        name,
    )

    assert [row[0] for row in rows] == COLUMNS[name].split()


async def test_columns_have_types_that_old_readers_can_use(connection: "Connection[Any]") -> None:
    rows = await connection.fetch(
        "SELECT table_name, column_name, format_type(a.atttypid, a.atttypmod) AS type"
        " FROM information_schema.columns c JOIN pg_attribute a ON a.attname = c.column_name"
        " AND a.attrelid = ('public.' || c.table_name)::regclass WHERE table_schema = 'public'"
    )
    types = {(row[0], row[1]): row[2] for row in rows}

    for view in ("runsignup_races", "runsignup_events", "runsignup_participants"):
        assert types[view, "race_id"] == "bigint"
        assert types[view, "fetched_date"] == types[view, "created_at"] == "timestamp with time zone"
        assert types[view, "timing_partner_id"] == "integer"
    assert types["runsignup_events", "start_time"] == "timestamp with time zone"
    assert types["runsignup_events", "distance"] == "numeric(10,2)"
    assert types["runsignup_participants", "last_modified"] == "timestamp with time zone"
    assert {types["runsignup_participants", column] for column in KEYS} == {"jsonb"}
    assert types["runsignup_participants", "dob"] == "date"
    for view in ("unified_participants", "unified_events", "unified_results", "sync_history"):
        assert types[view, "event_id"] == "character varying"
    assert types["sync_history", "error_details"] == types["sync_history", "data_snapshot"] == "jsonb"


async def test_every_view_says_what_it_is(connection: "Connection[Any]") -> None:
    for view in VIEWS:
        assert await connection.fetchval("SELECT obj_description($1::regclass)", f"public.{view}"), view


async def test_the_five_providers_have_their_fixed_numbers(connection: "Connection[Any]") -> None:
    rows = await connection.fetch("SELECT provider_id, name FROM providers ORDER BY provider_id")

    assert [tuple(row) for row in rows] == [
        (1, "Chronotrack"),
        (2, "RunSignUp"),
        (3, "Race Roster"),
        (4, "Haku"),
        (5, "Race Record"),
    ]


# -- The operators' handbook, word for word --------------------------------------------------------------------------


async def test_the_handbooks_insert_is_sealed_when_it_is_first_seen(database: Database, database_url: str) -> None:
    sealer, now = Sealer.from_text(new_key()), datetime(2027, 5, 1, tzinfo=UTC)
    operator = await asyncpg.connect(database_url)
    await operator.execute("INSERT INTO timing_partners (company_name) VALUES ('River Timing')")
    await operator.execute(
        "INSERT INTO partner_provider_credentials (timing_partner_id, provider_id, principal, secret)"
        " VALUES (1, 2, 'api_key', 'api_secret');"
    )
    async with database.transaction() as connection:
        assert await seal_new(connection, sealer, now) == 1

    row = await _one(operator, "SELECT * FROM partner_provider_credentials")
    assert (row["principal"], row["secret"]) == ("api_key", None)
    async with database.connection() as connection:
        stored = await load_credential(connection, row["partner_provider_credential_id"])
        assert await seal_new(connection, sealer, now) == 0
    assert stored is not None
    assert stored.open(sealer).secret == "api_secret"
    assert stored.fingerprint == fingerprint("api_key")
    assert b"api_secret" not in stored.sealed_secret
    known = await operator.fetch(
        "SELECT timing_partner_id, principal FROM partner_provider_credentials WHERE provider_id = 2;"
    )
    assert [tuple(each) for each in known] == [(1, "api_key")]
    await operator.close()


async def test_one_key_may_belong_to_two_partners_and_one_partner_may_have_two(connection: "Connection[Any]") -> None:
    await connection.execute("INSERT INTO timing_partners (company_name) VALUES ('River Timing'), ('Hill Timing')")
    for partner, principal in ((1, "shared"), (2, "shared"), (1, "shared"), (1, "own")):
        await connection.execute(
            "INSERT INTO partner_provider_credentials (timing_partner_id, provider_id, principal, secret)"
            " VALUES ($1, 2, $2, 's')",
            partner,
            principal,
        )

    assert await connection.fetchval("SELECT count(*) FROM partner_provider_credentials") == 4


async def test_the_handbook_counts_participants_and_partners(connection: "Connection[Any]") -> None:
    for number, partner in enumerate((1, 1, 2)):
        await insert(connection, "participants", registration_id=str(number), timing_partner_id=partner)

    row = await _one(
        connection,
        "SELECT COUNT(*) AS total_participants, COUNT(DISTINCT timing_partner_id) AS timing_partners"
        " FROM runsignup_participants;",
    )
    assert row == {"total_participants": 3, "timing_partners": 2}


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Honolulu", "Asia/Tokyo"])
async def test_the_handbook_counts_future_events_in_any_sessions_zone(connection: "Connection[Any]", zone: str) -> None:
    now = datetime.now(UTC)
    for number, minutes in enumerate((-60, -1, 1, 60, None)):
        starts_at = None if minutes is None else now + timedelta(minutes=minutes)
        await insert(connection, "events", event_id=str(number + 1), starts_at=starts_at)
    await connection.execute(f"SET timezone = '{zone}'")

    row = await _one(connection, "SELECT COUNT(*) AS future_events FROM runsignup_events WHERE start_time > NOW();")
    assert row == {"future_events": 2}


# -- What stands in them ---------------------------------------------------------------------------------------------


async def test_a_race_reads_as_before(connection: "Connection[Any]") -> None:
    await _fill_from_samples(connection)

    race = await _one(connection, "SELECT * FROM runsignup_races")

    assert (race["race_id"], race["name"], race["timezone"]) == (81001, "Maple River Run", "America/Chicago")
    assert (race["last_date"], race["next_end_date"]) == (date(2026, 5, 23), date(2027, 5, 22))
    assert (race["is_draft_race"], race["is_registration_open"]) == (False, True)
    assert race["real_time_notifications_enabled"] is False
    assert race["created"] == datetime(2024, 2, 5, 17, 23, tzinfo=UTC)
    assert race["last_modified"] == datetime(2026, 11, 14, 14, 7, tzinfo=UTC)
    assert race["created_at"] == NOON
    assert json.loads(race["address"])["city"] == "Springdale"
    assert race["description"].startswith("<p>Flat river course.")
    assert race["credentials_used"] == "0123456789ab"


async def test_an_event_reads_as_before(connection: "Connection[Any]") -> None:
    await _fill_from_samples(connection)

    event = await _one(connection, "SELECT * FROM runsignup_events WHERE event_id = 900101 AND race_id = 81001")

    assert (event["name"], event["event_type"], float(event["distance"])) == ("10K", "running_race", 10.0)
    assert event["start_time"] == datetime(2027, 5, 22, 13, tzinfo=UTC)  # 8:00 in Chicago
    assert event["registration_opens"] == datetime(2027, 1, 4, 12, tzinfo=UTC)  # 7:00 Eastern
    assert (event["volunteer"], event["require_dob"], event["require_phone"]) == (False, True, True)
    assert (event["giveaway"], event["age_calc_base_date"]) == ("Finisher shirt", None)


async def test_a_participant_reads_as_before(connection: "Connection[Any]") -> None:
    await _fill_from_samples(connection)

    person = await _one(connection, "SELECT * FROM runsignup_participants WHERE registration_id = 7100001")

    assert (person["race_id"], person["event_id"], person["user_id"]) == (81001, 900101, 600001)
    assert (person["first_name"], person["bib_num"], person["age"]) == ("Ada", "101", 37)
    assert person["dob"] == date(1990, 2, 17)
    assert person["registration_date"] == datetime(2027, 1, 12, 20, 15, tzinfo=UTC)
    assert person["last_modified"] == datetime.fromtimestamp(1810850564, UTC)
    assert json.loads(person["payment_info"])["amount_paid"] == 38.10
    assert json.loads(person["additional_data"])["imported"] is False


@pytest.mark.parametrize("column", KEYS)
async def test_json_keys_are_always_present_and_null_when_absent(connection: "Connection[Any]", column: str) -> None:
    await _fill_from_samples(connection)
    for number, value in enumerate((None, "{}", "[]", "7", "null", '"text"')):
        await insert(connection, "participants", registration_id=str(number), **{column: value})

    rows = await connection.fetch(f"SELECT registration_id, {column} FROM runsignup_participants")

    assert len(rows) == 6 + len(_sample_people())
    for row in rows:
        content = json.loads(row[1])
        assert set(KEYS[column].split()) <= set(content), row[0]
        if row[0] < 6:
            assert set(content.values()) == {None}, row[0]


async def test_an_amount_that_is_not_there_is_null_and_not_0(connection: "Connection[Any]") -> None:
    await insert(connection, "participants", payment_info={"race_fee": 0.00})

    row = await _one(
        connection,
        "SELECT payment_info ->> 'race_fee' AS race_fee, payment_info ->> 'amount_paid' AS amount_paid,"
        " sum((payment_info ->> 'amount_paid')::numeric) OVER () AS total FROM runsignup_participants",
    )
    assert row == {"race_fee": "0.0", "amount_paid": None, "total": None}


async def test_a_refunded_runner_is_in_no_view_and_stays_in_the_core(connection: "Connection[Any]") -> None:
    await insert(connection, "participants", registration_id="1", last_name="Stays")
    await insert(
        connection, "participants", registration_id="2", last_name="Leaves", removed_at=NOON, removed_reason="cleared"
    )

    for view in ("runsignup_participants", "unified_participants"):
        assert [row[0] for row in await connection.fetch(f"SELECT last_name FROM {view}")] == ["Stays"]
    core = await _one(connection, "SELECT removed_reason, removed_at FROM hub.participants WHERE last_name = 'Leaves'")
    assert core == {"removed_reason": "cleared", "removed_at": NOON}


async def test_other_providers_are_in_the_unified_views_alone(connection: "Connection[Any]") -> None:
    await connection.execute("INSERT INTO providers (provider_id, name) VALUES (6, 'Let''s Do This')")
    words = {1: "chronotrack", 2: "runsignup", 3: "raceroster", 4: "haku", 5: "racerecord", 6: "letsdothis"}
    for provider_id in (*words, 7):
        await insert(connection, "events", provider_id=provider_id, event_id="a-1")
        await insert(
            connection, "participants", provider_id=provider_id, event_id="a-1", bib="7", address={"city": "Oslo"}
        )

    for view in ("unified_participants", "unified_events"):
        found = {row[0] for row in await connection.fetch(f"SELECT source_provider FROM {view} WHERE event_id = 'a-1'")}
        assert found == {*words.values(), "provider7"}
    row = await _one(
        connection, "SELECT bib_number, city, state FROM unified_participants WHERE source_provider = 'haku'"
    )
    assert row == {"bib_number": "7", "city": "Oslo", "state": None}
    assert await connection.fetchval("SELECT count(*) FROM runsignup_participants") == 1
    assert await connection.fetch("SELECT * FROM unified_results") == []


# -- Nothing that stands in a row breaks a view ----------------------------------------------------------------------

HOSTILE = ("", " ", "12a", "-5", "1.5", "9" * 18, "9" * 30, "０１", "1e5", "\n1", "1\n", "ü")


async def test_ids_that_are_no_numbers_are_null_and_break_nothing(connection: "Connection[Any]") -> None:
    for text in HOSTILE:
        await insert(connection, "races", race_id=text)
        await insert(connection, "events", event_id=text, race_id=text)
        await insert(connection, "participants", registration_id=text, race_id=text, event_id=text, user_id=text)

    for view in ("runsignup_races", "runsignup_events", "runsignup_participants"):
        rows = await connection.fetch(f"SELECT race_id FROM {view}")
        assert len(rows) == len(HOSTILE)
        assert {row[0] for row in rows} == {None, int("9" * 18)}
        assert await connection.fetchval(f"SELECT count(*) FROM {view} WHERE race_id = 1") == 0
    assert await connection.fetchval("SELECT count(*) FROM unified_participants") == len(HOSTILE)


async def test_details_of_any_kind_break_nothing(connection: "Connection[Any]") -> None:
    days: tuple[Any, ...] = (
        "02/30/2027",
        "13/01/2027",
        "00/00/0000",
        "5/2/2027 08:00",
        "2027-02-29",
        "2027-05-02",
        "soon",
        "",
        7,
        {},
    )
    names = ("last_date", "age_calc_base_date", "require_dob", "real_time_notifications_enabled", "fb_page_id")
    documents = [json.dumps(dict.fromkeys(names, day)) for day in days]
    for number, details in enumerate([*documents, None, "null", "[]", "5", '"text"']):
        await insert(connection, "races", race_id=str(number), details=details, address=details)
        await insert(connection, "events", event_id=str(number), details=details, distance=999_999_999)

    read = await connection.fetch("SELECT last_date FROM runsignup_races ORDER BY race_id")
    assert [row[0] for row in read[: len(days)]] == [
        None, None, None, date(2027, 5, 2), None, date(2027, 5, 2), None, None, None, None
    ]  # fmt: skip
    events = await connection.fetch("SELECT * FROM runsignup_events")
    assert len(events) == len(read) == len(documents) + 5
    assert {row["distance"] for row in events} == {None}


async def test_every_view_is_read_in_every_way_a_client_reads(connection: "Connection[Any]") -> None:
    await _fill_from_samples(connection)
    await insert(connection, "sync_runs", event_ids=["900101"])

    for view in VIEWS:
        assert await connection.fetch(f"SELECT * FROM {view}") or view == "unified_results"
        for document in await connection.fetch(f"SELECT row_to_json(v)::text FROM {view} AS v"):
            assert list(json.loads(document[0])) == COLUMNS[view].split()
    joined = await connection.fetch(
        "SELECT p.id FROM runsignup_participants p JOIN runsignup_events e ON e.event_id = p.event_id"
        " JOIN runsignup_races r ON r.race_id = e.race_id"
        " JOIN unified_events u ON u.event_id = CAST(e.event_id AS VARCHAR)"
    )
    assert len(joined) == len(_sample_people())


async def test_a_reader_needs_no_right_but_on_the_views(connection: "Connection[Any]") -> None:
    await _fill_from_samples(connection)
    role = f"hub_reader_{uuid.uuid4().hex[:12]}"
    await connection.execute(f"CREATE ROLE {role}")
    try:
        await connection.execute(f"GRANT SELECT ON {', '.join(VIEWS)} TO {role}")
        await connection.execute(f"SET ROLE {role}")
        for view in VIEWS:
            await connection.fetch(f"SELECT * FROM {view}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("SELECT * FROM partner_provider_credentials")
    finally:
        await connection.execute("RESET ROLE")
        await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_key_is_in_no_view(database: Database, connection: "Connection[Any]") -> None:
    principal, secret = "PRINCIPAL-4711", "SECRET-0815"
    await connection.execute("INSERT INTO timing_partners (company_name) VALUES ('River Timing')")
    await connection.execute(
        "INSERT INTO partner_provider_credentials (timing_partner_id, provider_id, principal, secret)"
        " VALUES (1, 2, $1, $2)",
        principal,
        secret,
    )
    async with database.transaction() as ours:
        await seal_new(ours, Sealer.from_text(new_key()), NOON)
    key = await connection.fetchval("SELECT fingerprint FROM hub.credentials")
    for table in ("races", "events", "participants"):
        await insert(connection, table, credentials_used=key)
    await insert(connection, "sync_runs", credential_id=1)

    for view in VIEWS:
        text = "".join(row[0] for row in await connection.fetch(f"SELECT row_to_json(v)::text FROM {view} AS v"))
        assert principal not in text
        assert secret not in text
    used = await connection.fetch("SELECT credentials_used FROM runsignup_participants")
    assert [row[0] for row in used] == [fingerprint(principal)]


# -- How fast --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        ("SELECT count(*) FROM runsignup_participants WHERE race_id = 81001", "participants_by_number"),
        ("SELECT count(*) FROM runsignup_participants WHERE race_id = 1 AND event_id = 2", "participants_by_number"),
        ("SELECT count(*) FROM runsignup_participants WHERE event_id = 900101", "participants_by_number"),
        ("SELECT count(*) FROM unified_participants WHERE event_id = '900101'", "participants_of_race"),
        ("SELECT * FROM sync_history ORDER BY sync_time DESC LIMIT 10", "sync_runs_taken_up"),
        ("SELECT * FROM sync_history WHERE sync_time >= NOW() - INTERVAL '24 hours'", "sync_runs_taken_up"),
    ],
)
async def test_what_displays_ask_all_day_finds_an_index(
    connection: "Connection[Any]", statement: str, index: str
) -> None:
    await connection.execute(
        "INSERT INTO hub.participants (provider_id, timing_partner_id, registration_id, race_id, event_id,"
        " content_hash, fetched_at, presence_at, first_seen_at, changed_at)"
        " SELECT 2, n % 13, n::text, (81000 + n / 50)::text, (900000 + n / 50)::text, '', now(), now(), now(), now()"
        " FROM generate_series(1, 5000) AS n"
    )
    await connection.execute(
        "INSERT INTO hub.sync_runs (run_id, subject, kind, provider_id, timing_partner_id, credential_id, mode,"
        " sync_class, reason, state, requested_at, deadline_seconds) SELECT md5(n::text)::uuid, n::text, 'race', 2, 1,"
        " 1, 'full', 'near', 'schedule', 'completed', now() - n * interval '1 hour', 600"
        " FROM generate_series(1, 5000) AS n"
    )
    await connection.execute("ANALYZE")

    plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {statement}"))

    assert index in plan, plan


# -- The history of syncs --------------------------------------------------------------------------------------------


async def test_a_finished_run_is_history(connection: "Connection[Any]") -> None:
    await insert(
        connection,
        "sync_runs",
        event_ids=["900101"],
        started_at=NOON,
        finished_at=NOON + timedelta(seconds=90),
        added=1,
        updated=2,
        unchanged=3,
        stale=4,
        removed=5,
        restored=6,
        quarantined=7,
        calls=8,
    )

    row = await _one(connection, "SELECT * FROM sync_history")

    assert (row["status"], row["operation_type"], row["sync_type"]) == ("completed", "race", "incremental")
    assert (row["event_id"], row["provider_id"], row["provider_name"]) == ("900101", 2, "RunSignUp")
    assert row["num_of_synced_records"] == row["entries_success"] == row["records_processed"] == 21
    assert row["entries_failed"] == 7
    assert (row["duration_seconds"], row["reason"], row["sync_direction"]) == (90, "schedule", "pull")
    assert row["sync_time"] == row["completed_at"] == NOON + timedelta(seconds=90)
    assert row["started_at"] == NOON
    assert (row["error_details"], row["error_message"], row["callback_url"]) == (None, None, None)
    assert json.loads(row["data_snapshot"])["calls"] == 8


async def test_a_run_of_several_events_names_them_all(connection: "Connection[Any]") -> None:
    await insert(connection, "sync_runs", event_ids=["900101", "900102"])
    await insert(connection, "sync_runs", kind="discover", race_id=None)

    rows = await connection.fetch("SELECT event_id, data_snapshot FROM sync_history ORDER BY sync_history_id")

    assert [row["event_id"] for row in rows] == ["900101,900102", None]
    assert json.loads(rows[0]["data_snapshot"])["event_ids"] == ["900101", "900102"]


async def test_a_run_that_failed_or_was_given_up_says_why(connection: "Connection[Any]") -> None:
    await insert(connection, "sync_runs", state="failed", error_code="error_6", error="the key may not read this race")
    await insert(connection, "sync_runs", state="expired", error_code="expired", error="not complete by its deadline")

    rows = await connection.fetch("SELECT * FROM sync_history WHERE error_details IS NOT NULL ORDER BY sync_history_id")

    assert [row["status"] for row in rows] == ["failed", "failed"]
    assert json.loads(rows[0]["error_details"]) == {"code": "error_6", "message": "the key may not read this race"}
    assert rows[1]["error_message"] == "not complete by its deadline"


async def test_only_runs_that_were_taken_up_are_history(connection: "Connection[Any]") -> None:
    for state in ("queued", "requested", "running", "fetched", "completed", "failed", "expired", "replaced"):
        await insert(connection, "sync_runs", state=state, subject=state)

    rows = await connection.fetch("SELECT status, duration_seconds FROM sync_history ORDER BY sync_history_id")

    assert [row["status"] for row in rows] == ["running", "running", "completed", "failed", "failed"]
    assert {row["duration_seconds"] for row in rows} == {None}


async def test_a_run_that_waits_or_was_replaced_after_its_first_call_is_history_too(
    connection: "Connection[Any]",
) -> None:
    await insert(connection, "sync_runs", state="queued", started_at=NOON)
    await insert(connection, "sync_runs", state="replaced", started_at=NOON, finished_at=NOON, added=5)

    rows = await connection.fetch("SELECT status, entries_success FROM sync_history ORDER BY sync_history_id")

    assert [tuple(row) for row in rows] == [("running", 0), ("partial", 5)]
