"""A replay without a broker: the scheduler's step sends, and what it put into the outbox is handled at once."""

from typing import Any
from uuid import UUID

from scheduler.replaying import step
from shared.bus.port import Death, Delivery, Message
from shared.domain.replay import What
from shared.errors import Later, Never
from shared.postgres import Database
from shared.postgres.replays import Archived, Selection, freeze_records, freeze_stuck, standing
from shared.runtime import House
from tests.builders import NOON
from tests.fakes import ManualClock
from writer.dead_letters import on_dead_letter
from writer.handlers import on_message
from writer.settings import WriterSettings

#: What the writer reads; all else in the outbox is only taken out.
WRITTEN = ("replay.request", "races.fetched", "participants.fetched", "participants.removed", "sync.fetched")


async def stuck_replay(house: House, what: What, chosen: Selection | None = None, **options: Any) -> UUID:
    """Freeze what is stuck, as the operator's command does."""
    async with house.database.transaction() as connection:
        begun = await freeze_stuck(
            connection, what, chosen or Selection(), replay_id=house.new_id(), now=house.clock.now(), **options
        )
    return begun.replay_id


async def records_replay(house: House, chosen: Archived | None = None, **options: Any) -> UUID:
    """Freeze batches of the archive."""
    async with house.database.transaction() as connection:
        begun = await freeze_records(
            connection, chosen or Archived(), replay_id=house.new_id(), now=house.clock.now(), **options
        )
    return begun.replay_id


async def deliver(house: House) -> list[str]:
    """Handle everything in the outbox, once; the types that were handled by the writer. The hopeless are buried."""
    rows = await house.database.fetch("DELETE FROM outbox RETURNING *")
    handled = []
    for row in sorted(rows, key=lambda row: row["outbox_id"]):
        if not row["type"].startswith(WRITTEN):
            continue
        message = Message(
            str(row["message_id"]), row["type"], row["routing_key"], row["body"], str(row["correlation_id"])
        )
        delivery = Delivery(message, "write.backfill", 1, NOON)
        handled.append(row["type"])
        try:
            await on_message(delivery, house=house, settings=WriterSettings())
        except Later:
            pass  # it would come again; a test that expects it looks
        except Never as error:
            death = Death(error.reason, "write.backfill", 1, NOON, house.clock.now())
            await on_dead_letter(Delivery(message, "dead", 1, NOON, death=death), house=house)
    return handled


async def drive(house: House, replay_id: UUID, *, steps: int = 100) -> dict[str, Any]:
    """Let a replay go to its end, a second a step; how it stands then."""
    assert isinstance(house.clock, ManualClock)
    for _ in range(steps):
        house.clock.pass_(1)
        await step(house)
        await deliver(house)
        found = await standing(house.database, replay_id)
        assert found is not None
        if found["finished_at"] is not None:
            return dict(found)
    raise AssertionError(f"the replay is not over after {steps} steps: {dict(found)}")


async def items(database: Database, replay_id: UUID) -> list[tuple[str | None, str | None]]:
    """Outcome and reason of each item, in order."""
    rows = await database.fetch(
        "SELECT outcome, reason FROM replay_items WHERE replay_id = $1 ORDER BY ordinal", replay_id
    )
    return [(row["outcome"], row["reason"]) for row in rows]
