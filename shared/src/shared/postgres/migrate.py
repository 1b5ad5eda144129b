"""Plain SQL migrations: numbered, immutable once merged, applied in order, each in one transaction."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import asyncpg

from shared.errors import Stop
from shared.postgres.errors import translated

#: Two processes that migrate at once: the second waits, then finds nothing to do.
LOCK = 0x48554201


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of `migrations/`."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Of the text; an applied migration must never change."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations() -> list[Migration]:
    """Every migration, in order."""
    found = []
    for each in files("shared.postgres").joinpath("migrations").iterdir():
        if each.name.endswith(".sql"):
            number, _, name = each.name.removesuffix(".sql").partition("_")
            found.append(Migration(int(number), name, each.read_text("utf-8")))
    return sorted(found, key=lambda migration: migration.version)


def pending(known: list[Migration], applied: dict[int, str]) -> list[Migration]:
    """What is still to be applied; raises Stop when the database is newer, or an applied file was changed."""
    newest = known[-1].version if known else 0
    if applied and max(applied) > newest:
        raise Stop(
            f"the database has schema version {max(applied)}, this program knows {newest}",
            remedy="install the newer program, or restore the database it belongs to",
        )
    for each in known:
        if each.version in applied and applied[each.version] != each.checksum:
            raise Stop(
                f"migration {each.version:04} ({each.name}) was changed after it was applied",
                remedy="restore the file, and put the change into a new migration",
            )
    return [each for each in known if each.version not in applied]


async def migrate(url: str) -> list[Migration]:
    """Bring a database to the newest schema and return what was applied; safe to repeat and to run twice at once.

    Raises Stop when the database's schema is newer than this program's, or has tables of the former system.
    """
    with translated("migrating the database"):
        connection = await asyncpg.connect(url, timeout=10)
        try:
            await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
            await _refuse_old_tables(connection)
            return await apply(connection)
        finally:
            await connection.close()


async def apply(connection: "asyncpg.Connection[Any]") -> list[Migration]:
    """Apply what is still to be applied, each in a transaction of its own; the caller holds the lock."""
    await connection.execute(
        "CREATE SCHEMA IF NOT EXISTS hub; CREATE TABLE IF NOT EXISTS hub.schema_migrations ("
        "version integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,"
        " applied_at timestamptz NOT NULL DEFAULT now())"
    )
    rows = await connection.fetch("SELECT version, checksum FROM hub.schema_migrations")
    todo = pending(migrations(), {row["version"]: row["checksum"] for row in rows})
    for each in todo:
        async with connection.transaction():
            await connection.execute(each.sql)
            await connection.execute(
                "INSERT INTO hub.schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
                each.version,
                each.name,
                each.checksum,
            )
    return todo


#: Names in ``public`` that the first migrations give to tables and views of their own.
OLD_NAMES = (
    "timing_partners",
    "providers",
    "partner_provider_credentials",
    "runsignup_races",
    "runsignup_events",
    "runsignup_participants",
    "sync_history",
    "unified_participants",
    "unified_events",
    "unified_results",
)


async def _refuse_old_tables(connection: "asyncpg.Connection[Any]") -> None:
    """Raise Stop when the names that the schema needs are taken by tables of the system that it replaces."""
    if await connection.fetchval("SELECT to_regnamespace('hub_new') IS NOT NULL"):
        raise Stop(
            "an adoption of this database is not finished",
            remedy="go on with `hub adopt`, or take it back with `hub adopt --undo`",
        )
    if await connection.fetchval("SELECT to_regclass('hub.races') IS NOT NULL"):
        return
    rows = await connection.fetch(
        "SELECT name FROM unnest($1::text[]) AS name WHERE to_regclass('public.' || name) IS NOT NULL", OLD_NAMES
    )
    if rows:
        names = ", ".join(row["name"] for row in rows[:3])
        more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
        raise Stop(
            f"the database has tables of the former system ({names}{more}), and none of the hub's",
            remedy="see what taking them over would do: `hub adopt --check`",
        )


async def require_current(url: str) -> None:
    """Raise Stop unless the database has exactly this program's schema."""
    with translated("reading the schema's version"):
        connection = await asyncpg.connect(url, timeout=10)
        try:
            await _refuse_old_tables(connection)
            exists = await connection.fetchval("SELECT to_regclass('hub.schema_migrations') IS NOT NULL")
            rows = await connection.fetch("SELECT version, checksum FROM hub.schema_migrations") if exists else []
        finally:
            await connection.close()
    todo = pending(migrations(), {row["version"]: row["checksum"] for row in rows})
    if todo:
        raise Stop(f"the database's schema is {len(todo)} migration(s) behind", remedy="run `hub migrate`")
