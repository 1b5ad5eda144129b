"""Replays: each frozen selection is sent item by item, at its rate, the first one alone; `domain/replay.py` decides.

What the writer applies, the writer finishes. A message or a former run is finished here, by what it was to bring about.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from scheduler import replay_store as store
from shared.bus.port import Message
from shared.clock import wait
from shared.contracts import ReplayRequest, SyncRequest, decode, encode
from shared.contracts.messages import BatchBody
from shared.domain.replay import ItemOutcome, ReplayState, What, allowance, next_state, paced
from shared.domain.run import Kind, Mode, Reason, State, SyncClass
from shared.errors import Later, Never
from shared.postgres import Connection
from shared.postgres.asks import Ask, ask
from shared.postgres.outbox import tell
from shared.postgres.replays import freeze_older_mapping
from shared.postgres.runs import Ending, finish_run
from shared.providers.registry import IDS, PROVIDERS, by_id, by_name
from shared.runtime import House

log = structlog.get_logger()

SOURCE = "scheduler"

#: An item that is not finished after this is sent again: its message may be lost.
LOST_AFTER = timedelta(minutes=10)
#: How often is looked whether a newer mapping has come.
MAPPING_EVERY = timedelta(seconds=30)
IDLE_SECONDS, BUSY_SECONDS = 5.0, 0.25


async def replaying(house: House) -> None:
    """Go on with every open replay until cancelled; a database that is away is waited out."""
    bell = house.bells.bell("replay")
    looked = house.clock.now() - MAPPING_EVERY
    while True:
        house.beat("replaying")
        try:
            if house.clock.now() - looked >= MAPPING_EVERY:
                looked = house.clock.now()
                await replay_older_mappings(house)
            busy = await step(house)
            await wait(house.clock, bell, BUSY_SECONDS if busy else IDLE_SECONDS)
        except Later as error:
            log.warning("Replays wait.", action="replays_wait", error=str(error))
            await house.clock.sleep(1.0)


async def replay_older_mappings(house: House) -> None:
    """What an older mapping put into quarantine is tried again, once a version."""
    for provider in PROVIDERS.values():
        async with house.database.transaction("replaying after a mapping change") as connection:
            begun = await freeze_older_mapping(
                connection,
                provider.provider_id,
                provider.mapping_version,
                replay_id=house.new_id(),
                now=house.clock.now(),
            )
        if begun.items:
            log.info(
                "The mapping changed: the quarantine is tried again.",
                action="quarantine_replayed",
                replay_id=str(begun.replay_id),
                items=begun.items,
            )


async def step(house: House) -> bool:
    """One look at every open replay; True when one is not over."""
    async with house.database.connection("looking for replays") as connection:
        replay_ids = await store.open_replays(connection)
    for replay_id in replay_ids:
        async with house.database.transaction("replaying") as connection:
            replay = await store.lock(connection, replay_id)
            if replay is not None:
                await _go_on(connection, replay, house)
    await _end_runs(house)
    return bool(replay_ids)


async def _go_on(connection: Connection, replay: store.Replay, house: House) -> None:
    now = house.clock.now()
    if replay.what in {What.DEAD_LETTERS, What.RUNS}:
        await store.finish_proven(connection, replay.replay_id, now)
    await store.forget_lost(connection, replay.replay_id, now - LOST_AFTER)
    tally = await store.tally(connection, replay.replay_id)
    state = next_state(replay.state, tally.finished, tally.unfinished)
    if state.is_final and state is not ReplayState.DONE:
        await store.skip_unsent(connection, replay.replay_id, now)
    sent = 0
    if not state.is_final:
        allowed = allowance(state, rate=replay.rate, paced_at=replay.paced_at, underway=tally.underway, now=now)
        for item in await store.sendable(connection, replay, allowed) if allowed else ():
            await _send(connection, replay, item, house)
            sent += 1
    over = state.is_final and not (tally.underway if state is not ReplayState.DONE else 0)
    paced_at = paced(sent, rate=replay.rate, paced_at=replay.paced_at, now=now) if sent else replay.paced_at
    await store.save(connection, replay.replay_id, state, paced_at=paced_at, finished_at=now if over else None)
    if over:
        log.info("A replay is over.", action="replay_over", replay_id=str(replay.replay_id), outcome=state.value)


async def _end_runs(house: House) -> None:
    async with house.database.transaction("ending runs of replays") as connection:
        for run in await store.finished_runs(connection, list(IDS)):
            ending = Ending(State.COMPLETED)
            if run.failed:
                ending = Ending(State.FAILED, "replay", f"{run.failed} of {run.items} items could not be applied again")
            elif run.skipped == run.items:
                ending = Ending(State.FAILED, "replay", "its replay ended before it, or there was nothing left to do")
            await finish_run(
                connection,
                run.run_id,
                ending,
                provider=by_id(run.provider_id).name,
                source=SOURCE,
                message_id=house.new_id(),
                now=house.clock.now(),
            )


async def _send(connection: Connection, replay: store.Replay, item: store.Item, house: House) -> None:
    """Send an item, or finish it as failed when it cannot be sent at all."""
    try:
        match replay.what:
            case What.RUNS:
                sent = store.Sent(run_id=await _ask_again(connection, item, house))
            case What.DEAD_LETTERS:
                sent = await _send_letter(connection, item, house)
            case _:
                sent = await _request(connection, replay, item, house)
    except Never as error:
        await store.finish(connection, replay.replay_id, item, ItemOutcome.FAILED, str(error), house.clock.now())
    else:
        await store.mark_sent(connection, replay.replay_id, item, sent, house.clock.now())


async def _request(connection: Connection, replay: store.Replay, item: store.Item, house: House) -> store.Sent:
    assert item.provider_id is not None
    assert item.timing_partner_id is not None
    body = ReplayRequest(
        replay_id=replay.replay_id,
        first=item.first,
        last=item.last,
        provider=by_id(item.provider_id).name,
        timing_partner_id=item.timing_partner_id,
        race_id=item.race_id,
        mapping_version=replay.mapping_version or 1,
    )
    now, message_id = house.clock.now(), house.new_id()
    message = encode(body, id=message_id, occurred_at=now, source=SOURCE, correlation_id=replay.replay_id)
    await tell(connection, message, now=now)
    return store.Sent(message_id=message_id)


async def _send_letter(connection: Connection, item: store.Item, house: House) -> store.Sent:
    """A dead letter as it was, under an id of its own; a request is asked anew, since its run has long ended."""
    letter = await store.letter(connection, item)
    if letter is None:
        raise Never("somebody dropped it meanwhile", reason="dropped")
    _, body = decode(letter.body)
    if isinstance(body, SyncRequest):
        return store.Sent(run_id=await _ask_for(connection, _wish(body, house), house.clock.now()))
    message_id = house.new_id()
    message = Message(str(message_id), body.TYPE, body.routing_key(), letter.body, letter.correlation_id)
    await tell(connection, message, now=house.clock.now())
    if isinstance(body, BatchBody):
        return store.Sent(message_id, body.run_id, body.attempt, body.sequence)
    return store.Sent(message_id, getattr(body, "run_id", None))


async def _ask_again(connection: Connection, item: store.Item, house: House) -> UUID:
    assert item.source_run_id is not None
    row: Any = await store.former_run(connection, item.source_run_id)
    if row is None:
        raise Never("the run is not known any more", reason="unknown_run")
    wish = Ask(
        run_id=house.new_id(),
        kind=Kind(row["kind"]),
        provider=by_id(row["provider_id"]).name,
        provider_id=row["provider_id"],
        timing_partner_id=row["timing_partner_id"],
        credential_id=row["credential_id"],
        source=SOURCE,
        reason=Reason.OPERATOR,
        sync_class=SyncClass.BACKFILL,
        mode=Mode(row["mode"]),
        removals=row["removals"] or row["kind"] == Kind.RACE,
        race_id=row["race_id"],
        event_ids=tuple(row["event_ids"]),
        needs_fresh=True,
    )
    return await _ask_for(connection, wish, house.clock.now())


def _wish(body: SyncRequest, house: House) -> Ask:
    return Ask(
        run_id=house.new_id(),
        kind=body.kind,
        provider=body.provider,
        provider_id=by_name(body.provider).provider_id,
        timing_partner_id=body.timing_partner_id,
        credential_id=body.credential_id,
        source=SOURCE,
        reason=Reason.OPERATOR,
        sync_class=body.sync_class,
        mode=body.mode,
        removals=body.removals,
        race_id=body.race_id,
        event_ids=body.event_ids,
        bib=body.bib,
        deadline_seconds=body.deadline_seconds,
        needs_fresh=True,
    )


async def _ask_for(connection: Connection, wish: Ask, now: datetime) -> UUID:
    if not await store.owns(connection, wish.credential_id, wish.timing_partner_id):
        raise Never(f"credential {wish.credential_id} is not one of partner {wish.timing_partner_id}")
    run_id = await ask(connection, wish, now)
    if run_id is None:
        raise Never(f"race {wish.race_id} has no event to come, so nothing is asked for", reason="over")
    return run_id
