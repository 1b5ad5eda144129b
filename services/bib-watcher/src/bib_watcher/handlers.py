"""Reading the change feed from where it was left, and acting on it.

A message of diffs is a wake-up: what is acted on is the feed itself, in its order, from the saved position. So a lost
message, a lost broker or a second watcher changes nothing, and nothing is told twice.
"""

from bib_watcher import store
from bib_watcher.changes import BibDiff, BibEvent, follow_up, interpret
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
    """Act on the next part of the feed, in one transaction; True when there may be more."""
    async with house.database.transaction("watching bibs") as connection:
        position = await store.lock_position(connection)
        portion = await store.read_feed(connection, position, settings.sweep_diffs)
        if portion is None:
            return False
        groups: dict[store.Group, list[BibDiff]] = {}
        for group, diff in portion.diffs:  # a run's batches together, so that a swap across two of them is seen as one
            groups.setdefault(group, []).append(diff)
        wishes = [
            await _act(connection, group, diffs, house=house, settings=settings) for group, diffs in groups.items()
        ]
        # Asking locks races: in the order in which everyone does who locks several.
        for wish in sorted((each for each in wishes if each is not None), key=lambda each: each.subject):
            if await ask(connection, wish, house.clock.now()) is not None:
                metrics.follow_ups.labels(wish.provider).inc()
        await store.move_position(connection, portion.last_feed_id)
    return True


async def _act(
    connection: Connection, group: store.Group, diffs: list[BibDiff], *, house: House, settings: BibWatcherSettings
) -> Ask | None:
    """Record and tell what a group of diffs means; the follow-up it asks for, if any."""
    now = house.clock.now()
    bibs = await store.race_bibs(connection, group, diffs)
    events = interpret(diffs, bibs.wearers, bibs.bundles, bibs.users)
    fresh = await store.record(connection, group, events, bibs, now)
    if not fresh:
        return None
    provider = by_id(group.provider_id)
    body = BibChanged(
        run_id=group.run_id,
        reason=group.reason,
        provider=provider.name,
        timing_partner_id=group.timing_partner_id,
        race_id=group.race_id,
        changes=[_told(each) for each in fresh],
    )
    message = encode(body, id=house.new_id(), occurred_at=now, source=SOURCE, correlation_id=group.run_id)
    await tell(connection, message, now=now)
    for each in fresh:
        metrics.bib_events.labels(provider.name, each.kind).inc()
        modified = bibs.modified.get(each.diff.registration_id)
        if modified is not None and group.reason not in {Reason.FIRST, Reason.BACKFILL}:
            metrics.bib_latency_seconds.labels(provider.name).observe(max(0.0, (now - modified).total_seconds()))
    wanted = follow_up(group.reason, fresh) if settings.follow_up else None
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
        deadline_seconds=600,
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
