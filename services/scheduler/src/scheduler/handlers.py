"""The scheduler's loop, step by step: seal, discover, ask, promote, give up. Driven by time rather than by messages.

Its one message, the outcome of a run, only wakes it: all it needs stands in the rows.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from scheduler import open_runs, replay_store, store
from scheduler.looking import Look
from scheduler.rewinding import rewind
from scheduler.settings import SchedulerSettings
from shared.domain.cadence import Pace
from shared.domain.run import Kind, Mode, Reason, State
from shared.domain.schedule import mode_for, next_due, pace_at
from shared.postgres import Connection
from shared.postgres.asks import Ask, ask, send_request
from shared.postgres.credentials import seal_new
from shared.postgres.runs import Ending, finish_run
from shared.postgres.schedules import load_cadences
from shared.providers.registry import IDS, by_id
from shared.runtime import House
from shared.telemetry import metrics

SOURCE = "scheduler"

#: What a tick looks for when nobody looked before.
EVERYTHING = Look()

#: A run that began so long ago and has no deadline is given up too; none should exist.
NEVER_SO_LONG = timedelta(days=1)

#: A lease that ended so long ago is not being renewed just now.
LEASE_GRACE = timedelta(seconds=2)


async def tick(house: House, settings: SchedulerSettings, seen: Look = EVERYTHING) -> bool:
    """Do what was seen to be due; True when there may be more to do at once."""
    now = house.clock.now()
    if seen.keys:
        async with house.database.transaction("sealing new keys") as connection:
            await seal_new(connection, house.sealer(), now)
    if seen.keys or seen.discoveries:
        await _discover(house, settings, now)
    if seen.runs:
        await _give_up(house, deadline_before=now, begun_before=now - NEVER_SO_LONG)
        await _send_again(house, now - timedelta(seconds=settings.request_seconds))
    more = seen.races and await _ask_due(house, settings, now)
    if seen.runs:
        await _promote(house, now)
    return more


async def _discover(house: House, settings: SchedulerSettings, now: datetime) -> None:
    again = now + timedelta(seconds=settings.discovery_seconds)
    async with house.database.transaction("asking for discoveries") as connection:
        for each in await store.due_credentials(connection, now, again, list(IDS)):
            wish = Ask(
                run_id=house.new_id(),
                kind=Kind.DISCOVER,
                provider=by_id(each.provider_id).name,
                provider_id=each.provider_id,
                timing_partner_id=each.timing_partner_id,
                credential_id=each.credential_id,
                source=SOURCE,
                reason=Reason.FIRST if each.is_new else Reason.SCHEDULE,
                mode=Mode.FULL,
            )
            await ask(connection, wish, now)


async def _ask_due(house: House, settings: SchedulerSettings, now: datetime) -> bool:
    async with house.database.transaction("asking for due races") as connection:
        cadences = await load_cadences(connection, settings)
        due = await store.due_races(connection, now, store.PORTION, cadences)
        decided = []
        for race in due:
            pace = pace_at(race.state.spans, now, race.cadence)
            at = next_due(race.state, now, race.cadence)
            asked = pace is not None and at is not None and at <= now
            if asked and pace is not None:
                await _ask_for(connection, house, settings, race, pace, now)
                at = next_due(replace(race.state, last_asked_at=now), now, race.cadence)
            decided.append(store.Again(race, at, pace, asked))
        if decided:
            await store.look_again(connection, decided, now)
    return len(due) == store.PORTION


async def _ask_for(
    connection: Connection, house: House, settings: SchedulerSettings, race: store.DueRace, pace: Pace, now: datetime
) -> None:
    mode, removals = mode_for(race.state, now, race.cadence)
    provider = by_id(race.key.provider_id).name
    reason = Reason.FIRST if race.state.last_full_at is None else Reason.SCHEDULE
    wish = Ask(
        run_id=house.new_id(),
        kind=Kind.RACE,
        provider=provider,
        provider_id=race.key.provider_id,
        timing_partner_id=race.key.timing_partner_id,
        credential_id=race.credential_id,
        source=SOURCE,
        reason=reason,
        sync_class=pace.sync_class,
        mode=mode,
        removals=removals,
        race_id=race.key.race_id,
        deadline_seconds=settings.deadline(pace.sync_class, mode),
        tail=race.cadence.wanted,
    )
    await ask(connection, wish, now)
    metrics.runs_requested.labels(provider, Kind.RACE, pace.sync_class, reason).inc()


async def _promote(house: House, now: datetime) -> None:
    async with house.database.transaction("requesting queued and abandoned runs") as connection:
        ready = await open_runs.promotable(connection, now)
        for each in [*ready, *await open_runs.abandoned(connection, now - LEASE_GRACE)]:
            await send_request(connection, each.run_id, provider=by_id(each.provider_id).name, source=SOURCE, now=now)


async def forget_messages(house: House) -> None:
    """After a restart of a process that was its own bus: what was on its way is gone.

    Requests are sent again; runs that had begun are given up at once, and what they were about is due; those of a
    backfill go on behind what is written. Broker content is never the only copy of a fact, so nothing else is lost.
    """
    now = house.clock.now()
    forever = now + timedelta(days=36500)
    async with house.database.transaction("putting a backfill's runs back") as connection:
        await rewind(connection)
    while await _give_up(house, deadline_before=forever, begun_before=forever) == store.PORTION:
        pass
    while await _send_again(house, now) == store.PORTION:
        pass
    async with house.database.transaction("sending items of replays again") as connection:
        await replay_store.forget_all(connection)


async def _send_again(house: House, sent_before: datetime) -> int:
    now = house.clock.now()
    async with house.database.transaction("sending requests again") as connection:
        runs = await open_runs.unheard(connection, sent_before)
        for each in runs:
            await send_request(connection, each.run_id, provider=by_id(each.provider_id).name, source=SOURCE, now=now)
    return len(runs)


async def _give_up(house: House, *, deadline_before: datetime, begun_before: datetime) -> int:
    """End runs that took too long; each race is due again at once, and its late batches still apply rows."""
    now = house.clock.now()
    async with house.database.connection("looking for overdue runs") as connection:
        candidates = await open_runs.overdue(connection, deadline_before, begun_before)
    late = Ending(State.EXPIRED, "expired", "not complete by its deadline; its race is asked for again")
    keyless = Ending(State.FAILED, "key_deleted", "its key was deleted before it could be fetched")
    for run in candidates:
        provider = by_id(run.provider_id).name
        async with house.database.transaction("giving up an overdue run") as connection:
            if not await open_runs.still_overdue(connection, run, deadline_before, begun_before):
                continue
            ending = late if run.has_key else keyless
            await finish_run(
                connection, run.run_id, ending, provider=provider, source=SOURCE, message_id=house.new_id(), now=now
            )
            if run.has_key:
                await open_runs.make_due(connection, run, now)
        metrics.runs_finished.labels(provider, run.kind, ending.state).inc()
    return len(candidates)
