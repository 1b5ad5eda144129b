"""One way to apply: live, delivered again, or replayed, the same transaction.

The race's row is locked first; then inbox, archive, quarantine, comparison, rows, feed and outbox; last, if this batch
was the missing one, the end of its run.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from zstandard import ZstdCompressor

from shared.contracts import Diff
from shared.contracts.messages import ParticipantsFetched, ParticipantsRemoved
from shared.domain.participant import Participant, Removal
from shared.errors import Never
from shared.postgres import Connection
from shared.providers.registry import by_name
from shared.runtime import House
from shared.telemetry import metrics
from writer import mapped, participants, quarantine, store
from writer.completion import ABSENT, complete_if_whole, removed_diff
from writer.merging import Outcome, differences, judge, judge_removal
from writer.settings import WriterSettings
from writer.telling import tell_changes

#: Level 1: eight times smaller at some 300 MB/s; the archive is for a fortnight.
COMPRESSION_LEVEL = 1


async def open_batch(
    connection: Connection, body: ParticipantsFetched | ParticipantsRemoved, place: store.Place, now: datetime
) -> tuple[store.RunRow, frozenset[str]]:
    """Lock the race and load the run; raises Never for a race that was never discovered."""
    events = await store.lock_race(connection, place)
    if events is None:
        raise Never(
            f"race {place.race_id} of partner {place.timing_partner_id} is not known; discover it first, then replay",
            reason="unknown_race",
        )
    run = await store.load_run(connection, body.run_id)
    if run is None:
        await store.insert_injected_run(connection, body.run_id, place, body.credential_id, now)
        run = await store.load_run(connection, body.run_id)
        assert run is not None
    return run, events


async def apply_people(
    body: ParticipantsFetched,
    raw: bytes,
    *,
    house: House,
    settings: WriterSettings,
    aside_ids: frozenset[str] = frozenset(),
) -> bool:
    """Apply a batch of participants, once; False when it was applied already. ``aside_ids`` were found unstorable."""
    provider, now = by_name(body.provider), house.clock.now()
    place = store.Place(provider.provider_id, body.timing_partner_id, body.race_id)
    batch = store.BatchId(body.run_id, body.attempt, body.sequence)
    # Before the race is locked: so one batch of a race is mapped and packed while another is in the database.
    people, packed = mapped.map_people(provider, body.records, body.race_id), _pack(raw)
    async with house.database.transaction("applying a batch") as connection:
        run, events = await open_batch(connection, body, place, now)
        found = mapped.people(body.records, people, events, aside_ids)
        if not await store.enter_inbox(
            connection, batch, type=body.TYPE, now=now, seen_ids=found.seen_ids, unreadable=found.unreadable
        ):
            metrics.batches_duplicate.inc()
            return False
        await _keep(connection, batch, body, packed, place)
        await _put_aside(connection, found.aside, body, place, provider.mapping_version, now)
        key = await _key(connection, body.credential_id)
        diffs, counts = await _write_people(connection, place, found.usable, key, body.fetched_at, now)
        await tell_changes(connection, run, place, diffs, house=house, now=now)
        await store.count(connection, body.run_id, {**counts, "quarantined": len(found.aside)})
        await complete_if_whole(connection, body.run_id, place, house=house, settings=settings, now=now)
    for outcome, number in counts.items():
        metrics.rows_written.labels(body.provider, outcome).inc(number)
    for each in found.aside:
        metrics.quarantined.labels(body.provider, each.reason).inc()
    return True


async def _write_people(
    connection: Connection, place: store.Place, people: list[Participant], key: str, fetched_at: datetime, now: datetime
) -> tuple[list[Diff], dict[str, int]]:
    known = await participants.versions(connection, place, [each.registration_id for each in people])
    counts = dict.fromkeys(("added", "updated", "unchanged", "stale", "restored"), 0)
    new: list[Participant] = []
    changed: list[Participant] = []
    restored: list[Participant] = []
    for each in people:
        decision = judge(each, fetched_at, known.get(each.registration_id))
        counts[decision.outcome] += 1
        if decision.outcome is Outcome.ADDED:
            new.append(each)
            continue
        if decision.write_fields:
            changed.append(each)
        if decision.outcome is Outcome.RESTORED:
            restored.append(each)
    diffs: list[Diff] = [_diff(each, "added", {"bib": (None, each.bib)} if each.bib else {}) for each in new]
    if changed or restored:
        ids = {each.registration_id for each in (*changed, *restored)}
        before = await participants.stored_rows(connection, place, list(ids))
        back = {each.registration_id for each in restored}
        written = {each.registration_id for each in changed}
        for each in {each.registration_id: each for each in (*changed, *restored)}.values():
            row = before[each.registration_id]
            fields = differences(row, each) if each.registration_id in written else {}
            if row["removed_at"] is not None:
                fields.pop("bib", None)  # while gone, nobody wears it
            if each.registration_id in back:
                if (bib := each.bib if each.registration_id in written else row["bib"]) is not None:
                    fields["bib"] = (None, bib)
                fields["removed_reason"] = (row["removed_reason"], None)
            diffs.append(_diff(each, "restored" if each.registration_id in back else "updated", fields))
    if new:
        await participants.insert_new(connection, place, new, key=key, fetched_at=fetched_at, now=now)
    if changed:
        await participants.update_fields(connection, place, changed, key=key, fetched_at=fetched_at, now=now)
    if restored:
        ids_back = [each.registration_id for each in restored]
        await participants.restore(connection, place, ids_back, fetched_at=fetched_at, now=now)
    return diffs, counts


def _diff(participant: Participant, kind: str, fields: dict[str, tuple[Any, Any]]) -> Diff:
    return {
        "registration_id": participant.registration_id,
        "event_id": participant.event_id,
        "kind": kind,
        "fields": fields,
    }


async def apply_removals(body: ParticipantsRemoved, raw: bytes, *, house: House, settings: WriterSettings) -> bool:
    """Apply a batch of the provider's list of removed people, once; False when it was applied already."""
    provider, now = by_name(body.provider), house.clock.now()
    place = store.Place(provider.provider_id, body.timing_partner_id, body.race_id)
    batch = store.BatchId(body.run_id, body.attempt, body.sequence)
    async with house.database.transaction("applying removals") as connection:
        run, events = await open_batch(connection, body, place, now)
        if not await store.enter_inbox(connection, batch, type=body.TYPE, now=now, seen_ids=None, unreadable=0):
            metrics.batches_duplicate.inc()
            return False
        found = mapped.removals(provider, body.records, body.race_id, events)
        await _keep(connection, batch, body, _pack(raw), place)
        await _put_aside(connection, found.aside, body, place, provider.mapping_version, now)
        known = await participants.versions(connection, place, [each.registration_id for each in found.usable])
        outcomes = {
            each.registration_id: judge_removal(each, body.fetched_at, known.get(each.registration_id))
            for each in found.usable
        }
        gone = [each for each in found.usable if outcomes[each.registration_id] is Outcome.REMOVED]
        unseen = [each for each in found.usable if outcomes[each.registration_id] is Outcome.ADDED]
        again = [each for each in found.usable if outcomes[each.registration_id] is Outcome.UNCHANGED]
        rows = await participants.stored_rows(connection, place, [each.registration_id for each in (*gone, *again)])
        # An older list may know the reason for a removal that was inferred, and nothing else better.
        again = [
            each
            for each in again
            if body.fetched_at >= known[each.registration_id].presence_at
            or rows[each.registration_id]["removed_reason"] == ABSENT
        ]
        key = await _key(connection, body.credential_id)
        await participants.insert_removed(connection, place, unseen, key=key, fetched_at=body.fetched_at, now=now)
        await participants.mark_removed(connection, place, gone + again, fetched_at=body.fetched_at, now=now)
        diffs = [removed_diff(each, rows[each.registration_id]["bib"]) for each in gone]
        diffs += [diff for each in again if (diff := _reason_diff(each, rows[each.registration_id])) is not None]
        await tell_changes(connection, run, place, diffs, house=house, now=now)
        counts = {"removed": len(gone), "quarantined": len(found.aside)}
        await store.count(connection, body.run_id, counts)
        await complete_if_whole(connection, body.run_id, place, house=house, settings=settings, now=now)
    metrics.rows_written.labels(body.provider, Outcome.REMOVED).inc(len(gone))
    return True


