"""`hub check` tells the truth, and `hub status` repeats what was found."""

from shared.postgres import Database
from tests.integration.ops.command import Hub


async def test_what_is_broken_is_told_with_an_exit_code_and_stands_in_the_status(hub: Hub, database: Database) -> None:
    good = await hub("check", "--json")
    assert (good.code, good.document["healthy"]) == (0, True)
    await database.execute(
        "INSERT INTO change_batches (size, run_id, reason, provider_id, timing_partner_id, race_id, written_at)"
        " VALUES (1, gen_random_uuid(), 'first', 2, 1, '81001', now() - interval '1 hour')"
    )
    bad = await hub("check")
    assert bad.code == 1
    assert "BROKEN  feed_is_whole" in bad.out
    status = (await hub("status", "--json")).document
    assert [each["name"] for each in status["broken_checks"]] == ["feed_is_whole"]
    assert any(line.startswith("Check feed_is_whole") for line in status["troubles"])
