"""The rows of a story: runs, diffs, bib events and what is stuck, as steps in the order in which they happened."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from shared.ops.selecting import Race
from shared.ops.show import many
from shared.postgres import Database


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened; ids, counts and names of fields only."""

    at: datetime
    verb: str  # asked, fetched, written, failed, changed, published, waiting, bib, quarantine, held, missed
    what: str
    details: tuple[str, ...] = ()
    run_id: Any = None
    message_id: Any = None
    feed_id: int | None = None

    def describe(self) -> dict[str, object]:
        """As JSON."""
        return {
            "at": self.at,
            "verb": self.verb,
            "what": self.what,
            "details": list(self.details),
            "run_id": self.run_id,
            "message_id": self.message_id,
            "feed_id": self.feed_id,
        }


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose story it is."""

    provider_id: int
    partner_id: int
    race_id: str
    registration_id: str | None
    event_id: str | None
    title: str
    facts: tuple[str, ...]

    def describe(self) -> dict[str, object]:
        """As JSON."""
        return {
            "partner_id": self.partner_id,
            "race_id": self.race_id,
            "registration_id": self.registration_id,
            "title": self.title,
            "facts": list(self.facts),
        }


async def registrations(
    database: Database, partner_ids: Sequence[int], registration: str | None, race: str | None, bib: str | None
) -> list[Subject]:
    """The registration at each partner that has it; or who wears a bib now, then who wore it before."""
    rows = await database.fetch(
        """
        SELECT p.*, 'wore' AS how FROM participants p WHERE $4::text IS NULL AND timing_partner_id = ANY($1)
            AND registration_id = $2
        UNION ALL
        SELECT p.*, CASE WHEN p.bib = $4 AND p.removed_at IS NULL THEN 'wears' ELSE 'wore' END FROM participants p
        WHERE timing_partner_id = ANY($1) AND race_id = $3 AND (p.bib = $4 OR EXISTS (SELECT 1 FROM bib_history b
            WHERE (b.provider_id, b.timing_partner_id, b.registration_id)
                = (p.provider_id, p.timing_partner_id, p.registration_id) AND $4 IN (b.before, b.after)))
        ORDER BY how, changed_at DESC
        """,
        list(partner_ids),
        registration,
        race,
        bib,
    )
    return [_runner(row) for row in rows]


def _runner(row: Any) -> Subject:
    state = "active" if row["removed_at"] is None else f"removed ({row['removed_reason']})"
    return Subject(
        row["provider_id"],
        row["timing_partner_id"],
        row["race_id"],
        row["registration_id"],
        row["event_id"],
        f"Registration {row['registration_id']} of partner {row['timing_partner_id']}: race {row['race_id']}, "
        f"event {row['event_id']}, {'bib ' + row['bib'] if row['bib'] else 'no bib'}, {state}",
        (
            f"first seen {row['first_seen_at']:%Y-%m-%d %H:%M:%SZ}, changed {row['changed_at']:%Y-%m-%d %H:%M:%SZ}",
            f"fields as of the call at {row['fetched_at']:%Y-%m-%d %H:%M:%SZ}, made with key {row['credentials_used']}",
            *((f"notes: {row['notes']}",) if row["notes"] else ()),
        ),
    )


async def subject_of_race(database: Database, race: Race) -> Subject:
    """How a race stands in the schedule."""
    row = await database.fetchrow(
        """
        SELECT s.*, c.fingerprint, (SELECT count(*) FROM participants p WHERE p.timing_partner_id = s.timing_partner_id
            AND p.race_id = s.race_id AND p.removed_at IS NULL) AS people
        FROM race_sync s JOIN credentials c USING (credential_id)
        WHERE provider_id = $1 AND timing_partner_id = $2 AND race_id = $3
        """,
        race.provider_id,
        race.partner_id,
        race.race_id,
    )
    assert row is not None
    why = f" ({row['state_reason']})" if row["state_reason"] else ""
    confirmed = f"{row['last_confirmed_at']:%Y-%m-%d %H:%M:%SZ}" if row["last_confirmed_at"] else "never"
    return Subject(
        race.provider_id,
        race.partner_id,
        race.race_id,
        None,
        None,
        f"Race {race.race_id} of partner {race.partner_id}: {row['state']}{why}, {row['people']:,} people, "
        f"{many(race.future_events, 'event')} of interest",
        (
            f"known as of {confirmed}, looked at next {row['next_due_at']:%Y-%m-%d %H:%M:%SZ}",
            f"asked for with key {row['fingerprint']} (credential {row['credential_id']})",
        ),
    )


async def race_story(database: Database, race: Race, limit: int) -> list[Step]:
    """The newest runs of a race and what is stuck of it, oldest first."""
    runs = await database.fetch(
        "SELECT * FROM sync_runs WHERE provider_id = $1 AND timing_partner_id = $2 AND race_id = $3"
        " ORDER BY requested_at DESC LIMIT $4",
        race.provider_id,
        race.partner_id,
        race.race_id,
        limit,
    )
    batches = await database.fetch(
        """
        SELECT b.*, (SELECT count(*) FROM changes c WHERE c.batch_id = b.batch_id) AS diffs,
            EXISTS (SELECT 1 FROM outbox o WHERE o.message_id = b.message_id) AS waits
        FROM change_batches b WHERE run_id = ANY($1) ORDER BY batch_id
        """,
        [row["run_id"] for row in runs],
    )
    steps = [step for row in runs for step in _run_steps(row)]
    for row in batches:
        steps += [_published(row, many(row["diffs"], "change"))]
    return _in_order([*steps, *await _stuck(database, race.partner_id, race.race_id, None)])


async def runner_story(database: Database, subject: Subject, limit: int) -> list[Step]:
    """A registration's changes with the runs that brought them, its bib events, what is stuck, oldest first."""
    whose = (subject.provider_id, subject.partner_id, subject.registration_id)
    changes = await database.fetch(
        """
        SELECT b.feed_first + c.ordinal AS feed_id, c.kind, c.fields, b.run_id, b.written_at, b.message_id,
            b.feed_first,
            EXISTS (SELECT 1 FROM outbox o WHERE o.message_id = b.message_id) AS waits
        FROM changes c JOIN change_batches b USING (batch_id)
        WHERE (c.provider_id, c.timing_partner_id, c.registration_id) = ($1, $2, $3) ORDER BY b.batch_id DESC LIMIT $4
        """,
        *whose,
        limit,
    )
    bibs = await database.fetch(
        """
        SELECT *, EXISTS (SELECT 1 FROM outbox o WHERE o.message_id = b.message_id) AS waits FROM bib_history b
        WHERE (provider_id, timing_partner_id, registration_id) = ($1, $2, $3) ORDER BY bib_event_id DESC LIMIT $4
        """,
        *whose,
        limit,
    )
    runs = await database.fetch(
        """
        SELECT * FROM sync_runs WHERE run_id = ANY($1)
        UNION SELECT * FROM (SELECT * FROM sync_runs WHERE provider_id = $2 AND timing_partner_id = $3 AND race_id = $4
            AND kind = 'race' AND $5 = ANY(event_ids) ORDER BY requested_at DESC LIMIT 1) AS newest
        """,
        list({row["run_id"] for row in changes}),
        subject.provider_id,
        subject.partner_id,
        subject.race_id,
        subject.event_id,
    )
    steps = [step for row in runs for step in _run_steps(row)]
    for row in changes:
        fields = ", ".join(orjson.loads(row["fields"])) or "as a whole"
        feed = f"feed {row['feed_id']}" if row["feed_id"] is not None else "not numbered yet"
        steps += [
            Step(row["written_at"], "changed", f"{row['kind']}: {fields} ({feed})", (f"run {row['run_id']}",),
                 row["run_id"], None, row["feed_id"]),
            _published(row, "participants.changed.v1"),
        ]  # fmt: skip
    for row in bibs:
        what = f"{row['kind']}: {row['before'] or 'none'} → {row['after'] or 'none'} (feed {row['feed_id']})"
        steps.append(
            Step(row["detected_at"], "bib", what, _message("bib.changed.v1", row), row["run_id"], row["message_id"],
                 row["feed_id"])
        )  # fmt: skip
    return _in_order([*steps, *await _stuck(database, subject.partner_id, subject.race_id, subject.registration_id)])