def _reason_diff(removal: Removal, stored: Mapping[str, Any]) -> Diff | None:
    """What the list tells anew of somebody who was gone already."""
    told = {"removed_reason": removal.reason, "new_registration_id": removal.new_registration_id}
    fields = {name: (stored[name], value) for name, value in told.items() if stored[name] != value}
    if not fields:
        return None
    return {
        "registration_id": removal.registration_id,
        "event_id": removal.event_id,
        "kind": "updated",
        "fields": fields,
    }


def _pack(raw: bytes) -> bytes:
    return ZstdCompressor(level=COMPRESSION_LEVEL).compress(raw)


async def _keep(
    connection: Connection,
    batch: store.BatchId,
    body: ParticipantsFetched | ParticipantsRemoved,
    packed: bytes,
    place: store.Place,
) -> None:
    await store.archive(
        connection,
        batch,
        type=body.TYPE,
        place=place,
        fetched_at=body.fetched_at,
        records=len(body.records),
        body=packed,
    )


async def _put_aside(
    connection: Connection,
    aside: list[quarantine.Quarantined],
    body: ParticipantsFetched | ParticipantsRemoved,
    place: store.Place,
    mapping_version: int,
    now: datetime,
) -> None:
    if aside:
        await quarantine.put_aside(
            connection,
            place,
            body.run_id,
            aside,
            type=body.TYPE,
            mapping_version=mapping_version,
            fetched_at=body.fetched_at,
            now=now,
        )


async def _key(connection: Connection, credential_id: int) -> str:
    """The fingerprint that stands in `credentials_used`; never the key."""
    found: str | None = await connection.fetchval(
        "SELECT fingerprint FROM credentials WHERE credential_id = $1", credential_id
    )
    return found or "unknown"
