"""The hub beside dlt: the same download from the same provider into the same server, in the same run."""

import asyncio
import json
import os
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from shared.domain.run import Mode
from shared.ops.demo.provider import PretendProvider, pretend_provider
from tests.acceptance.house import Hub
from tests.bench.figures import Figure, Target, spread
from tests.bench.hub import asked_round, first_load, running, until_quiet
from tests.bench.place import Place

#: Where `make bench-full` has put dlt, in an environment of its own.
PYTHON = Path(sys.prefix).parent / ".venv-dlt" / "bin" / "python"
SCRIPT = Path(__file__).parent / "competition" / "load_with_dlt.py"
QUIET = {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}
#: Races of several days began before today: the hub lists them from as far back.
LOOK_BACK = timedelta(days=7)
PEOPLE, PEOPLE_QUICK = 150_000, 10_000
LOAD, SAME, FEW = WORK = (
    "full load",
    "everybody again, nothing changed",
    "one per cent changed, the hub asking for what changed, dlt for everybody",
)


@dataclass(frozen=True, slots=True)
class Way:
    """How dlt is told to work."""

    file_format: str | None = None
    settings: dict[str, str] = field(default_factory=dict)


#: As its documentation tells who wants it fast: files that PostgreSQL's COPY takes, a process a processor.
TUNED = Way("csv", {"NORMALIZE__WORKERS": "2"})
#: As it does when nobody tells it anything.
AS_IT_COMES = Way()


@dataclass(slots=True)
class Round:
    """Seconds of each piece of work, and how many people there were."""

    people: int = 0
    ours: dict[str, float] = field(default_factory=dict)
    theirs: dict[str, float] = field(default_factory=dict)
    distributed: float = 0.0  # a full load
    as_it_comes: float = 0.0  # theirs, of a full load


async def competing(place: Place) -> list[Figure]:
    """A full load, everybody again, and a round after one per cent of the people changed: both ways."""
    people = str(PEOPLE_QUICK if place.is_quick else PEOPLE)
    rounds: list[Round] = []
    for _ in range(place.rounds):
        measured = Round()
        words = ("--future-people", people, "--largest-event", "2501" if place.is_quick else "25001", "--warm")
        async with pretend_provider(*words) as provider:
            async with place.database_url() as database_url, running(provider, database_url, place.folder) as hub:
                await _ours(*hub, measured)
            async with (
                place.amqp_url() as amqp_url,
                place.database_url() as database_url,
                running(provider, database_url, place.folder, amqp_url) as (hub, _),
            ):
                measured.distributed = await first_load(hub)
            async with place.database_url() as database_url:
                await _theirs(provider, database_url, measured)
            async with place.database_url() as database_url:
                measured.as_it_comes = await _load(provider, database_url, measured.people)
        rounds.append(measured)
        place.say(
            f"competition, round {len(rounds)} of {place.rounds}: "
            + ", ".join(f"{measured.ours[what]:.1f} s and dlt {measured.theirs[what]:.1f} s" for what in WORK)
            + f"; distributed {measured.distributed:.1f} s, dlt as it comes {measured.as_it_comes:.1f} s"
        )
    beside = {
        f"{what}, embedded, against dlt": [(each.ours[what], each.theirs[what]) for each in rounds] for what in WORK
    }
    beside[f"{LOAD}, distributed, against dlt"] = [(each.distributed, each.theirs[LOAD]) for each in rounds]
    beside[f"{LOAD}, embedded, against dlt as it comes"] = [(each.ours[LOAD], each.as_it_comes) for each in rounds]
    return [
        Figure(
            what,
            median(theirs / ours for ours, theirs in pairs),
            "times as fast",
            Target("≥", 4) if what.startswith(LOAD) and what.endswith("dlt") else None,
            f"{rounds[0].people:,} people; ours {median(ours for ours, _ in pairs):.1f} s,"
            f" dlt {median(theirs for _, theirs in pairs):.1f} s;"
            f" {spread([theirs / ours for ours, theirs in pairs])}",
        )
        for what, pairs in beside.items()
    ]


async def _ours(hub: Hub, processes: Any, into: Round) -> None:
    into.ours[LOAD] = await first_load(hub)
    into.people = await hub.count("SELECT count(*) FROM participants WHERE removed_at IS NULL")
    await until_quiet(hub.database, processes)
    into.ours[SAME] = await asked_round(hub, Mode.FULL)
    await hub.provider.post("/mutate", kind="edited", count=into.people // 100)
    into.ours[FEW] = await asked_round(hub, Mode.INCREMENTAL)
    await until_quiet(hub.database, processes)


async def _theirs(provider: PretendProvider, database_url: str, into: Round) -> None:
    """The same three, in the same order; the world has changed by one per cent already, and does so again."""
    with TemporaryDirectory(prefix="hub-dlt-") as folder:
        for what in WORK:
            if what == FEW:
                await provider.post("/mutate", kind="edited", count=into.people // 100)
            into.theirs[what] = await _dlt(provider, database_url, folder, TUNED, into.people)


async def _load(provider: PretendProvider, database_url: str, people: int) -> float:
    with TemporaryDirectory(prefix="hub-dlt-") as folder:
        return await _dlt(provider, database_url, folder, AS_IT_COMES, people)


async def _dlt(provider: PretendProvider, database_url: str, folder: str, way: Way, people: int) -> float:
    """Let dlt load everybody; the seconds it took, the start of its process included."""
    if not PYTHON.exists():
        raise RuntimeError("dlt is not installed; say make bench-full, which installs it beside the hub")
    wanted = {
        "url": provider.url,
        "dsn": _with_host(database_url),
        "folder": folder,
        "file_format": way.file_format,
        "since": (datetime.now(UTC) - LOOK_BACK).date().isoformat(),
        "partners": [{"key": each.key, "secret": each.secret, "form": each.form} for each in await provider.partners()],
    }
    await provider.post("/config", forget_quota=True)
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        PYTHON,
        SCRIPT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | QUIET | way.settings,
        cwd=folder,
    )
    out, complaints = await process.communicate(json.dumps(wanted).encode())
    took = time.perf_counter() - began
    if process.returncode:
        raise RuntimeError(f"dlt ended with {process.returncode}: {complaints.decode()[-500:]}")
    if (rows := json.loads(out)["rows"]) < people:
        raise RuntimeError(f"dlt stored {rows} of {people} people")
    return took


def _with_host(url: str) -> str:
    """The address with its socket's folder as the host: dlt takes no other form of it."""
    parts = urlsplit(url)
    hosts = parse_qs(parts.query).get("host")
    if not hosts:
        return url
    return f"postgresql://{parts.username}:none@{quote(hosts[0], safe='')}:5432{parts.path}"