def _run_steps(row: Any) -> list[Step]:
    """A run as it went: asked, fetched, and written or not."""
    run = row["run_id"]
    asked = f"{row['kind']} {row['mode']}, {row['reason']}, class {row['sync_class']}"
    steps = [Step(row["requested_at"], "asked", asked, (f"run and sync.request.v1 {run}",), run, run)]
    if row["started_at"] is not None:
        counted = (many(row["calls"], "call"), many(row["pages"], "page"), many(row["fetched"], "record"))
        went = f"{', '.join(counted)}, attempt {row['attempt']}"
        steps.append(Step(row["started_at"], "fetched", went, (f"run {run}",), run))
    if row["finished_at"] is not None and row["state"] == "completed":
        names = ("added", "updated", "unchanged", "stale", "removed", "restored", "quarantined")
        counts = ", ".join(f"{row[name]:,} {name}" for name in names if row[name]) or "nothing to write"
        steps.append(Step(row["finished_at"], "written", counts, (f"run {run}",), run))
    elif row["finished_at"] is not None:
        took_over = f" by {row['replaced_by']}" if row["replaced_by"] else ""
        why = row["error"] or row["error_code"]
        what = f"{row['state']}{took_over}" + (f": {why}" if why else "")
        steps.append(Step(row["finished_at"], "ended", what, (f"run {run}",), run))
    elif row["not_before"] is not None:
        waits = f"until {row['not_before']:%Y-%m-%d %H:%M:%SZ} ({row['error_code'] or 'put off'})"
        steps.append(Step(row["requested_at"], "waits", waits, (f"run {run}",), run))
    return steps


