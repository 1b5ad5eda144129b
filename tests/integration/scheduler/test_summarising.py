"""The day's summary is written by the scheduler, as its role in the database."""

from pathlib import Path

import orjson

from scheduler.app import summarise
from shared.postgres import Database
from shared.runtime import House
from tests.builders import a_partner, a_race


async def test_the_schedulers_role_can_write_the_summary(house: House, database: Database, tmp_path: Path) -> None:
    await a_race(database, await a_partner(database), "501")
    await summarise(house, tmp_path / "summary.json")
    written = orjson.loads((tmp_path / "summary.json").read_bytes())
    assert (written["total_races"], len(written["detailed_results"])) == (1, 1)
    assert written["detailed_results"][0]["name"] == "Invented Timing"
