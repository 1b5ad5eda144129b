"""A database of the former system is taken over whole, by steps that may be interrupted, and given back as it was."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from shared.errors import Stop
from shared.postgres import migrate as migrating
from shared.postgres.adopting import adoption
from shared.postgres.adopting.filling import key_name
from shared.postgres.migrate import migrate, require_current
from shared.secrets import fingerprint
from tests import fakes
from tests.builders import SEALER, Tenant, a_batch, a_participant_record, a_run
from tests.integration.ops.command import Hub
from tests.legacy import Size, generate

SIZE = Size()
PEOPLE, DOUBLES, GHOSTS = SIZE.people, SIZE.people // 100, 7

#: What operators and displays ask, with answers that an adoption must not change.
SAME = (
    "SELECT COUNT(DISTINCT timing_partner_id) AS timing_partners FROM runsignup_participants",
    "SELECT COUNT(*) AS future_events FROM runsignup_events WHERE event_id < 999999 AND start_time::timestamp > NOW()",
    "SELECT timing_partner_id, company_name FROM timing_partners ORDER BY 1",
    "SELECT race_id, name, url, timezone, timing_partner_id, is_draft_race::text::boolean FROM runsignup_races"
    " GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1",
    "SELECT event_id, race_id, name, timing_partner_id, giveaway FROM runsignup_events WHERE event_id IS NOT NULL"
    " ORDER BY 1",
    "SELECT event_id, count(DISTINCT registration_id) FROM runsignup_participants WHERE registration_id > 0"
    " GROUP BY 1 ORDER BY 1",
    "SELECT registration_id, user_id, first_name, last_name, email, gender, phone, age, nullif(bib_num, '')"
    " FROM runsignup_participants WHERE registration_id % 100 > 2 ORDER BY 1",
    "SELECT source_provider, event_id, count(DISTINCT email) FROM unified_participants GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT timing_partner_id, status, count(*) FROM sync_history GROUP BY 1, 2 ORDER BY 1, 2",
)
OF_DIALECT = {
    "nested": (
        "SELECT registration_id, address ->> 'city', payment_info -> 'amount_paid', additional_data ->> 'giveaway'"
        " FROM runsignup_participants WHERE registration_id % 100 > 2 ORDER BY 1",
        "SELECT sync_history_id, event_id, operation_type, num_of_synced_records, duration_seconds FROM sync_history"
        " ORDER BY 1",
        "SELECT registration_id, min(id) FROM runsignup_participants WHERE registration_id IS NOT NULL GROUP BY 1"
        " ORDER BY 1",
        "SELECT timing_partner_id, webhook FROM timing_partners ORDER BY 1",
        "SELECT timing_partner_id, principal FROM partner_provider_credentials WHERE provider_id = 2 ORDER BY 1, 2",
        "SELECT event_id, name FROM reporting.big_events ORDER BY 1",
        "SELECT race_id, name FROM reporting.races ORDER BY 1",
    ),
    "flat": (
        "SELECT registration_id, city, race_fee, rsu_transaction_id, team_id FROM runsignup_participants"
        " WHERE registration_id % 100 > 2 ORDER BY 1",
        "SELECT id, provider_name, sync_type, records_processed FROM sync_history ORDER BY 1",
        "SELECT provider_name, rate_limit_per_hour FROM providers WHERE provider_name = 'RunSignUp'",
    ),
}


@pytest.fixture(params=["nested", "flat"])
async def dialect(request: pytest.FixtureRequest, empty_database_url: str) -> str:
    """A database of one dialect, filled."""
    await generate(empty_database_url, request.param, SIZE)
    return str(request.param)


@pytest.fixture
async def connection(empty_database_url: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """As a reader connects."""
    connection = await asyncpg.connect(empty_database_url)
    yield connection
    await connection.close()


async def _answers(connection: "asyncpg.Connection[Any]", dialect: str) -> dict[str, list[tuple[Any, ...]]]:
    return {
        statement: [tuple(row) for row in await connection.fetch(statement)]
        for statement in (*SAME, *OF_DIALECT[dialect])
    }


def _silent(_name: str, _done: int, _rows: int) -> None:
    pass


async def _everything(connection: "asyncpg.Connection[Any]") -> dict[str, list[tuple[Any, ...]]]:
    """Every row, constraint and definition outside the system's schemas."""
    tables = await connection.fetch(
        "SELECT c.oid::regclass::text AS name, c.relkind::text AS kind, c.oid FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE nspname !~ '^(pg_|information_schema)' AND relkind IN ('r', 'v', 'm') ORDER BY 1"
    )
    found: dict[str, list[tuple[Any, ...]]] = {}
    for table in tables:
        found[table["name"]] = sorted(
            (row[0],) for row in await connection.fetch(f"SELECT x::text FROM {table['name']} AS x")
        )
    found["constraints"] = [
        tuple(row)
        for row in await connection.fetch(
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE contype = 'f' ORDER BY 1, 2"
        )
    ]
    return found


