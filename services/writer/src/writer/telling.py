"""Telling what changed: the feed's rows and their message, in the transaction that changed the rows."""

from datetime import datetime

from shared.bus.port import Message
from shared.bus.topology import MAX_MESSAGE_BYTES
from shared.contracts import Diff, ParticipantsChanged, encode
from shared.postgres import Connection
from shared.providers.registry import by_id
from shared.runtime import House
from writer import store

#: What a message of diffs may have: the relay still writes its feed number into it.
MOST_BYTES = MAX_MESSAGE_BYTES - 100


async def tell_changes(
    connection: Connection, run: store.RunRow, place: store.Place, diffs: list[Diff], *, house: House, now: datetime
) -> None:
    """Append diffs to the feed and put their message into the outbox; nothing when there are none.

    What is too large for one message becomes two batches with a message each, and so on. A single diff that is too
    large stands in the feed as it is; its message has no field but the bib.
    """
    if not diffs:
        return
    message = _message(run, place, diffs, house=house, now=now)
    if len(message.body) > MOST_BYTES:
        if len(diffs) > 1:
            half = len(diffs) // 2
            await tell_changes(connection, run, place, diffs[:half], house=house, now=now)
            await tell_changes(connection, run, place, diffs[half:], house=house, now=now)
            return
        message = _message(run, place, [_short(diffs[0])], house=house, now=now)
    await store.record_changes(connection, run, place, diffs, now, message)


def _message(run: store.RunRow, place: store.Place, diffs: list[Diff], *, house: House, now: datetime) -> Message:
    body = ParticipantsChanged.model_construct(
        feed_first=0,  # the relay numbers it
        run_id=run.run_id,
        reason=run.reason,
        provider=by_id(place.provider_id).name,
        timing_partner_id=place.timing_partner_id,
        race_id=place.race_id,
        diffs=diffs,
    )
    return encode(body, id=house.new_id(), occurred_at=now, source="writer", correlation_id=run.run_id)


def _short(diff: Diff) -> Diff:
    return {**diff, "fields": {"bib": diff["fields"]["bib"]} if "bib" in diff["fields"] else {}}
