"""One way to apply: live, delivered again, or replayed, the same transaction.

The race's row is locked first; then inbox, archive, quarantine, comparison, rows, feed and outbox; last, if this batch
was the missing one, the end of its run.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from shared.contracts import Diff
from shared.contracts.messages import ParticipantsFetched, ParticipantsRemoved
from shared.domain.participant import Participant, Removal
from shared.postgres import Connection
from shared.providers.registry import by_name
from shared.runtime import House
from shared.telemetry import metrics
from writer import mapped, participants, quarantine, store
from writer.absence import ABSENT, removed_diff
from writer.archive import pack
from writer.completion import complete_if_whole
from writer.merging import Outcome, Version, differences, judge, judge_removal, worth_telling
from writer.settings import WriterSettings
from writer.telling import tell_changes
from writer.wholeness import record_counts


async def apply_people(
    body: ParticipantsFetched,
    raw: bytes | None,
    *,
    house: House,
    settings: WriterSettings,
    aside_ids: frozenset[str] = frozenset(),
) -> bool:
    """Apply a batch of participants, once; False when it was applied already. ``aside_ids`` were found unstorable."""
    provider, now = by_name(body.provider), house.clock.now()
    place = store.Place(provider.provider_id, body.timing_partner_id, body.race_id)
    batch = store.BatchId(body.run_id, body.attempt, body.sequence)
    who = mapped.identities(provider, body)
    seen_ids = list(dict.fromkeys(each.registration_id for each in who if each.registration_id is not None))
    unreadable = sum(each.registration_id is None for each in who)
    packed, comparable = _packed(raw), mapped.comparable(who)
    async with house.database.transaction("applying a batch") as connection:
        # Before the race is locked: so one batch of a race is mapped while another is in the database.
        found = await participants.look(connection, place, comparable)
        people = await mapped.map_people(provider, body.records, body.race_id, who, found.familiar)
        is_nobody_known = found.are_others_new and not found.familiar and len(comparable) == len(who)
        entered = await store.enter(
            connection,
            batch,
            body,
            place,
            size=len(who),
            packed=packed,
            seen_ids=seen_ids,
            unreadable=unreadable,
            now=now,
        )
        if entered is None:
            metrics.batches_duplicate.inc()
            return False
        # The race changed since: look again. But where nobody was known, as all through a first load, COPY itself
        # finds out who was stored meanwhile: the key is taken, which raises Overtaken.
        if entered.newest_batch_id != found.newest_batch_id and not is_nobody_known:
            found = await participants.look(connection, place, comparable)
            others = {number: each for number, each in people.items() if number not in found.familiar}
            without = found.familiar.union(others)
            people = others | await mapped.map_people(provider, body.records, body.race_id, who, without)
        sort = mapped.people(body.records, people, entered.events, aside_ids)
        await _put_aside(connection, sort.aside, body, place, provider.mapping_version, now)
        are_new = found.are_others_new and len(comparable) == len(who)
        known = {} if are_new else await participants.versions(connection, place, sort.usable)
        diffs, counts = await _write_people(connection, place, sort.usable, known, entered.key, body.fetched_at, now)
        counts[Outcome.UNCHANGED] += len(found.familiar)
        await tell_changes(connection, entered.run, place, diffs, house=house, now=now)
        counted = {**counts, "quarantined": len(sort.aside)}
        row = await record_counts(connection, body.run_id, counted)
        await complete_if_whole(connection, row, place, house=house, settings=settings, now=now)
    if raw is not None:  # what is applied again is no news, and a rehearsal never was
        for outcome, number in counts.items():
            metrics.rows_written.labels(body.provider, outcome).inc(number)
        for each in sort.aside:
            metrics.quarantined.labels(body.provider, each.reason).inc()
    return True


async def _write_people(
    connection: Connection,
    place: store.Place,
    people: list[Participant],
    known: Mapping[str, Version],
    key: str,
    fetched_at: datetime,
    now: datetime,
) -> tuple[list[Diff], dict[str, int]]:
    counts: dict[str, int] = dict.fromkeys(("added", "updated", "unchanged", "stale", "restored"), 0)
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
        both = {each.registration_id: each for each in (*changed, *restored)}
        before = await participants.stored_rows(connection, place, list(both))
        changes = {each.registration_id: differences(before[each.registration_id], each) for each in changed}
        back = {each.registration_id for each in restored}
        news = {name: worth_telling(before[name], fields) for name, fields in changes.items()}
        diffs += [
            _diff_of_known(
                each, before[each.registration_id], news.get(each.registration_id), each.registration_id in back
            )
            for each in both.values()
            if news.get(each.registration_id) or each.registration_id in back
        ]
        alike = [each for each in changed if not changes[each.registration_id]]
        await participants.rehash(connection, place, alike, fetched_at=fetched_at)
        for each in alike:
            if each.registration_id not in back:
                counts[Outcome.UPDATED] -= 1
                counts[Outcome.UNCHANGED] += 1
        changed = [each for each in changed if changes[each.registration_id]]
    if new:
        await participants.insert_new(connection, place, new, key=key, fetched_at=fetched_at, now=now)
    if changed:
        await participants.update_fields(connection, place, changed, key=key, fetched_at=fetched_at, now=now)
    if restored:
        ids_back = [each.registration_id for each in restored]
        await participants.restore(connection, place, ids_back, fetched_at=fetched_at, now=now)
    return diffs, counts


def _diff_of_known(
    participant: Participant, row: Mapping[str, Any], changes: dict[str, tuple[Any, Any]] | None, is_back: bool
) -> Diff:
    """What becomes of a stored row; ``changes`` is None when its fields stay as they are."""
    fields = dict(changes or {})
    if row["removed_at"] is not None:
        fields.pop("bib", None)  # while gone, nobody wears it
    if is_back:
        if (bib := participant.bib if changes else row["bib"]) is not None:
            fields["bib"] = (None, bib)
        fields["removed_reason"] = (row["removed_reason"], None)
    return _diff(participant, "restored" if is_back else "updated", fields)


def _diff(participant: Participant, kind: str, fields: dict[str, tuple[Any, Any]]) -> Diff:
    return {
        "registration_id": participant.registration_id,
        "event_id": participant.event_id,
        "kind": kind,
        "fields": fields,
    }


async def apply_removals(
    body: ParticipantsRemoved, raw: bytes | None, *, house: House, settings: WriterSettings
) -> bool:
    """Apply a batch of the provider's list of removed people, once; False when it was applied already."""
    provider, now = by_name(body.provider), house.clock.now()
    place = store.Place(provider.provider_id, body.timing_partner_id, body.race_id)
    batch = store.BatchId(body.run_id, body.attempt, body.sequence)
    async with house.database.transaction("applying removals") as connection:
        entered = await store.enter(
            connection,
            batch,
            body,
            place,
            size=len(body.records),
            packed=_packed(raw),
            seen_ids=None,
            unreadable=0,
            now=now,
        )
        if entered is None:
            metrics.batches_duplicate.inc()
            return False
        found = mapped.removals(provider, body.records, body.race_id, entered.events)
        await _put_aside(connection, found.aside, body, place, provider.mapping_version, now)
        known = await participants.versions(connection, place, found.usable)
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
        await participants.insert_removed(
            connection, place, unseen, key=entered.key, fetched_at=body.fetched_at, now=now
        )
        await participants.mark_removed(connection, place, gone + again, fetched_at=body.fetched_at, now=now)
        diffs = [removed_diff(each, rows[each.registration_id]["bib"]) for each in gone]
        diffs += [diff for each in again if (diff := _reason_diff(each, rows[each.registration_id])) is not None]
        await tell_changes(connection, entered.run, place, diffs, house=house, now=now)
        counts = {"removed": len(gone), "quarantined": len(found.aside)}
        row = await record_counts(connection, body.run_id, counts)
        await complete_if_whole(connection, row, place, house=house, settings=settings, now=now)
    if raw is not None:
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


def _packed(raw: bytes | None) -> bytes | None:
    return None if raw is None else pack(raw)


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