async def test_looking_finds_what_is_odd_and_changes_nothing(
    dialect: str, empty_database_url: str, connection: "asyncpg.Connection[Any]"
) -> None:
    before = await _everything(connection)

    found = await adoption.check(empty_database_url)

    assert found.dialect == dialect
    assert found.blockers == []
    counts = {(each.what, each.where): each.count for each in found.findings}
    assert counts["duplicates", "runsignup_participants"] == DOUBLES
    assert counts["ghost rows without ids", "runsignup_participants"] == GHOSTS
    assert counts["times without zone", "runsignup_participants"] == PEOPLE + DOUBLES + GHOSTS
    assert counts["clear-text keys", "partner_provider_credentials"] == 15
    assert counts["clear-text keys", "sync_history"] == 1
    assert counts["view in the way", "public.unified_participants"] == 1
    if dialect == "flat":
        assert counts["trigger", "runsignup_events"] == 1
        assert counts["provider numbers elsewhere", "sync_queue"] == 1
    moved = {"nested": {}, "flat": {1: 2, 2: 1, 5: 6}}
    assert found.numbering.moved == moved[dialect]
    for refusing in (migrate, require_current):  # so the first command that is typed leads on, whichever it is
        with pytest.raises(Stop, match="hub adopt --check"):
            await refusing(empty_database_url)
    assert await _everything(connection) == before


async def test_readers_of_the_old_names_notice_nothing(
    dialect: str, empty_database_url: str, connection: "asyncpg.Connection[Any]"
) -> None:
    before = await _answers(connection, dialect)

    taken = await adoption.adopt(empty_database_url, sealer=SEALER, tell=_silent)

    after = await _answers(connection, dialect)
    for statement, rows in before.items():
        assert after[statement] == rows, statement
    assert {each.name: each.taken for each in taken}["runsignup_participants"] == PEOPLE
    assert await connection.fetchval("SELECT count(*) FROM runsignup_participants") == PEOPLE
    assert await connection.fetchval("SELECT count(*) FROM hub_old.runsignup_participants") == PEOPLE + DOUBLES + GHOSTS
    await require_current(empty_database_url)
    assert await migrate(empty_database_url) == []


async def test_keys_are_sealed_and_in_no_row_and_times_are_absolute(
    dialect: str, empty_database_url: str, connection: "asyncpg.Connection[Any]"
) -> None:
    await adoption.adopt(empty_database_url, sealer=SEALER, tell=_silent, zone="america/chicago")

    for name, rows in (await _everything(connection)).items():
        assert not any("s3cret" in str(row) for row in rows), name
    used = await connection.fetch("SELECT DISTINCT credentials_used FROM runsignup_participants")
    assert {row[0] for row in used} == {fingerprint(f"key-{number}") for number in range(2, 8)}
    row = await connection.fetchrow(
        "SELECT k.*, c.sealed_secret, c.state FROM partner_provider_credentials k JOIN hub.credentials c"
        " ON credential_id = partner_provider_credential_id WHERE principal = 'key-4'"
    )
    assert row is not None
    assert (row["provider_id"], row["timing_partner_id"], row["state"]) == (2, 4, "new")
    assert SEALER.open(row["sealed_secret"], key_name(row)) == "s3cret-of-4"

    event = await connection.fetchrow("SELECT * FROM runsignup_events WHERE event_id = 900001")
    assert event is not None
    # Race 80002 is in Denver; the platform's own times are Eastern; the old programs' clock stood in Chicago.
    assert event["start_time"] == datetime(2027, 5, 2, 14, tzinfo=UTC)
    assert event["fetched_date"] == datetime(2026, 2, 1, 6, tzinfo=UTC)
    person = await connection.fetchrow("SELECT * FROM runsignup_participants WHERE registration_id = 7000002")
    assert person is not None
    assert person["registration_date"] == datetime(2026, 1, 1, 19, tzinfo=UTC)
    assert (person["timing_partner_id"], person["race_id"]) == (5, 80004)


