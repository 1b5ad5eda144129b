"""A database of the former system, adopted, meets the provider: nobody is doubled, and no false bib event is told."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from shared.domain.run import Mode
from shared.ops.demo.comparing import Comparison, compare
from shared.ops.demo.provider import PretendProvider, pretend_provider
from shared.postgres.adopting import adoption
from shared.runtime.service import keep_running, open_house, services
from shared.secrets import Sealer, new_key
from shared.settings import Settings, load
from tests.acceptance.house import QUICK, Hub, until
from tests.legacy import NESTED

NAMES = ("first_name", "middle_name", "last_name")


async def _fill(url: str, provider: PretendProvider) -> list[str]:
    """The former system's tables, as it would have filled them: prices that are absent as 0, times without zone."""
    connection: asyncpg.Connection[Any] = await asyncpg.connect(url)
    await connection.execute(NESTED)
    await connection.execute(  # as somebody did once a long phone number had cost a night
        "ALTER TABLE runsignup_participants "
        + ", ".join(
            f"ALTER {name} TYPE text"
            for name in (*NAMES, "email", "gender", "phone", "bib_num", "chip_num", "profile_image_url")
        )
    )
    await connection.execute("INSERT INTO providers (provider_id, name) VALUES (1, 'Chronotrack'), (2, 'RunSignUp')")
    everybody = []
    for number, partner in enumerate(await provider.partners(), start=1):
        await connection.execute("INSERT INTO timing_partners VALUES ($1, $2)", number, partner.name)
        await connection.execute(
            "INSERT INTO partner_provider_credentials (provider_id, timing_partner_id, principal, secret,"
            " credential_type) VALUES (2, $1, $2, $3, $4)",
            number,
            partner.key,
            partner.secret,
            partner.form,
        )
        async for each in provider.lines("/truth/events", key=partner.key):
            zone = ZoneInfo(each["timezone"])
            starts, ends = (each[name] and _wall(each[name], zone) for name in ("starts_at", "ends_at"))
            race, event = int(each["race_id"]), int(each["event_id"])
            await connection.execute(
                "INSERT INTO runsignup_races (race_id, name, timezone, timing_partner_id) VALUES ($1, $2, $3, $4)"
                " ON CONFLICT DO NOTHING",
                race,
                each["race_name"],
                each["timezone"],
                number,
            )
            await connection.execute(
                "INSERT INTO runsignup_events (event_id, race_id, name, start_time, end_time, volunteer,"
                " credentials_used, timing_partner_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
                event,
                race,
                each["name"],
                starts,
                ends,
                each["volunteer"],
                partner.key,
                number,
            )
        async for each in provider.truth(partner.key):
            everybody.append(each["registration_id"])
            registered = each["registered_at"] and _wall(each["registered_at"], ZoneInfo("America/New_York"))
            await connection.execute(
                "INSERT INTO runsignup_participants (registration_id, race_id, event_id, user_id, first_name,"
                " middle_name, last_name, email, gender, phone, profile_image_url, bib_num, chip_num, age, dob,"
                " registration_date, address, team_info, payment_info, credentials_used, timing_partner_id, created_at,"
                " last_modified) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15::text::date,"
                " $16, $17, $18, $19, $20, $21, '2026-01-01', '2099-01-01')",
                *(each[name] and int(each[name]) for name in ("registration_id", "race_id", "event_id", "user_id")),
                *(each[name] for name in (*NAMES, "email", "gender", "phone")),
                *(each[name] for name in ("profile_image_url", "bib", "chip", "age", "dob")),
                registered,
                *(json.dumps(each[name]) for name in ("address", "team_info")),
                json.dumps({name: amount or 0.0 for name, amount in each["payment_info"].items()}),
                partner.key,
                number,
            )
    await connection.close()
    return everybody


def _wall(moment: str, zone: ZoneInfo) -> datetime:
    return datetime.fromisoformat(moment).astimezone(zone).replace(tzinfo=None)


@pytest.fixture
async def provider() -> AsyncIterator[PretendProvider]:
    async with pretend_provider("--world", "small") as provider:
        yield provider


async def test_an_adopted_database_meets_the_provider_and_only_what_changed_is_told(
    provider: PretendProvider, empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everybody = await _fill(empty_database_url, provider)
    once = [each for each in everybody if everybody.count(each) == 1]  # two partners share a race
    changed, gone = once[5], once[-5]
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute(
        f"UPDATE runsignup_participants SET bib_num = '99999' WHERE registration_id = {changed};"
        f"DELETE FROM runsignup_participants WHERE registration_id = {gone};"
        # Nobody ever left the former system.
        f"INSERT INTO runsignup_participants (registration_id, race_id, event_id, first_name, timing_partner_id)"
        f" SELECT 1, race_id, event_id, 'Left', timing_partner_id FROM runsignup_participants"
        f" WHERE registration_id = {changed}"
    )
    await connection.close()
    key = new_key()
    await adoption.adopt(empty_database_url, sealer=Sealer.from_text(key), tell=lambda *_: None)

    for name, value in QUICK.items():
        monkeypatch.setenv(name, value)
    settings = load(
        Settings,
        database_url=empty_database_url,
        amqp_url=None,
        home=tmp_path,
        runsignup_base_url=provider.url,
        secret_key=key,
    )
    async with open_house(settings, name="test") as house:
        running = asyncio.create_task(keep_running(house, services()))
        hub = Hub(house.database, provider, secret_key=key)
        hub.keys = {each.key: number for number, each in enumerate(await provider.partners(), start=1)}
        try:
            await until(hub.loaded, "the first pass of every race")
            await hub.ask_for_everything(Mode.FULL)  # whom one pass lacked is not gone yet
            found = Comparison()
            await compare(house.database, provider, hub.keys, found)
            assert (found.missing, found.surplus, found.different) == ([], [], {})
            assert found.identical == len(everybody)
            rows = await house.database.fetch("SELECT registration_id, kind FROM changes ORDER BY kind")
            told = {(row["registration_id"], row["kind"]) for row in rows}
            assert told == {(changed, "updated"), (gone, "added"), ("1", "removed")}
            assert len(rows) == 3

            async def watched() -> int:
                return await hub.count("SELECT count(*) FROM change_batches WHERE watched_at IS NOT NULL")

            await until(watched, "the bib-watcher to have looked")
            bibs = await house.database.fetch("SELECT DISTINCT registration_id FROM bib_history")
            assert {row["registration_id"] for row in bibs} <= {changed, gone, "1"}
            assert changed in {row["registration_id"] for row in bibs}
        finally:
            house.stopping.set()
            await running
