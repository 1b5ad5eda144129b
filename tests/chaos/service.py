"""`python -m tests.chaos.service writer`: a service as it is, with an executioner in it.

The storm leaves an order in a folder; the first process that comes to that moment of its own code takes the order
(unlinking it: one can) and dies by kill -9, or loses a message there. For the tests of the storm itself a guard of the
product can be switched off, in here and nowhere else.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

ORDERS = Path(os.environ.get("CHAOS_ORDERS", "."))
#: Written to for each batch that the inbox knew already: what is appended outlives kill -9.
SWALLOWED = ORDERS / "swallowed"

SERVICES = ("scheduler", "fetcher", "writer", "bib_watcher")

#: Moments of the code at which a process can be told to die, and which services come to them.
MOMENTS = {
    "before_acknowledge": SERVICES,  # what was done is committed, the broker does not know
    "in_transaction": ("writer", "bib_watcher", "scheduler"),
    "before_confirm": ("fetcher",),  # sent, and whether it arrived is not known
    "in_page": ("fetcher",),  # some of a page's batches are sent
    "before_save": ("fetcher",),  # all are confirmed, the progress is not saved
    "before_confirm_of_relay": ("any",),  # whoever holds the relay's lock
    "before_forget_of_relay": ("any",),  # published and confirmed, and still in the outbox
}

_relaying: ContextVar[bool] = ContextVar("relaying", default=False)


def taken(moment: str) -> bool:
    """Whether there was an order for this moment, and it is ours."""
    try:
        (ORDERS / moment).unlink()
    except FileNotFoundError:
        return False
    return True


def die() -> NoReturn:
    """As if the machine took the process away."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("nobody comes here")


def _is_second_attempt(messages: Sequence[Any]) -> bool:
    """Whether they are records that were fetched again after a fetcher died."""
    return bool(messages) and messages[0].type.startswith("participants.fetched") and b'"attempt":2' in messages[0].body


def place_moments(service: str) -> None:
    """Put an executioner at each moment of the service's code."""
    import aio_pika

    from shared.amqp.bus import AmqpBus
    from shared.amqp.consumer import AmqpConsumer
    from shared.bus.port import Message
    from shared.postgres import outbox
    from shared.runtime import relay

    acknowledge, publish_all = AmqpConsumer.acknowledge, AmqpBus.publish
    publish_one, relay_rows, forget = aio_pika.Exchange.publish, relay.Publisher._publish, outbox.published

    async def acknowledging(self: AmqpConsumer, incoming: Any, *, give_back: bool = False) -> None:
        if not give_back and taken(f"{service}.before_acknowledge"):
            die()
        await acknowledge(self, incoming, give_back=give_back)

    async def publishing_all(self: AmqpBus, messages: Sequence[Message]) -> None:
        if len(messages) > 1 and taken(f"{service}.in_page"):
            await publish_all(self, messages[:1])
            die()
        if any(each.type.startswith("participants.fetched") for each in messages) and taken(f"{service}.lose"):
            messages = messages[1:]  # a broker that confirms, and loses
        elif _is_second_attempt(messages) and taken(f"{service}.lose_page"):
            return
        await publish_all(self, messages)

    async def publishing_one(self: aio_pika.Exchange, *arguments: Any, **named: Any) -> Any:
        if taken("any.before_confirm_of_relay" if _relaying.get() else f"{service}.before_confirm"):
            with suppress(TimeoutError):  # it is on the wire; the confirmation may or may not be here
                await asyncio.wait_for(asyncio.shield(publish_one(self, *arguments, **named)), 0.003)
            die()
        return await publish_one(self, *arguments, **named)

    async def relaying(self: relay.Publisher, key: str, rows: Any) -> None:
        _relaying.set(True)
        await relay_rows(self, key, rows)

    async def forgetting(database: Any, outbox_ids: list[int]) -> None:
        if taken("any.before_forget_of_relay"):
            die()
        await forget(database, outbox_ids)

    AmqpConsumer.acknowledge = acknowledging  # type: ignore[method-assign]
    AmqpBus.publish = publishing_all  # type: ignore[method-assign]
    aio_pika.Exchange.publish = publishing_one  # type: ignore[method-assign]
    relay.Publisher._publish = relaying  # type: ignore[method-assign]
    relay.__dict__["published"] = forgetting
    {"fetcher": _in_fetcher, "writer": _in_writer, "scheduler": _in_scheduler, "bib_watcher": _in_bib_watcher}[
        service
    ]()


