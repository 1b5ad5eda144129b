"""What is broken to make each alert fire, and how it is mended: as the runbook says, where it says something."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import services
from tests.acceptance.house import Hub

PLENTY = 100_000  # calls an hour
UNREADABLE = """
    INSERT INTO outbox (message_id, type, routing_key, body, created_at)
    VALUES (gen_random_uuid(), 'sync.request.v1', 'sync.request.v1.runsignup.near', 'nonsense', now())
"""


@dataclass(frozen=True, slots=True)
class Trial:
    """One thing that goes wrong, and the alerts that must tell of it."""

    alerts: tuple[str, ...]
    broken: str
    provoke: Callable[[], Awaitable[object]]
    mended: str
    mend: Callable[[], Awaitable[object]]


async def trials(hub: Hub, broker: services.BreakableBroker) -> list[Trial]:
    """In this order, except that the first, whose check comes every five minutes, goes on beside the others."""

    async def command(*words: str) -> None:
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("hub"), *words, env=hub.environment, stdout=asyncio.subprocess.DEVNULL
        )
        await process.wait()

    def fault(kind: str, **where: Any) -> Callable[[], Awaitable[object]]:
        return lambda: hub.provider.post("/faults", kind=kind, **where)

    async def no_faults() -> None:
        await hub.provider.delete("/faults")

    async def spoilt_pass(race_id: int, kind: str, **how: str) -> None:
        await hub.provider.post("/faults", kind=kind, race_id=race_id, endpoint="participants", **how)
        await command("sync", "--race", str(race_id), "--full")

    async def good_pass(race_id: int) -> None:
        await no_faults()
        await command("sync", "--race", str(race_id), "--full")

    async def drop() -> None:
        await no_faults()
        await command("quarantine", "drop", "--all")

    async def allow(calls: int) -> None:
        await hub.database.execute("UPDATE provider_keys SET calls_per_hour = $1", calls)
        await command("sync")  # what was put off would keep its time otherwise

    async def key(kind: str) -> None:
        await hub.provider.post("/mutate", kind=kind, key=last)
        await command("partner", "verify", str(hub.keys[last]))

    def move(event_id: str) -> Awaitable[object]:
        return hub.database.execute("UPDATE participants SET event_id = $1 WHERE registration_id = $2", event_id, who)

    nearest = "SELECT max(race_id)::int FROM race_sync WHERE pace = $1"
    raceday, far = await hub.count(nearest, "raceday"), await hub.count(nearest, "routine")
    assert raceday, "nothing starts within hours in this world"
    person = await hub.database.fetchrow("SELECT registration_id, event_id FROM participants WHERE removed_at IS NULL")
    assert person is not None
    who, event_id = person
    *_, last = hub.keys
    again = "the provider answers again"
    return [
        Trial(("CheckBroken",), "a person put into an event that is not stored, by SQL", lambda: move("0"),
              "put back", lambda: move(event_id)),
        Trial(("RaceDayLate", "PromiseBurning"), "503 for one race-day race", fault("http_503", race_id=raceday),
              again, no_faults),
        Trial(("RacesLate",), "503 for a race further off", fault("http_503", race_id=far), again, no_faults),
        Trial(("BudgetTight", "MorningDoesNotFit"), "fewer calls allowed than were spent", lambda: allow(40),
              "more allowed, and `hub sync`", lambda: allow(PLENTY)),
        Trial(("ProviderFailing",), "503 for every call", fault("http_503"), again, no_faults),
        Trial(("OutboxStuck",), "the broker's memory alarm", broker.pause, "taken back", broker.resume),
        Trial(("DeadLetters",), "a message that nobody can read", lambda: hub.database.execute(UNREADABLE),
              "`hub dead-letters drop`", lambda: command("dead-letters", "drop", "--all")),
        Trial(("QuarantineOpen",), "a record of an event that is not there",
              lambda: spoilt_pass(raceday, "bad_row", choice="foreign_event"),
              "`hub quarantine drop`", drop),
        Trial(("RemovalsHeld",), "a full pass without anybody", lambda: spoilt_pass(far, "empty_answer"),
              "a full pass with everybody", lambda: good_pass(far)),
        Trial(("KeyRefused",), "a key revoked at the provider", lambda: key("key_revoked"),
              "restored, `hub partner verify`; then by itself", lambda: key("key_restored")),
        Trial(("ServiceMissing", "NothingSynced"), "the only fetcher killed", lambda: hub.kill("fetcher"),
              "started", lambda: hub.start("fetcher")),
    ]  # fmt: skip
