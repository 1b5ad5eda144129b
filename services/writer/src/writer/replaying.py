"""Applying again what the database holds: the same transaction as live, under a run of its own, at the original times.

An item and its effect commit together, so a request that comes twice does nothing twice. A dry run is the real thing,
rolled back.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
import structlog

from shared.contracts import ParticipantsFetched, ParticipantsRemoved, RacesFetched, ReplayRequest, decode
from shared.contracts.messages import BatchBody
from shared.domain.replay import ItemOutcome, What
from shared.domain.run import SyncClass
from shared.errors import Later, Never
from shared.postgres import Connection
from shared.postgres.pool import Joined
from shared.providers.registry import by_name
from shared.runtime import House
from writer import archive, store
from writer import replay_items as items
from writer.absence import remove_absent
from writer.batches import apply_batch
from writer.completion import mark_missing
from writer.replay_items import Item
from writer.settings import WriterSettings

log = structlog.get_logger()

#: Batches rehearsed in one transaction: it holds the race's lock, and nobody waits a second for a dry run.
REHEARSED_TOGETHER = 10


async def on_replay_request(body: ReplayRequest, *, house: House, settings: WriterSettings) -> None:
    """Apply the items of a replay that are not finished; raises Later when this program's mapping is too old for it."""
    provider = by_name(body.provider)
    if provider.mapping_version < body.mapping_version:
        raise Later(f"mapping {body.mapping_version} of {provider.name} is for a newer writer")
    wanted = await items.load(house.database, body.replay_id, body.first, body.last)
    if wanted and wanted[0].dry_run:
        await _rehearse(wanted, house=house, settings=settings)
        return
    for item in wanted:
        try:
            async with house.database.transaction("replaying") as connection:
                inside = replace(house, database=Joined(connection))
                outcome, reason = await _apply(connection, item, house=inside, settings=settings)
                await items.finish(connection, item, outcome, reason, house.clock.now())
        except Never as error:
            log.warning(
                "An item of a replay failed.",
                action="replay_item_failed",
                replay_id=str(item.replay_id),
                item=item.ordinal,
                reason=error.reason,
            )
            async with house.database.transaction("ending an item of a replay") as connection:
                await items.finish(connection, item, ItemOutcome.FAILED, str(error), house.clock.now())


async def _apply(
    connection: Connection, item: Item, *, house: House, settings: WriterSettings
) -> tuple[ItemOutcome, str | None]:
    match item.what:
        case What.RECORDS:
            await _apply_batch(connection, item, house=house, settings=settings)
            return ItemOutcome.DONE, None
        case What.QUARANTINE:
            return await _apply_quarantined(connection, item, house=house, settings=settings)
        case What.REMOVALS:
            return await _approve(connection, item, house=house)
        case _:
            raise Never(f"{item.what} are not for a writer", reason="misplaced")


async def _apply_batch(connection: Connection, item: Item, *, house: House, settings: WriterSettings) -> None:
    assert item.source is not None
    kept = await archive.load(connection, item.source)
    if kept is None:
        raise Never("the archive does not hold this batch any more", reason="not_archived")
    if kept.type == archive.ABSENT_TYPE:
        await _remove_again(connection, item, kept, house=house)
        return
    if kept.type == archive.MISSING_TYPE:
        await mark_missing(connection, item.place, orjson.loads(kept.raw), kept.fetched_at, house.clock.now())
        return
    _, body = decode(kept.raw)
    assert isinstance(body, BatchBody)
    await _apply_body(body, item, house=house, settings=settings)


async def _apply_body(body: BatchBody, item: Item, *, house: House, settings: WriterSettings) -> None:
    """The way of every batch, under the replay's run; the archive has it already."""
    changes = {
        "run_id": item.run_id,
        "attempt": 1,
        "sequence": item.ordinal,
        "sync_class": SyncClass.BACKFILL,
    }
    await apply_batch(body.model_copy(update=changes), None, house=house, settings=settings)


async def _remove_again(connection: Connection, item: Item, kept: archive.Kept, *, house: House) -> None:
    """What a full pass did not contain, or an operator approved: those not seen since are gone again."""
    await store.lock_race(connection, item.place)
    ids = archive.absent_ids(kept.raw)
    await remove_absent(connection, item.run_id, item.place, ids, kept.fetched_at, house=house, keep=False)


async def _apply_quarantined(
    connection: Connection, item: Item, *, house: House, settings: WriterSettings
) -> tuple[ItemOutcome, str | None]:
    record = await items.quarantined(connection, item)
    if record is None:
        return ItemOutcome.SKIPPED, "it was closed meanwhile"
    common: dict[str, Any] = {
        "run_id": item.run_id,
        "attempt": 1,
        "provider": record.provider,
        "timing_partner_id": item.place.timing_partner_id,
        "sequence": item.ordinal,
        "fetched_at": record.fetched_at,
        "credential_id": record.credential_id,
        "records": [record.raw],
    }
    kinds: dict[str, type[BatchBody]] = {
        each.TYPE: each for each in (ParticipantsFetched, ParticipantsRemoved, RacesFetched)
    }
    kind = kinds[record.type]
    if kind is not RacesFetched:
        common["race_id"] = item.place.race_id
    await _apply_body(kind(**common), item, house=house, settings=settings)
    again = await items.settle_quarantined(connection, item, house.clock.now())
    return (ItemOutcome.DONE, None) if again is None else (ItemOutcome.AGAIN, again)


async def _approve(connection: Connection, item: Item, *, house: House) -> tuple[ItemOutcome, str | None]:
    """Remove whom an operator believes to be gone, but for those who were seen since."""
    await store.lock_race(connection, item.place)
    held = await items.held(connection, item)
    if held is None:
        return ItemOutcome.SKIPPED, "it was settled meanwhile"
    removed = await remove_absent(
        connection, item.run_id, item.place, held.registration_ids, held.first_call_at, house=house
    )
    await items.resolve_held(connection, item, f"approved: {len(removed)} removed", house.clock.now())
    return ItemOutcome.DONE, None


class _Undone(Exception):
    """Ends a rehearsal: the transaction that it leaves is rolled back."""


async def _rehearse(wanted: Sequence[Item], *, house: House, settings: WriterSettings) -> None:
    """Apply a race's batches and roll back, some at a time; what would have changed is counted, each person once."""
    run_id, kinds = wanted[0].run_id, dict[str, str]()
    failed: dict[int, str] = {}
    for start in range(0, len(wanted), REHEARSED_TOGETHER):
        try:
            async with house.database.transaction("rehearsing") as connection:
                inside = replace(house, database=Joined(connection))
                await store.insert_injected_run(connection, run_id, wanted[0].place, 0, house.clock.now())
                for item in wanted[start : start + REHEARSED_TOGETHER]:
                    try:
                        await _apply_batch(connection, item, house=inside, settings=settings)
                    except Never as error:
                        failed[item.ordinal] = str(error)
                for registration_id, kind in await items.would_change(connection, run_id):
                    kinds.setdefault(registration_id, kind)
                raise _Undone
        except _Undone:
            pass
    counts = {kind: sum(each == kind for each in kinds.values()) for kind in sorted(set(kinds.values()))}
    async with house.database.transaction("ending a rehearsal") as connection:
        for item in wanted:
            outcome = ItemOutcome.FAILED if item.ordinal in failed else ItemOutcome.DONE
            await items.finish(connection, item, outcome, failed.get(item.ordinal), house.clock.now())
        await items.record_counts(connection, wanted[0], counts)