def _dying_after(module: Any, name: str, moment: str) -> None:
    """Let a function of a module be the last thing that a process does."""
    real = getattr(module, name)

    async def last(*arguments: Any, **named: Any) -> Any:
        found = await real(*arguments, **named)
        if taken(moment):
            die()
        return found

    setattr(module, name, last)


def _in_fetcher() -> None:
    from fetcher import calling, store, telling

    telling.__dict__["BATCH_RECORDS"] = 8  # a page of some people is several messages
    calling.THROTTLED = calling.STOPPED = timedelta(seconds=2)  # minutes, as everywhere in the storm
    save = store.save

    async def saving(database: Any, claimed: Any, progress: Any, leased_until: datetime) -> bool:
        if taken("fetcher.before_save") or (progress.last_id and taken("fetcher.before_save_midway")):
            die()
        return await save(database, claimed, progress, leased_until)

    store.save = saving


def _in_writer() -> None:
    from writer import store, wholeness

    def booking(real: Any) -> Any:
        async def entering(*arguments: Any, **named: Any) -> Any:
            entered = await real(*arguments, **named)
            if not entered:
                with SWALLOWED.open("a") as book:
                    book.write("1")
            return entered

        return entering

    store.enter, store.enter_inbox = booking(store.enter), booking(store.enter_inbox)
    _dying_after(wholeness, "record_counts", "writer.in_transaction")


def _in_scheduler() -> None:
    from scheduler import store

    _dying_after(store, "look_again", "scheduler.in_transaction")


def _in_bib_watcher() -> None:
    from bib_watcher import store

    _dying_after(store, "record", "bib_watcher.in_transaction")


def without_inbox() -> None:
    """Every batch is new."""
    from writer import store

    enter = store.enter

    async def always(connection: Any, batch: Any, *arguments: Any, **named: Any) -> Any:
        entered = await enter(connection, batch, *arguments, **named)
        if entered is None:
            await connection.execute(  # (the writer's role deletes nothing)
                "UPDATE applied_batches SET run_id = gen_random_uuid()"
                " WHERE (run_id, attempt, sequence) = ($1, $2, $3)",
                batch.run_id,
                batch.attempt,
                batch.sequence,
            )
            entered = await enter(connection, batch, *arguments, **named)
        return entered

    store.enter = always


def without_attempts() -> None:
    """A batch counts for a pass whichever attempt sent it."""
    from writer import wholeness

    for name in ("BATCHES_OF_RUN", "WHOLENESS"):
        sql = getattr(wholeness, name).replace("SELECT b.* FROM", "SELECT DISTINCT ON (b.sequence) b.* FROM")
        setattr(wholeness, name, sql.replace("b.attempt = (r->>0)::int AND ", ""))


def without_cursor_rule() -> None:
    """The cursor is what our own clock says, as everybody writes it first."""
    from writer import completion

    completion.__dict__["next_cursor"] = lambda **_seen: datetime.now(UTC)


def without_removal_guard() -> None:
    """Whoever a pass does not contain is gone."""
    from writer import absence

    async def believing(connection: Any, run_id: Any, place: Any, row: Any, end: Any, **named: Any) -> None:
        _, missing = await absence._lacking(connection, run_id, place, row, end.first_call_at)
        await absence.remove_absent(connection, run_id, place, missing, end.first_call_at, house=named["house"])

    absence.__dict__["remove_missing"] = believing


GUARDS = {
    "inbox": without_inbox,
    "attempts": without_attempts,
    "cursor": without_cursor_rule,
    "removals": without_removal_guard,
}


def main() -> int:
    """Run one service until it is told to stop, or to die."""
    service = sys.argv[1]
    skew, real = float(os.environ.get("CHAOS_SKEW", "0")), time.time
    time.time = lambda: real() + skew  # this machine's clock is wrong
    place_moments(service)
    if (guard := os.environ.get("CHAOS_WITHOUT")) and service == "writer":
        GUARDS[guard]()
    from shared.runtime.service import main as run

    return run(service.replace("_", "-"))


if __name__ == "__main__":
    sys.exit(main())