async def test_of_people_stored_twice_the_newest_counts_under_the_first_number(
    empty_database_url: str, connection: "asyncpg.Connection[Any]"
) -> None:
    await generate(empty_database_url, "nested", SIZE)
    first = await connection.fetchval("SELECT min(id) FROM runsignup_participants WHERE registration_id = 7000101")

    await adoption.adopt(empty_database_url, sealer=SEALER, tell=_silent)

    rows = await connection.fetch("SELECT id, bib_num FROM runsignup_participants WHERE registration_id = 7000101")
    assert [tuple(row) for row in rows] == [(first, "D101")]
    next_id = await connection.fetchval(
        "SELECT nextval(pg_get_serial_sequence('hub.participants', 'id')) > (SELECT max(id) FROM hub.participants)"
    )
    assert next_id


async def test_an_adoption_is_taken_back_to_the_last_row(
    dialect: str, empty_database_url: str, connection: "asyncpg.Connection[Any]"
) -> None:
    before = await _everything(connection)
    await adoption.adopt(empty_database_url, sealer=SEALER, tell=_silent)

    await adoption.undo(empty_database_url, sealer=SEALER)

    after = await _everything(connection)
    assert after.keys() == before.keys()
    for name, rows in before.items():
        if name == "sync_history":  # a secret cut out of a text stays out
            assert len(after[name]) == len(rows)
        elif name == "runsignup_participants" and dialect == "flat":  # and one that stood in credentials_used
            assert [row for row in rows if "s3cret" not in row[0]] == [
                row for row in after[name] if fingerprint("key-3") not in row[0]
            ]
        else:
            assert after[name] == rows, name


@pytest.mark.parametrize("at", ["timing_partners", "runsignup_participants"])
async def test_an_interrupted_adoption_goes_on_and_readers_see_whole_tables_meanwhile(
    empty_database_url: str, connection: "asyncpg.Connection[Any]", at: str
) -> None:
    await generate(empty_database_url, "nested", SIZE)
    before = await _answers(connection, "nested")

    def trip(name: str, done: int, _rows: int) -> None:
        if name == at and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await adoption.adopt(empty_database_url, sealer=SEALER, tell=trip)
    assert await _answers(connection, "nested") == before
    for refusing in (migrate, require_current):
        with pytest.raises(Stop, match="hub adopt --undo"):
            await refusing(empty_database_url)

    await adoption.adopt(empty_database_url, sealer=SEALER, tell=_silent)

    assert await _answers(connection, "nested") == before
    assert not any("s3cret" in str(rows) for rows in (await _everything(connection)).values())


async def test_half_an_adoption_is_taken_back(
    dialect: str, empty_database_url: str, connection: "asyncpg.Connection[Any]"
) -> None:
    before = await _answers(connection, dialect)
    names = (await _everything(connection)).keys()

    def trip(name: str, _done: int, _rows: int) -> None:
        if name == "runsignup_events":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await adoption.adopt(empty_database_url, sealer=SEALER, tell=trip)

    await adoption.undo(empty_database_url, sealer=SEALER)

    assert await _answers(connection, dialect) == before
    assert (await _everything(connection)).keys() == names


async def test_the_first_full_pass_finds_everybody_and_tells_only_what_changed(empty_database_url: str) -> None:
    await generate(empty_database_url, "nested", SIZE)
    await adoption.adopt(empty_database_url, sealer=SEALER, tell=_silent)
    async with fakes.a_database(empty_database_url) as database:
        rows = await database.fetch(
            "SELECT registration_id, bib, last_name, race_id, timing_partner_id FROM participants"
            " WHERE event_id = '900005' ORDER BY registration_id LIMIT 40"
        )
        race_id, partner = rows[0]["race_id"], rows[0]["timing_partner_id"]
        credential = await database.fetchval(
            "SELECT credential_id FROM credentials JOIN public.partner_provider_credentials"
            " ON partner_provider_credential_id = credential_id WHERE timing_partner_id = $1 AND provider_id = 2",
            partner,
        )
        await database.execute(
            "INSERT INTO race_sync VALUES (2, $1, $2, $3, 'active', NULL, now())", partner, race_id, credential
        )
        tenant = Tenant(partner, credential, fingerprint(f"key-{partner}"))
        run_id = await a_run(database, tenant, race_id, events=["900005"])
        records = [
            a_participant_record(
                int(row["registration_id"]),
                event_id=900005,
                first_name=f"First{int(row['registration_id']) - 7000000}",
                last_name=row["last_name"],
                bib=row["bib"],
                modified=-86400 * 3650,  # older than what the former system believed: it counts all the same
            )
            for row in rows
        ]
        for record in records:
            record["user"]["email"] = f"runner{record['registration_id'] - 7000000}@example.com"
            record["user"] |= {"dob": "1990-05-01", "phone": "555-0100"}
            record["age"] = 20 + (record["registration_id"] - 7000000) % 50
        records[3]["bib_num"] = "4711"
        await fakes.write(fakes.a_house(database), a_batch(tenant, run_id, records, race_id=race_id))

        counts = await database.fetchrow("SELECT added, updated, stale FROM sync_runs WHERE run_id = $1", run_id)
        assert tuple(counts or ()) == (0, len(records), 0)
        changes = await database.fetch("SELECT registration_id, kind, fields::text FROM changes")
        assert [tuple(row) for row in changes] == [
            (rows[3]["registration_id"], "updated", f'{{"bib": ["{rows[3]["bib"]}", "4711"]}}')
        ]
        people = await database.fetchval("SELECT count(*) FROM participants WHERE event_id = '900005'")
        assert people == PEOPLE // SIZE.events


