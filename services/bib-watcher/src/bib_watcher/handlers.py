"""Reading what is new in the change feed, and acting on it.

A message of diffs is a wake-up: what is acted on is the feed itself, a race's batches in its order, each marked when
it was acted on. So a lost message, a lost broker or a second watcher changes nothing, and nothing is told twice.
"""

from collections import Counter
from datetime import timedelta

from bib_watcher import store
from bib_watcher.changes import BibDiff, BibEvent, BibKind, follow_up, interpret
from bib_watcher.readiness import MOST_BATCHES, ready
from bib_watcher.settings import BibWatcherSettings
from shared.contracts import BibChange, BibChanged, encode
from shared.domain.run import Kind, Mode, Reason, SyncClass
from shared.postgres import Connection
from shared.postgres.asks import Ask, ask
from shared.postgres.outbox import tell
from shared.providers.registry import by_id
from shared.runtime import House
from shared.telemetry import metrics

SOURCE = "bib-watcher"


async def sweep(house: House, settings: BibWatcherSettings) -> bool:
    """Act on what is ready in the feed, race by race; True when there may be more."""
    settled_at = house.clock.now() - timedelta(seconds=settings.settle_seconds)
    async with house.database.connection("looking for new diffs") as connection:
        batches = await store.unwatched(connection, settled_at)
    acted = cut = False
    for batch_ids in ready(batches).values():
        house.beat(SOURCE)
        taken = await _act_on_race(house, settings, batch_ids[:MOST_BATCHES])
        acted |= taken > 0
        cut |= 0 < taken < len(batch_ids)
    return cut or (acted and len(batches) == store.MOST_UNWATCHED)


async def _act_on_race(house: House, settings: BibWatcherSettings, batch_ids: list[int]) -> int:
    """Act on a race's next batches, in one transaction; on how many of them."""
    async with house.database.transaction("watching bibs") as connection:
        taken = await store.take(connection, batch_ids, settings.sweep_diffs)
        if not taken:
            return 0
        for group, diffs in (await store.read_diffs(connection, taken)).items():
            wish = await _act(connection, group, diffs, house=house, settings=settings)
            if wish is not None and await ask(connection, wish, house.clock.now()) is not None:
                metrics.follow_ups.labels(wish.provider).inc()
        await store.mark_watched(connection, taken, house.clock.now())
    return len(taken)


async def _act(
    connection: Connection, group: store.Group, diffs: list[BibDiff], *, house: House, settings: BibWatcherSettings
) -> Ask | None:
    """Record and tell what a group of diffs means; the follow-up it asks for, if any."""
    now = house.clock.now()
    window = timedelta(hours=settings.raceday_hours), timedelta(hours=settings.after_start_hours)
    bibs = await store.race_bibs(connection, group, diffs, now, window)
    events = interpret(diffs, bibs.wearers, bibs.bundles, bibs.starting, bibs.ranges)
    message_id = house.new_id()
    fresh = await store.record(connection, group, [_told(each) for each in events], now, message_id)
    if not fresh:
        return None
    provider = by_id(group.provider_id)
    body = BibChanged(
        run_id=group.run_id,
        reason=group.reason,
        provider=provider.name,
        timing_partner_id=group.timing_partner_id,
        race_id=group.race_id,
        changes=[each for each, _ in fresh],
    )
    message = encode(body, id=message_id, occurred_at=now, source=SOURCE, correlation_id=group.run_id)
    await tell(connection, message, now=now)
    kinds = Counter(BibKind(each["kind"]) for each, _ in fresh)
    for kind, number in kinds.items():
        metrics.bib_events.labels(provider.name, kind).inc(number)
    if group.reason not in {Reason.FIRST, Reason.BACKFILL, Reason.INJECTED}:
        for _, modified_at in fresh:
            if modified_at is not None:
                metrics.bib_latency_seconds.labels(provider.name).observe(max(0.0, (now - modified_at).total_seconds()))
    wanted = follow_up(group.reason, kinds.keys()) if settings.follow_up else None
    if wanted is None or bibs.credential_id is None:
        return None
    return Ask(
        run_id=house.new_id(),
        kind=Kind.RACE,
        provider=provider.name,
        provider_id=group.provider_id,
        timing_partner_id=group.timing_partner_id,
        credential_id=bibs.credential_id,
        source=SOURCE,
        reason=Reason.FOLLOW_UP,
        sync_class=SyncClass.NEAR,
        mode=Mode.INCREMENTAL,
        removals=wanted.removals,
        race_id=group.race_id,
        deadline_seconds=settings.deadline(SyncClass.RACEDAY, Mode.INCREMENTAL),  # it matters now
        needs_fresh=True,
    )


def _told(event: BibEvent) -> BibChange:
    return {
        "kind": event.kind,
        "registration_id": event.diff.registration_id,
        "event_id": event.diff.event_id,
        "before": event.diff.before,
        "after": event.diff.after,
        "other_registration_id": event.other_registration_id,
        "feed_id": event.diff.feed_id,
    }
