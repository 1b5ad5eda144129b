"""The last day in numbers, under the keys that operators read with jq."""

from datetime import UTC, datetime, timedelta

import orjson

from scheduler.app import summarise
from scheduler.measuring import measure
from shared.domain.run import State
from shared.postgres import Database
from shared.telemetry import metrics
from tests import fakes
from tests.builders import a_partner, a_race, a_run
from tests.integration.ops.command import Hub

NOW = datetime.now(UTC)
HANDBOOK = {
    "sync_time", "duration_seconds", "total_races", "total_events", "total_participants", "timing_partners_synced",
    "failed_syncs", "detailed_results",
}  # fmt: skip


async def ended(database: Database, run_id: object, hours: float, error: str | None = None) -> None:
    await database.execute(
        "UPDATE sync_runs SET started_at = $2::timestamptz - interval '3 seconds', finished_at = $2, error = $3,"
        " calls = 2 WHERE run_id = $1",
        run_id,
        NOW - timedelta(hours=hours),
        error,
    )


async def test_the_last_day_is_summed_up_and_what_was_made_good_since_is_not_told(hub: Hub, database: Database) -> None:
    tenant = await a_partner(database)
    for race_id in ("501", "502"):
        await a_race(database, tenant, race_id, events=(f"{race_id}0",))
        await ended(database, await a_run(database, tenant, race_id, state=State.FAILED), 3, "no such event")
    await ended(database, await a_run(database, tenant, "501", state=State.COMPLETED), 2)
    await ended(database, await a_run(database, tenant, "502", state=State.COMPLETED), 30)

    found = (await hub("summary", "--json")).document
    assert set(found) >= HANDBOOK
    assert (found["total_races"], found["total_events"], found["timing_partners_synced"]) == (2, 2, 1)
    assert (found["runs"], found["calls"], found["duration_seconds"]) == (
        {"completed": 1, "failed": 2, "expired": 0}, 6, 9.0,
    )  # fmt: skip
    partner = {"timing_partner_id": tenant.timing_partner_id, "name": "Invented Timing"}
    failed = [{**partner, "errors": ["race 502: no such event"]}]
    assert found["failed_syncs"] == failed
    assert {**partner, "races": 2, "events": 2}.items() <= found["detailed_results"][0].items()
    withdrawn = await a_partner(database, state="disabled")
    await ended(database, await a_run(database, withdrawn, "503", state=State.FAILED), 1, "the key was refused")
    replayed = await a_run(database, tenant, "504", state=State.FAILED)
    await ended(database, replayed, 1, "its replay ended before it")
    await database.execute("UPDATE sync_runs SET kind = 'replay', subject = 'replay:1' WHERE run_id = $1", replayed)
    told = await hub("summary")
    assert f"Not made good: race 502: no such event (partner {tenant.timing_partner_id}, Invented Timing)." in told.said

    assert told.said.count("Not made good") == 1
    clock = fakes.ManualClock(NOW)
    await summarise(fakes.a_house(database, clock), hub.folder / "summary.json")
    written = orjson.loads((hub.folder / "summary.json").read_bytes())
    assert written["failed_syncs"] == failed
    assert [each.name for each in hub.folder.iterdir() if each.suffix == ".new"] == []


async def test_what_is_stuck_is_measured_until_a_person_has_decided(database: Database) -> None:
    item = (
        "INSERT INTO dead_letters (message_id, type, queue, routing_key, reason, fingerprint, attempts, first_seen_at,"
    )
    item += " dead_at, body) VALUES ('m', 't', 'watch', 'r', 'undecodable', 'f', 1, now(), now(), '')"
    await database.execute(item)
    for open_items in (1.0, 0.0):
        async with database.connection() as connection:
            await measure(connection, NOW)
        samples = {
            (each.labels["kind"], each.labels["reason"]): each.value
            for family in metrics.open_items.collect()
            for each in family.samples
        }
        assert samples.get(("dead_letter", "undecodable"), 0.0) == open_items
        await database.execute("UPDATE dead_letters SET resolved_at = now(), resolution = 'dropped'")