async def test_what_was_added_since_is_not_lost_unasked_nor_is_anybodys_view(
    empty_database_url: str, connection: "asyncpg.Connection[Any]", tmp_path: Path
) -> None:
    await generate(empty_database_url, "flat", SIZE)
    hub = Hub(tmp_path, HUB_DATABASE_URL=empty_database_url)
    checked = await hub("adopt", "--check", "--json")
    assert (checked.code, checked.document["dialect"]) == (0, "flat")
    assert (await hub("adopt", "--json")).document["tables"][0]["taken_over"] == 13
    await connection.execute(
        "INSERT INTO timing_partners (company_name) VALUES ('New'); INSERT INTO partner_provider_credentials"
        " (timing_partner_id, provider_id, principal, secret) VALUES (14, 2, 'key-99', 's3cret-of-99')"
    )
    refused = await hub("adopt", "--undo")
    assert refused.code == 1
    assert "1 partner and 1 key" in refused.sentence
    await connection.execute("CREATE VIEW mine AS SELECT * FROM runsignup_events")
    with pytest.raises(Stop, match=r"public\.mine read the hub's tables"):
        await adoption.undo(empty_database_url, sealer=SEALER)
    await connection.execute("DROP VIEW mine")
    assert (await hub("adopt", "--undo", "--yes")).code == 0
    assert await connection.fetchval("SELECT count(*) FROM timing_partners") == 13


async def test_rights_and_other_tables_constraints_come_along(
    empty_database_url: str, connection: "asyncpg.Connection[Any]"
) -> None:
    await generate(empty_database_url, "nested", SIZE)
    await connection.execute(
        "DROP ROLE IF EXISTS hub_test_display; CREATE ROLE hub_test_display;"
        "GRANT SELECT ON runsignup_participants, unified_participants, sync_history TO hub_test_display;"
        "GRANT INSERT ON timing_partners TO hub_test_display;"
        "GRANT USAGE ON SEQUENCE timing_partners_timing_partner_id_seq TO hub_test_display"
    )
    try:
        await adoption.adopt(empty_database_url, sealer=SEALER, tell=_silent)
        await connection.execute("SET ROLE hub_test_display")
        assert await connection.fetchval("SELECT count(*) FROM unified_participants") == PEOPLE + 50
        assert await connection.fetchval("SELECT count(*) FROM sync_history") == SIZE.events + 1
        await connection.execute("INSERT INTO timing_partners (company_name) VALUES ('River Timing')")
        await connection.execute("RESET ROLE")
        await connection.execute("INSERT INTO users (email, timing_partner_id) VALUES ('new@example.com', 14)")
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await connection.execute("INSERT INTO users (email, timing_partner_id) VALUES ('new@example.com', 99)")
    finally:
        await connection.execute("RESET ROLE; DROP OWNED BY hub_test_display; DROP ROLE hub_test_display")


async def test_a_table_of_another_program_stands_in_the_way_and_is_named(
    empty_database_url: str, connection: "asyncpg.Connection[Any]"
) -> None:
    await connection.execute("CREATE TABLE timing_partners (name text)")
    found = await adoption.check(empty_database_url, zone="Atlantis/Main")
    assert len(found.blockers) == 2
    with pytest.raises(Stop, match=r"public\.timing_partners lacks timing_partner_id"):
        await adoption.adopt(empty_database_url, sealer=SEALER, tell=_silent)
    assert await connection.fetchval("SELECT to_regnamespace('hub_old')") is None


async def test_the_names_that_are_refused_are_those_that_the_migrations_make(
    empty_database_url: str, connection: "asyncpg.Connection[Any]"
) -> None:
    await migrate(empty_database_url)
    made = await connection.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')"
    )
    assert {row[0] for row in made} == set(migrating.OLD_NAMES)
