"""`hub inject`: all or none, and a sentence for each wrong line."""

import orjson

from shared.contracts import SyncRequest, decode
from shared.postgres import Database
from tests.integration.ops.command import SECRET, Hub

REQUEST = {"kind": "discover", "provider": "runsignup", "timing_partner_id": 1, "credential_id": 1}


def lines(*documents: object) -> str:
    return "".join(orjson.dumps(each).decode() + "\n" for each in documents)


async def onboard(hub: Hub) -> None:
    result = await hub("partner", "add", "--name", "Fast Timing", "--key", "key-1", "--secret", SECRET)
    assert result.code == 0


async def test_valid_messages_leave_through_the_outbox(hub: Hub, database: Database) -> None:
    await onboard(hub)
    message = {"type": "sync.request.v1", "data": REQUEST}
    result = await hub("inject", "-", said=lines(message, message))
    assert result.code == 0
    assert "2 messages" in result.out
    rows = await database.fetch("SELECT * FROM outbox ORDER BY outbox_id")
    assert len(rows) == 2
    envelope, body = decode(rows[0]["body"])
    assert envelope.source == "hub"
    assert isinstance(body, SyncRequest)
    assert rows[0]["routing_key"] == "sync.request.v1.runsignup.routine"


async def test_one_wrong_line_publishes_nothing_and_every_wrong_line_is_told(hub: Hub, database: Database) -> None:
    await onboard(hub)
    good = {"type": "sync.request.v1", "data": REQUEST}
    wrong = (
        {"type": "sync.request.v1", "data": {**REQUEST, "credential_id": SECRET}},
        {"type": "sync.request.v1", "data": {**REQUEST, "credential_id": 99}},
        {"type": SECRET},
    )
    result = await hub("inject", "-", said=lines(good, *wrong, good) + f"{{{SECRET}\n")
    assert result.code == 2
    told = [each for each in result.err.splitlines() if not each.startswith(" ")]  # how one goes on
    assert [each.split(":")[0] for each in told] == ["line 2", "line 3", "line 4", "line 6", "hub"]
    assert "credential_id" in told[0]
    assert "there is no such credential" in told[1]
    assert "4 of 6" in result.err
    assert await database.fetchval("SELECT count(*) FROM outbox") == 0


async def test_a_file_with_an_array_is_taken_and_can_be_checked_only(hub: Hub, database: Database) -> None:
    await onboard(hub)
    (hub.folder / "messages.json").write_bytes(orjson.dumps([{"type": "sync.request.v1", "data": REQUEST}]))
    assert (await hub("inject", "messages.json", "--check")).code == 0
    assert await database.fetchval("SELECT count(*) FROM outbox") == 0
    assert (await hub("inject", "messages.json", "--json")).document["published"]
    assert await database.fetchval("SELECT count(*) FROM outbox") == 1


async def test_an_empty_file_is_wrong_usage(hub: Hub) -> None:
    assert (await hub("inject", "-", said="\n")).code == 2