def _published(row: Any, what: str) -> Step:
    sent = row["feed_first"] is not None and not row["waits"]
    return Step(
        row["written_at"],
        "published" if sent else "waits",
        what if sent else f"{what}, in the outbox",
        _message("participants.changed.v1", row),
        row["run_id"],
        row["message_id"],
        row["feed_first"],
    )


def _message(kind: str, row: Any) -> tuple[str, ...]:
    return (f"{kind} {row['message_id']}",) if row["message_id"] is not None else ()


async def _stuck(database: Database, partner_id: int, race_id: str, registration_id: str | None) -> list[Step]:
    """Quarantined rows and held removals that concern it, resolved or not."""
    aside = await database.fetch(
        "SELECT * FROM quarantine WHERE timing_partner_id = $1 AND race_id = $2"
        " AND ($3::text IS NULL OR registration_id = $3) ORDER BY item_id DESC LIMIT 5",
        partner_id,
        race_id,
        registration_id,
    )
    held = await database.fetch(
        "SELECT * FROM held_removals WHERE timing_partner_id = $1 AND race_id = $2"
        " AND ($3::text IS NULL OR $3 = ANY(registration_ids)) ORDER BY item_id DESC LIMIT 5",
        partner_id,
        race_id,
        registration_id,
    )
    missed = await database.fetch(
        "SELECT * FROM missed WHERE timing_partner_id = $1 AND race_id = $2"
        " AND ($3::text IS NULL OR $3 = ANY(registration_ids))",
        partner_id,
        race_id,
        registration_id,
    )
    return [
        Step(row["first_seen_at"], "quarantine", f"item {row['item_id']}: {row['reason']}, {_open(row)}",
             (f"run {row['run_id']}",), row["run_id"])
        for row in aside
    ] + [
        Step(row["held_at"], "held", f"removal item {row['item_id']}: {len(row['registration_ids'])} of {row['active']}"
             f" missing, {_open(row)}", (f"run {row['run_id']}",), row["run_id"])
        for row in held
    ] + [
        Step(row["first_call_at"], "missed", f"a full pass lacked {len(row['registration_ids'])}: gone when the next"
             " one does too", (f"run {row['run_id']}",), row["run_id"])
        for row in missed
    ]  # fmt: skip


def _open(row: Any) -> str:
    return row["resolution"] or "resolved" if row["resolved_at"] else "open"


def _in_order(steps: Sequence[Step]) -> list[Step]:
    return sorted(steps, key=lambda each: each.at)  # stable: what has one time keeps the order of the way
