"""After the storm: is what is stored what the provider has, does the feed tell it, and did anything leak?"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from shared.postgres import Database
from tests.acceptance.house import Hub

#: What must stand in no log, metric, error or dead letter's description.
MARKERS = ("Quorvexil", "@example.com", "simsecret")


@dataclass(slots=True)
class Verdict:
    """What a seed found; all zero is good."""

    seed: int
    seconds: float = 0.0
    compared: int = 0
    lost: int = 0
    doubled: int = 0
    stale: int = 0
    falsely_removed: int = 0
    surplus: int = 0
    over_budget: int = 0
    leaked: int = 0
    feed: int = 0  # places where the replayed feed or bib history tells otherwise
    duplicates_swallowed: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Nothing lost, doubled, stale, falsely removed, over budget, leaked, or told wrongly."""
        bad = (self.lost, self.doubled, self.stale, self.falsely_removed, self.surplus, self.over_budget, self.leaked)
        return not any(bad) and not self.feed and self.compared > 0

    def row(self) -> dict[str, Any]:
        """As `results.json` keeps it."""
        return {name: value for name, value in asdict(self).items() if name != "notes"}


async def judge(hub: Hub, verdict: Verdict, logs: Path) -> None:
    """Fill in the verdict."""
    found = await hub.compare()
    verdict.compared = found.compared
    verdict.surplus = len(found.surplus)
    verdict.stale = len(found.different)
    gone = await hub.database.fetch(
        "SELECT registration_id FROM participants WHERE registration_id = ANY($1) AND removed_at IS NOT NULL",
        found.missing,
    )
    verdict.falsely_removed = len({row["registration_id"] for row in gone})
    verdict.lost = len(found.missing) - verdict.falsely_removed
    for name, ids in (
        ("missing", found.missing),
        ("too many", found.surplus),
        ("different", [f"{key} {fields}" for key, fields in found.different.items()]),
    ):
        verdict.notes += [f"{name}: {each}" for each in ids[:3]]
    audit = await hub.provider.get("/audit")
    verdict.over_budget = audit["quota_violations"] + audit["in_flight_violations"]
    await judge_feed(hub.database, verdict)
    await judge_bibs(hub.database, verdict)
    texts = await asyncio.to_thread(read_all, logs)
    described = await hub.database.fetch("SELECT type, queue, routing_key, reason, fingerprint FROM dead_letters")
    errors = await hub.database.fetch("SELECT error_code, error FROM sync_runs WHERE error IS NOT NULL")
    texts["dead letters"] = str([dict(row) for row in described])
    texts["runs' errors"] = str([dict(row) for row in errors])
    secrets = [each.secret for each in await hub.provider.partners()]
    verdict.leaked = leaks(texts, [*MARKERS, *secrets], verdict.notes)


def read_all(logs: Path) -> dict[str, str]:
    """Every log of every service."""
    return {path.name: path.read_text(errors="replace") for path in logs.glob("*.log")}


def leaks(texts: Mapping[str, str], markers: Iterable[str], notes: list[str]) -> int:
    """How many markers stand in texts where none may."""
    found = [(name, marker) for name, text in texts.items() for marker in markers if marker in text]
    notes += [f"leaked: a marker in {name}" for name, _ in found[:3]]
    return len(found)


async def judge_feed(database: Database, verdict: Verdict) -> None:
    """Replayed from nothing, the feed must give who is active and the last value of every field it told."""
    rows = await database.fetch("SELECT * FROM change_feed ORDER BY feed_id")
    wrong = sum(row["feed_id"] != place for place, row in enumerate(rows, start=1))
    if wrong:
        verdict.notes.append("the feed's numbers have a gap")
    unnumbered: int = await database.fetchval("SELECT count(*) FROM change_batches WHERE feed_first IS NULL")
    state: dict[tuple[int, str], dict[str, Any]] = {}
    active: set[tuple[int, str]] = set()
    for row in rows:
        key = (row["timing_partner_id"], row["registration_id"])
        fields = orjson.loads(row["fields"])
        if row["kind"] == "added":
            if key in active or key in state:
                verdict.doubled += 1
                verdict.notes.append(f"added twice: {key[1]}")
            state[key] = {"bib": None}
            active.add(key)
        elif (row["kind"] == "removed") != (key in active and row["kind"] == "removed"):
            wrong += 1
            verdict.notes.append(f"removed though not active: {key[1]}")
        known = state.setdefault(key, {})
        for name, (before, after) in fields.items():
            if name in known and known[name] != before and row["kind"] != "added":
                wrong += 1
                verdict.notes.append(f"feed {row['feed_id']}: {name} of {key[1]} was told otherwise before")
            known[name] = after
        if row["kind"] == "removed":
            active.discard(key)
        elif row["kind"] == "restored":
            active.add(key)
    stored = await database.fetch("SELECT * FROM participants WHERE removed_at IS NULL")
    now = {(row["timing_partner_id"], row["registration_id"]): row for row in stored}
    wrong += len(now.keys() ^ active)
    verdict.notes += [f"active by one account only: {key[1]}" for key in list(now.keys() ^ active)[:3]]
    for key in now.keys() & active:
        if now[key]["bib"] != state[key].get("bib"):
            wrong += 1
            verdict.notes.append(f"the feed's last bib of {key[1]} is not the stored one")
    verdict.feed += wrong + unnumbered


async def judge_bibs(database: Database, verdict: Verdict) -> None:
    """The last event of each person's bib history must tell the bib that they wear."""
    rows = await database.fetch(
        """
        WITH last AS (
            SELECT DISTINCT ON (timing_partner_id, registration_id) timing_partner_id, registration_id, after
            FROM bib_history WHERE kind <> 'duplicate' ORDER BY timing_partner_id, registration_id, feed_id DESC
        )
        SELECT p.registration_id FROM participants p LEFT JOIN last USING (timing_partner_id, registration_id)
        WHERE p.removed_at IS NULL AND p.bib IS DISTINCT FROM last.after
        """
    )
    verdict.feed += len(rows)
    verdict.notes += [f"bib history tells otherwise: {row['registration_id']}" for row in rows[:3]]
