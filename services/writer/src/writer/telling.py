"""Telling what changed: the feed's rows and their message, in the transaction that changed the rows."""

from datetime import datetime

from shared.contracts import Diff, ParticipantsChanged, encode
from shared.postgres import Connection
from shared.postgres.outbox import tell
from shared.providers.registry import by_id
from shared.runtime import House
from writer import store


async def tell_changes(
    connection: Connection, run: store.RunRow, place: store.Place, diffs: list[Diff], *, house: House, now: datetime
) -> None:
    """Append diffs to the feed and put their message into the outbox; nothing when there are none."""
    if not diffs:
        return
    batch_id = await store.record_changes(connection, run, place, diffs, now)
    body = ParticipantsChanged.model_construct(
        feed_first=0,  # the relay numbers it
        run_id=run.run_id,
        reason=run.reason,
        provider=by_id(place.provider_id).name,
        timing_partner_id=place.timing_partner_id,
        race_id=place.race_id,
        diffs=diffs,
    )
    message = encode(body, id=house.new_id(), occurred_at=now, source="writer", correlation_id=run.run_id)
    await tell(connection, message, now=now, batch_id=batch_id)
