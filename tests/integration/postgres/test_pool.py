"""The pool over a real server: what a connection's end looks like to whoever uses it next."""

import asyncio
import time

from shared.errors import Later
from shared.postgres import Database


async def test_a_connection_that_ended_in_the_pool_is_tried_later_at_whatever_moment_that_is_noticed(
    database_url: str,
) -> None:
    database = await Database.connect(database_url, size=1)
    other = await Database.connect(database_url, size=1)
    try:
        for turns in range(4):
            pid = await database.fetchval("SELECT pg_backend_pid()")
            await other.execute("SELECT pg_terminate_backend($1)", pid)
            time.sleep(0.1)  # noqa: ASYNC251 — the server's last word and its end wait in the socket, both unread
            for _ in range(turns):  # of the loop: nothing was read, then the last word, then the end too
                await asyncio.sleep(0)
            try:
                assert await database.fetchval("SELECT 1") == 1
            except Later:
                assert await database.fetchval("SELECT 1") == 1
    finally:
        await other.close()
        await database.close()
