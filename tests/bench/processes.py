"""Processor seconds and memory of every process that takes part, by role."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from shared.postgres import Database

#: How often unshared memory is looked at; reading it costs the kernel a walk over all pages.
LOOK_SECONDS = 0.25


@dataclass(slots=True)
class Processes:
    """Who takes part: a role and the process that everything of that role descends from."""

    roots: dict[str, int] = field(default_factory=dict)

    def seconds(self) -> dict[str, float]:
        """What each role has used so far, its ended children included."""
        return {role: _seconds(pid) for role, pid in self.roots.items()}

    def watch(self, role: str, pid: int | None) -> None:
        """Let a role take part; None: it runs where it cannot be seen (a container, another machine)."""
        if pid is not None:
            self.roots[role] = pid


def _seconds(pid: int) -> float:
    total = 0.0
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for each in (root, *root.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                # The children's part is of those that have ended: a connection's process gives its time to its parent.
                used = each.cpu_times()
                total += used.user + used.system + used.children_user + used.children_system
    return total


def used(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What each role used between two readings."""
    return {role: after[role] - before.get(role, 0.0) for role in after}


def _newest(among: Iterable[psutil.Process], is_it: Callable[[psutil.Process], bool]) -> int | None:
    """The youngest process that looks so."""
    found = []
    for each in among:
        with suppress(psutil.Error):
            if is_it(each):
                found.append((each.create_time(), each.pid))
    return int(max(found)[1]) if found else None


def broker() -> int | None:
    """RabbitMQ, when it was started for this run: below us, or in a container that is younger than we are."""
    us = psutil.Process()
    below = _newest(us.children(recursive=True), lambda each: each.name() == "beam.smp")
    return below or _newest(
        psutil.process_iter(),
        lambda each: each.name() == "beam.smp" and each.create_time() > us.create_time() and _in_container(each.pid),
    )


def _in_container(pid: int) -> bool:
    """Whether a process sees another list of processes than we do."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/ns/pid").readlink() != Path("/proc/self/ns/pid").readlink()
    return False


def simulator() -> int | None:
    """The pretend provider that was started last."""
    return _newest(psutil.Process().children(), lambda each: "runsignup_simulator" in each.cmdline())


async def postgres(database: Database) -> int | None:
    """The server behind a connection, when it runs where we can see it: its processes tell their database's name."""
    name = await database.fetchval("SELECT current_database()")
    for each in psutil.process_iter():
        with suppress(psutil.Error):
            if each.name() == "postgres" and f" {name} " in " ".join(each.cmdline()):
                return int(each.ppid())
    return None


@dataclass(slots=True)
class Memory:
    """The most that each role held at once, in bytes."""

    resident: dict[str, int] = field(default_factory=dict)  # the kernel's own high-water mark
    unshared: dict[str, int] = field(default_factory=dict)  # of what was seen, looking now and then


@asynccontextmanager
async def watching_memory(roots: Mapping[str, int]) -> AsyncIterator[Memory]:
    """Watch some processes until the end of the block."""
    memory = Memory()

    async def look() -> None:
        while True:
            _look(roots, memory)
            await asyncio.sleep(LOOK_SECONDS)

    looking = asyncio.create_task(look())
    try:
        yield memory
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        _look(roots, memory)


def _look(roots: Mapping[str, int], memory: Memory) -> None:
    for role, pid in roots.items():
        with suppress(psutil.Error, OSError):
            full = psutil.Process(pid).memory_full_info()
            memory.unshared[role] = max(memory.unshared.get(role, 0), full.uss)
            memory.resident[role] = max(memory.resident.get(role, 0), _high_water(pid) or full.rss)


def _high_water(pid: int) -> int | None:
    """Linux keeps the peak by itself: nothing between two looks is missed."""
    with suppress(OSError), open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None
