"""After the storm: is what is stored what the provider has, does the feed tell it, and did anything leak?"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from tests.acceptance.house import Hub
from tests.chaos.feed import Snapshot, judge_bibs, judge_feed, judge_history

#: What must stand in no log, metric, header, error or dead letter's description.
MARKERS = ("Quorvexil", "@example.com", "simsecret")

#: How people leave at the provider; whoever else was ever called removed was so falsely.
LEAVING = frozenset({"refunded", "transferred", "deferred", "cleared"})


@dataclass(slots=True)
class Verdict:
    """What a seed found; all zero is good."""

    seed: int
    seconds: float = 0.0
    compared: int = 0
    lost: int = 0  # the provider has them, we do not
    doubled: int = 0  # added twice, or counted twice
    stale: int = 0  # people and events of whom something differs
    falsely_removed: int = 0  # ever marked as gone, though the provider never let them go
    surplus: int = 0  # we have them, the provider does not
    over_budget: int = 0  # calls beyond a rolling hour's budget, or a third in flight
    leaked: int = 0  # places where a marker stands that may stand nowhere
    feed: int = 0  # places where the replayed feed or the bib history tells otherwise
    duplicates_delivered: int = 0  # batches that came again
    duplicates_swallowed: int = 0  # batches that the inbox knew
    settled_seconds: float = 0.0  # from the end of the storm until all was equal
    full_pass: bool = False  # a full pass was needed for it, because the provider had lied
    struck: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Nothing lost, doubled, stale, falsely removed, over budget, leaked, or told wrongly; all that was planned
        struck."""
        bad = (self.lost, self.doubled, self.stale, self.falsely_removed, self.surplus, self.over_budget, self.leaked)
        return not any(bad) and not self.feed and self.compared > 0 and not self.missed

    @property
    def missed(self) -> list[str]:
        """Planned misfortunes that never struck."""
        return [note for note in self.notes if note.startswith("never struck")]

    def row(self) -> dict[str, Any]:
        """As `results.json` keeps it."""
        return {name: value for name, value in asdict(self).items() if name != "notes"}


async def judge(hub: Hub, verdict: Verdict, snapshot: Snapshot, secrets: list[str]) -> None:
    """Fill in the verdict."""
    found = await hub.compare()
    verdict.compared = found.compared
    verdict.surplus = len(found.surplus)
    verdict.lost = len(found.missing)
    missing_events = await hub.differing_events()
    verdict.stale = len(found.different) + len(missing_events)
    for name, ids in (
        ("missing", found.missing),
        ("too many", found.surplus),
        ("different", [f"{key} {fields}" for key, fields in found.different.items()]),
        ("event differs", missing_events),
    ):
        verdict.notes += [f"{name}: {each}" for each in ids[:3]]
    wrong, twice, gone = await judge_feed(hub.database, snapshot, verdict.notes)
    verdict.feed = wrong + await judge_bibs(hub.database, verdict.notes)
    verdict.doubled = twice + await judge_history(hub.database, verdict.notes)
    left = await _left(hub)
    verdict.falsely_removed = len(gone - left)
    verdict.notes += [f"falsely removed: {each}" for each in sorted(gone - left)[:3]]
    audit = await hub.provider.get("/audit")
    verdict.over_budget += audit["quota_violations"] + audit["in_flight_violations"]
    verdict.leaked += leaks(await _texts(hub), [*MARKERS, *secrets], verdict.notes)


async def _left(hub: Hub) -> set[str]:
    """Everybody whom the provider ever let go."""
    pace = await hub.provider.get("/pace", last="10000")
    assert len(pace["log"]) < 10000
    return {str(each["registration_id"]) for each in pace["log"] if each["kind"] in LEAVING}


async def _texts(hub: Hub) -> dict[str, str]:
    """Everything that is written down for others than our tables' readers."""
    assert hub.logs is not None
    texts = await asyncio.to_thread(read_all, hub.logs)
    for name, statement in (
        ("dead letters", "SELECT type, queue, routing_key, reason, fingerprint FROM dead_letters"),
        ("runs' errors", "SELECT error_code, error FROM sync_runs WHERE error IS NOT NULL"),
        ("keys' states", "SELECT fingerprint, state, state_reason FROM credentials"),
        ("quarantine's reasons", "SELECT reason, fingerprint FROM quarantine"),
    ):
        texts[name] = str([dict(row) for row in await hub.database.fetch(statement)])
    metrics = await asyncio.gather(*(asyncio.to_thread(_scrape, port) for port in hub.metrics_ports))
    assert any("hub_messages_handled_total" in each for each in metrics), "no service showed its metrics"
    texts["metrics"] = "\n".join(metrics)
    return texts


def _scrape(port: str) -> str:
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())
    except (URLError, OSError):
        return ""  # the process died in the storm; another one took its place


def read_all(logs: Path) -> dict[str, str]:
    """Every log of every service."""
    return {path.name: path.read_text(errors="replace") for path in logs.glob("*.log")}


def leaks(texts: Mapping[str, str], markers: Iterable[str], notes: list[str]) -> int:
    """How many markers stand in texts where none may."""
    found = [(name, marker) for name, text in texts.items() for marker in markers if marker in text]
    notes += [f"leaked: a marker in {name}" for name, _ in found[:3]]
    return len(found)
