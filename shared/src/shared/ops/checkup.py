"""The examinations behind `hub doctor`. None raises: what it finds is the answer."""

import asyncio
import os
import platform
import shutil
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from importlib.metadata import version
from ipaddress import ip_address
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

from shared.clock import SystemClock
from shared.errors import Never, SyncError, kind_of
from shared.ops.desk import NEEDED, Desk, address_of, reaching
from shared.postgres import Database
from shared.postgres.beats import living
from shared.postgres.credentials import load_credential
from shared.postgres.migrate import migrations, require_current
from shared.runtime.service import open_bus
from shared.settings import Settings, load

#: PostgreSQL versions that the tests are run on.
OLDEST_SERVER, NEWEST_SERVER = 13, 18
#: Services take their time from the database; a machine further off than this confuses people and certificates.
CLOCK_WARN, CLOCK_BAD = timedelta(seconds=5), timedelta(minutes=5)
#: Megabytes free below which there is a word of warning, and below which the embedded database will soon stop.
DISK_WARN, DISK_BAD = 2000, 300
PATIENCE_SECONDS = 8.0


class Verdict(StrEnum):
    """What an examination found."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"
    SKIPPED = "skipped"  # cannot be told: what it needs is bad, or not there


@dataclass(frozen=True, slots=True)
class Finding:
    """One verdict, what it rests on, and what to do about it."""

    name: str
    verdict: Verdict
    detail: str
    remedy: str | None = None


Examination = Callable[[Desk], Awaitable[Finding]]


async def examine() -> list[Finding]:
    """Examine everything, from the settings outwards."""
    try:
        settings = load(Settings)
        settings.caller()
    except SyncError as error:
        return [
            _versions(None),
            Finding("settings", Verdict.BAD, error.what, error.remedy or "correct the environment or .env"),
        ]
    findings = [_versions(settings), Finding("settings", Verdict.OK, "readable"), _disk(settings)]
    async with AsyncExitStack() as stack:
        desk, found = await _database(stack, settings)
        findings += found
        inside: tuple[tuple[str, Examination], ...] = (
            ("secret key", _secret_key), ("services", _services), ("clock", _clock), ("provider clock", _provider_clock)
        )  # fmt: skip
        for name, examination in inside:
            if desk is None:
                findings.append(Finding(name, Verdict.SKIPPED, "needs the database and its schema"))
                continue
            try:
                findings.append(await examination(desk))
            except SyncError as error:
                findings.append(Finding(name, Verdict.BAD, error.what, error.remedy))
        findings.append(await _broker(settings))
        findings.append(await examine_provider(settings))
    return findings


def _versions(settings: Settings | None) -> Finding:
    home = f", home {settings.home}" if settings is not None else ""
    return Finding(
        "versions", Verdict.OK, f"project88hub {version('shared')}, Python {platform.python_version()}{home}"
    )


def _disk(settings: Settings) -> Finding:
    folder: Path = settings.home.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free // 1_000_000
    detail = f"{free:,} MB free under HUB_HOME"
    if free < DISK_WARN:
        return Finding("disk", Verdict.BAD if free < DISK_BAD else Verdict.WARN, detail, "make room, or move HUB_HOME")
    if not os.access(folder, os.W_OK):
        return Finding("disk", Verdict.BAD, "HUB_HOME cannot be written to", "set HUB_HOME to a folder of this user's")
    return Finding("disk", Verdict.OK, detail)


async def _database(stack: AsyncExitStack, settings: Settings) -> tuple[Desk | None, list[Finding]]:
    try:
        address, embedded = await stack.enter_async_context(address_of(settings))
        with reaching(address):
            database = await Database.connect(address, size=2, name="hub:operator")
            stack.push_async_callback(database.close)
            server = int(await database.fetchval("SHOW server_version_num")) // 10000
    except SyncError as error:
        return None, [
            Finding("database", Verdict.BAD, error.what, error.remedy),
            Finding("schema", Verdict.SKIPPED, "needs the database"),
        ]
    where = f"PostgreSQL {server}{', embedded' if embedded else ''}"
    known = OLDEST_SERVER <= server <= NEWEST_SERVER
    verdict = Verdict.OK if known else Verdict.BAD if server < OLDEST_SERVER else Verdict.WARN
    found = [Finding("database", verdict, where, None if known else f"use {OLDEST_SERVER} to {NEWEST_SERVER}")]
    try:
        with reaching(address):
            await require_current(address)
    except SyncError as error:
        return None, [*found, Finding("schema", Verdict.BAD, error.what, error.remedy)]
    found.append(Finding("schema", Verdict.OK, f"version {migrations()[-1].version}, the newest"))
    return Desk(settings, database, SystemClock(), embedded), found


async def _secret_key(desk: Desk) -> Finding:
    sealer = desk.sealer()
    ids = [
        row["credential_id"] for row in await desk.database.fetch("SELECT credential_id FROM credentials ORDER BY 1")
    ]
    closed, former = [], 0
    async with desk.database.connection("reading keys") as connection:
        for each in ids:
            stored = await load_credential(connection, each)
            try:
                if stored is not None:
                    stored.open(sealer)
                    former += not sealer.is_present(stored.sealed_secret, stored.row_name)
            except Never:
                closed.append(str(each))
    if closed:
        return Finding(
            "secret key",
            Verdict.BAD,
            f"{len(closed)} of {len(ids)} stored keys do not open (credentials {', '.join(closed[:5])})",
            "set the HUB_SECRET_KEY that they were sealed with, or enter them again with hub partner add",
        )
    if former:
        what = f"{former} of {len(ids)} stored keys are sealed with a former one"
        return Finding("secret key", Verdict.WARN, what, "hub partner reseal, then take HUB_FORMER_SECRET_KEYS away")
    opened = f"opens all {len(ids)} stored keys" if ids else "usable; no key is stored yet"
    return Finding("secret key", Verdict.OK, opened)


async def _services(desk: Desk) -> Finding:
    await desk.database.set_clock(desk.clock)
    alive = await living(desk.database, desk.clock.now())
    missing = [name for name in (*NEEDED, "bib-watcher") if name not in alive]
    running = ", ".join(f"{name} {count}" for name, count in sorted(alive.items()))
    if not alive:
        return Finding("services", Verdict.WARN, "none is running", "hub up, or start your deployment")
    if missing:
        return Finding("services", Verdict.BAD, f"not running: {', '.join(missing)} (running: {running})", "start them")
    return Finding("services", Verdict.OK, running)


async def _clock(desk: Desk) -> Finding:
    asked = time.time()
    said: datetime = await desk.database.fetchval("SELECT clock_timestamp()")
    offset = datetime.fromtimestamp((asked + time.time()) / 2, UTC) - said
    return judge_clock("clock", "this machine", "the database's clock", offset)


async def _provider_clock(desk: Desk) -> Finding:
    """By what the last answer said of its time: nothing is called for it."""
    row = await desk.database.fetchrow(
        """
        SELECT (progress->'end'->>'first_answer_at')::timestamptz - (progress->'end'->>'first_call_at')::timestamptz
            AS ahead
        FROM sync_runs WHERE progress->'end'->>'first_answer_at' IS NOT NULL AND requested_at > $1
        ORDER BY requested_at DESC LIMIT 1
        """,
        desk.clock.now() - timedelta(days=1),
    )
    if row is None:
        return Finding("provider clock", Verdict.SKIPPED, "no answer within a day tells it")
    return judge_clock("provider clock", "the provider", "the database's clock, at its last answer", row["ahead"])


def judge_clock(name: str, whose: str, other: str, ahead: timedelta) -> Finding:
    seconds = ahead.total_seconds()
    direction = "ahead of" if seconds > 0 else "behind"
    detail = f"{whose} is {abs(seconds):.1f} s {direction} {other}"
    if abs(ahead) <= CLOCK_WARN:
        return Finding(name, Verdict.OK, detail)
    remedy = "let all machines set their clocks by NTP; services go by the database's clock meanwhile"
    return Finding(name, Verdict.BAD if abs(ahead) >= CLOCK_BAD else Verdict.WARN, detail, remedy)


async def _broker(settings: Settings) -> Finding:
    if settings.amqp_url is None:
        return Finding("broker", Verdict.OK, "none is set: hub up uses the in-process bus")
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            bus = await open_bus(settings, SystemClock(), Random())  # noqa: S311 — jitter
            try:
                await bus.ping()
            finally:
                await bus.close()
    except SyncError as error:
        return Finding("broker", Verdict.BAD, error.what, error.remedy or "start RabbitMQ, or correct HUB_AMQP_URL")
    except TimeoutError:
        return Finding("broker", Verdict.BAD, "it did not answer in time", "start RabbitMQ, or correct HUB_AMQP_URL")
    return Finding("broker", Verdict.OK, "reachable, its exchange is there")


async def examine_provider(settings: Settings) -> Finding:
    """A connection and a greeting, no request: every request would be a call of some key's budget."""
    try:
        parts = urlsplit(settings.runsignup_base_url)
        host, secure = parts.hostname, parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
    except ValueError:
        host, port, secure = None, 0, False
    if host is None or urlsplit(settings.runsignup_base_url).scheme not in {"http", "https"}:
        remedy = "HUB_RUNSIGNUP_BASE_URL must look like https://api.runsignup.com/rest"
        return Finding("provider", Verdict.BAD, "its address is unusable", remedy)
    if os.environ.get("HTTPS_PROXY" if secure else "HTTP_PROXY") and not _is_loopback(host):
        return Finding("provider", Verdict.SKIPPED, "is reached through a proxy, which only a call would try")
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            _, writer = await asyncio.open_connection(host, port, ssl=ssl.create_default_context() if secure else None)
            writer.close()
    except ssl.SSLError:
        remedy = "check the machine's certificates and clock, and HUB_RUNSIGNUP_BASE_URL"
        return Finding("provider", Verdict.BAD, f"{host} shows no certificate that we trust", remedy)
    except (OSError, TimeoutError) as error:
        remedy = "check network, name service and firewall, and HUB_RUNSIGNUP_BASE_URL"
        return Finding("provider", Verdict.BAD, f"{host}:{port} cannot be reached ({kind_of(error)})", remedy)
    return Finding("provider", Verdict.OK, f"{host}:{port} answers")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
