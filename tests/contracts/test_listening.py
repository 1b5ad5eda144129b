"""What `shared/MESSAGES.md` tells about listening, tried on a real broker and a real database."""

import json
import re
from pathlib import Path
from random import Random
from typing import Any

import aio_pika
import asyncpg
import orjson
import pytest

from shared.amqp import AmqpBus
from shared.bus.port import Message
from shared.clock import SystemClock

PAGE = (Path(__file__).parents[2] / "shared" / "MESSAGES.md").read_text("utf-8")
BIB_CHANGED = json.loads((Path(__file__).parent / "samples" / "bib.changed.v1.json").read_text("utf-8"))


def block(language: str) -> str:
    """The page's only block in a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert isinstance(found, str)
    return found


class Enough(Exception):
    """The listener has heard all that it was to hear."""


async def test_a_listener_as_the_page_writes_it_hears_bib_changes_and_a_full_queue_holds_nobody_up(
    amqp_url: str,
) -> None:
    shown: list[Any] = []

    def show(changes: Any) -> None:
        shown.append(changes)
        if len(shown) == 2:
            raise Enough

    names: dict[str, Any] = {"json": json, "show": show}
    exec(block("python").replace("10_000", "2"), names)
    bus = await AmqpBus.connect(amqp_url, SystemClock(), ("runsignup",), Random(1))
    connection = await aio_pika.connect(amqp_url)
    channel = await connection.channel()
    ours = await channel.declare_queue(
        "bib-display", durable=True, arguments={"x-queue-type": "quorum", "x-max-length": 2}
    )
    await ours.bind("hub", routing_key="bib.changed.v1")

    for number in range(5):  # nobody listens yet, and there is room for two
        document = {**BIB_CHANGED, "data": {**BIB_CHANGED["data"], "changes": [{"feed_id": number}]}}
        await bus.publish([Message(str(number), "bib.changed.v1", "bib.changed.v1", orjson.dumps(document))])
    with pytest.raises(Enough):
        await names["listen"](channel)

    assert [changes[0]["feed_id"] for changes in shown] == [3, 4]
    await connection.close()
    await bus.close()


async def test_the_pages_statement_reads_the_feed_from_where_it_was_left(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    batch = (
        "INSERT INTO hub.change_batches (feed_first, size, run_id, reason, provider_id, timing_partner_id, race_id,"
        " written_at) VALUES ($1, $2, md5('')::uuid, 'schedule', 2, 7, '81001', now()) RETURNING batch_id"
    )
    for feed_first, size in ((4710, 3), (4713, 1), (None, 1)):  # the last one is not numbered yet
        batch_id = await connection.fetchval(batch, feed_first, size)
        await connection.execute(
            "INSERT INTO hub.changes (batch_id, ordinal, provider_id, timing_partner_id, registration_id, event_id,"
            " kind, touches_bib, fields) SELECT $1, n, 2, 7, '1', '2', 'added', false, '{}'"
            " FROM generate_series(0, $2 - 1) AS n",
            batch_id,
            size,
        )

    rows = await connection.fetch(block("sql"))

    assert [row["feed_id"] for row in rows] == [4712, 4713]
    await connection.close()
