"""One handler a message: batches are applied once, ends of runs complete what is whole."""

from shared.bus.port import Delivery
from shared.contracts import ReplayRequest, SyncFetched, decode
from shared.contracts.messages import BatchBody
from shared.domain.run import Reason, State
from shared.errors import Never
from shared.postgres import Connection
from shared.postgres.runs import Ending, finish_run
from shared.providers.registry import by_name
from shared.runtime import House
from shared.telemetry import metrics
from writer import store
from writer.batches import apply_batch
from writer.completion import SOURCE, complete_if_whole
from writer.discovering import lock_credential
from writer.replaying import on_replay_request
from writer.settings import WriterSettings
from writer.wholeness import record_end


async def on_message(delivery: Delivery, *, house: House, settings: WriterSettings) -> None:
    """Apply whatever the fetcher told; acknowledged after the commit, safe to repeat."""
    _, body = decode(delivery.message.body)
    match body:
        case BatchBody():
            await apply_batch(body, delivery.message.body, house=house, settings=settings)
        case SyncFetched():
            await on_sync_fetched(body, house=house, settings=settings)
        case ReplayRequest():
            await on_replay_request(body, house=house, settings=settings)
        case _:
            raise Never(f"a {body.TYPE} does not belong into a queue of the writer", reason="misplaced")


async def on_sync_fetched(body: SyncFetched, *, house: House, settings: WriterSettings) -> None:
    """Take note of a run's end; complete it if all its batches are applied, or end it as failed."""
    provider, now = by_name(body.provider), house.clock.now()
    async with house.database.transaction("ending a run") as connection:
        subject = await connection.fetchrow(
            "SELECT timing_partner_id, race_id, credential_id, kind, reason, attempt FROM sync_runs WHERE run_id = $1",
            body.run_id,
        )
        if subject is None:
            raise Never(f"run {body.run_id} does not exist", reason="unknown_run")
        place = store.Place(provider.provider_id, subject["timing_partner_id"], subject["race_id"] or "")
        # What is refused of a race's past says nothing of its present.
        refuses = body.failure is not None and body.failure.consequence == "race"
        refuses = refuses and subject["reason"] != Reason.BACKFILL
        if place.race_id:
            await store.lock_race(connection, place)
        else:
            await lock_credential(connection, subject["credential_id"])
        if body.failure is not None:
            if body.attempt < subject["attempt"]:
                return  # another attempt has taken over since
            await _fail(connection, body, place, kind=subject["kind"], refuses=refuses, house=house)
        else:
            row = await record_end(connection, body)
            await complete_if_whole(connection, row, place, house=house, settings=settings, now=now)
    if refuses:
        await look_soon(house, subject["credential_id"])


async def _fail(
    connection: Connection, body: SyncFetched, place: store.Place, *, kind: str, refuses: bool, house: House
) -> None:
    assert body.failure is not None
    now = house.clock.now()
    ending = Ending(State.FAILED, body.failure.code, body.failure.message)
    ended = await finish_run(
        connection,
        body.run_id,
        ending,
        provider=body.provider,
        source=SOURCE,
        message_id=house.new_id(),
        now=now,
    )
    if not ended:
        return
    metrics.runs_finished.labels(body.provider, kind, State.FAILED).inc()
    if refuses and place.race_id:
        # Until something changes: a discovery that finds the race changed makes it active again.
        await connection.execute(
            "UPDATE race_sync SET state = 'refused', state_reason = $4, failures = failures + 1"
            " WHERE provider_id = $1 AND timing_partner_id = $2 AND race_id = $3",
            place.provider_id,
            place.timing_partner_id,
            place.race_id,
            body.failure.code,
        )


async def look_soon(house: House, credential_id: int) -> None:
    """A refused race may be one that changed: look at the list soon. In a transaction of its own, since discovery locks
    the key first and its races after it."""
    await house.database.execute(
        "UPDATE credentials SET discover_due_at = least(discover_due_at, $2::timestamptz + interval '1 minute')"
        " WHERE credential_id = $1",
        credential_id,
        house.clock.now(),
    )
