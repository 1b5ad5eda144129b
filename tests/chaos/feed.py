"""The change feed, the bib history and the runs' own counts, held against the tables."""

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import asyncpg
import orjson

from shared.postgres import Database
from writer.merging import DIFF_FIELDS, JSON_FIELDS

Key = tuple[int, str]  # timing partner, registration
TOLD = (*(each for each in DIFF_FIELDS if each != "event_id"), "removed_reason", "new_registration_id")
PATIENCE = 20.0


@dataclass(slots=True)
class Snapshot:
    """Everybody at one instant, and the batches of diffs that brought them there."""

    people: dict[Key, dict[str, Any]] = field(default_factory=dict)
    batches: set[int] = field(default_factory=set)


async def take_snapshot(url: str) -> Snapshot:
    """What one transaction sees; a database that is away just now is waited for."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                connection = await asyncpg.connect(url)
                try:
                    async with connection.transaction(isolation="repeatable_read", readonly=True):
                        people = await connection.fetch("SELECT * FROM hub.participants")
                        batches = await connection.fetch("SELECT batch_id FROM hub.change_batches")
                finally:
                    await connection.close()
                return Snapshot({_key(row): as_told(row) for row in people}, {row["batch_id"] for row in batches})
            await asyncio.sleep(0.2)


def _key(row: Any) -> Key:
    return row["timing_partner_id"], row["registration_id"]


def as_told(row: Any) -> dict[str, Any]:
    """A stored row as the feed speaks of it: JSON values, and nobody who is gone wears a bib."""
    told = {}
    for name in TOLD:
        value = row[name]
        if name in JSON_FIELDS and value is not None:
            value = orjson.loads(value)
        elif isinstance(value, date):
            value = value.isoformat()
        told[name] = value
    if row["removed_at"] is not None:
        told["bib"] = None
    return told


async def judge_feed(database: Database, snapshot: Snapshot, notes: list[str]) -> tuple[int, int, set[str]]:
    """Replay the feed: (places where it tells otherwise, people added twice, whom it ever called removed)."""
    rows = await database.fetch("SELECT * FROM change_feed ORDER BY feed_id")
    bad = [f"the feed's number {row['feed_id']} is not {at}" for at, row in enumerate(rows, 1) if row["feed_id"] != at]
    bad += ["diffs without a number"] * await database.fetchval(
        "SELECT count(*) FROM change_batches WHERE feed_first IS NULL"
    )
    twice = _replay_presence(rows, bad)
    stored = {_key(row): row for row in await database.fetch("SELECT * FROM participants")}
    present = {key for key, row in stored.items() if row["removed_at"] is None}
    bad += [f"active by one account only: {key[1]}" for key in present ^ _present(rows)]
    bad += _replay_fields(rows, snapshot, {key: as_told(row) for key, row in stored.items()})
    notes += bad[:5] + [f"added twice: {each}" for each in twice[:3]]
    return len(bad), len(twice), {row["registration_id"] for row in rows if row["kind"] == "removed"}


def _present(rows: list[Any]) -> set[Key]:
    present: set[Key] = set()
    for row in rows:
        if row["kind"] in {"added", "restored"}:
            present.add(_key(row))
        elif row["kind"] == "removed":
            present.discard(_key(row))
    return present


def _replay_presence(rows: list[Any], bad: list[str]) -> list[str]:
    """Who comes comes once, who goes was there; the registrations that were added twice."""
    known: set[Key] = set()
    present: set[Key] = set()
    twice = []
    for row in rows:
        key, kind = _key(row), row["kind"]
        if kind == "added":
            twice += [key[1]] if key in known else []
            known.add(key)
        if kind in {"added", "restored"}:
            bad += [f"came without having gone: {key[1]}"] if key in present else []
            present.add(key)
        elif kind == "removed":
            bad += [f"removed though not there: {key[1]}"] if key not in present else []
            present.discard(key)
    return twice


def _replay_fields(rows: list[Any], snapshot: Snapshot, last: dict[Key, dict[str, Any]]) -> list[str]:
    """The first state and the feed since then give the last state, each value told following the one before."""
    bad = []
    state = {key: dict(fields) for key, fields in snapshot.people.items()}
    for row in rows:
        if row["batch_id"] in snapshot.batches:
            continue
        known = state.setdefault(_key(row), {})
        for name, (before, after) in orjson.loads(row["fields"]).items():
            if name in known and known[name] != before and row["kind"] != "added":
                bad.append(f"feed {row['feed_id']}: {name} of {row['registration_id']} was told otherwise before")
            known[name] = after
    for key, known in state.items():
        wrong = [name for name, value in known.items() if name in TOLD and last[key][name] != value]
        bad += [f"the feed's last {name} of {key[1]} is not the stored one" for name in wrong]
    return bad


async def judge_bibs(database: Database, notes: list[str]) -> int:
    """Each person's bib history is a chain, and its end is the bib that they wear."""
    rows = await database.fetch(
        "SELECT timing_partner_id, registration_id, before, after FROM bib_history"
        " WHERE kind NOT IN ('duplicate', 'out_of_range')"
        " ORDER BY feed_id, bib_event_id"
    )
    worn: dict[Key, str | None] = {}
    bad = []
    for row in rows:
        if worn.get(_key(row)) != row["before"]:
            bad.append(f"bib history of {row['registration_id']} has a hole")
        worn[_key(row)] = row["after"]
    people = await database.fetch("SELECT * FROM participants WHERE removed_at IS NULL")
    bad += [
        f"bib history tells otherwise: {row['registration_id']}" for row in people if worn.get(_key(row)) != row["bib"]
    ]
    notes += bad[:3]
    return len(bad)


async def judge_history(database: Database, notes: list[str]) -> int:
    """What the runs say they did is what the feed says happened, and nothing was counted twice."""
    told = Counter(row["kind"] for row in await database.fetch("SELECT kind FROM change_feed"))
    row = await database.fetchrow(
        "SELECT sum(added) AS added, sum(removed) AS removed, sum(restored) AS restored FROM sync_runs"
        " WHERE kind = 'race'"
    )
    assert row is not None
    bad = [
        f"runs say {row[kind]} {kind}, the feed {told[kind]}"
        for kind in ("added", "removed", "restored")
        if (row[kind] or 0) != told[kind]
    ]
    more = await database.fetch(
        """
        WITH runs AS (
            SELECT run_id, added + updated + unchanged + stale + restored AS said, (SELECT coalesce(sum(records), 0)
                FROM raw_batches b WHERE b.run_id = r.run_id AND b.type = 'participants.fetched.v1') AS got
            FROM sync_runs r WHERE kind = 'race'
        ) SELECT * FROM runs WHERE said > got
        """
    )
    bad += [f"run {row['run_id']} counts {row['said']} records of {row['got']}" for row in more]
    notes += bad[:3]
    return len(bad)
