"""An adoption, step by step, and the way back. Each step is one transaction; one that was interrupted goes on.

First (one transaction) the schema comes into being beside the old tables, its names waiting in ``hub_new``. Then, table
by table: the core is filled from the old table, which everybody still reads; the names are exchanged; the step is
noted. At last the views that read old tables are made again. So a reader finds, under each name and at any moment,
the whole old table or the whole new one.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from shared.errors import Later, Stop
from shared.postgres.adopting import filling, moving
from shared.postgres.adopting.filling import key_name
from shared.postgres.adopting.looking import (
    NEW,
    OLD,
    STAY,
    UNIFIED,
    Dependent,
    Found,
    OldTable,
    Plain,
    look,
)
from shared.postgres.adopting.numbering import Numbering
from shared.postgres.adopting.spelling import READERS, named
from shared.postgres.errors import translated
from shared.postgres.migrate import LOCK, OLD_NAMES, apply
from shared.secrets import Sealer

#: How long a step waits for a table that somebody else has locked.
PATIENCE = "10s"

Tell = Callable[[str, int, int], None]  # a table, rows done, rows there are


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one old table."""

    name: str
    rows: int
    taken: int


@asynccontextmanager
async def _connected(url: str, doing: str) -> AsyncIterator[Plain]:
    """A connection that resolves names in ``public`` alone, as the old programs did, and may take its time."""
    with translated(doing):
        connection = await asyncpg.connect(
            url, timeout=10, server_settings={"search_path": "public", "application_name": "hub:adopt"}
        )
        try:
            await connection.execute("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0")
            await connection.execute(READERS)
            yield connection
        except asyncpg.LockNotAvailableError:
            raise Later(
                f"{doing}: somebody holds a lock on one of the tables, and the step was undone; end the programs that "
                "use them (see pg_stat_activity), and try again"
            ) from None
        except asyncpg.DependentObjectsStillExistError as error:
            raise Stop(f"{doing}: {error.detail or error.message}; drop that first. Nothing was changed") from None
        finally:
            await connection.close()


async def state(url: str) -> str:
    """Where a database stands: ``nothing`` to adopt, ``old``, ``half`` adopted, ``adopted``, or ``ours`` alone."""
    async with _connected(url, "looking at the database") as connection:
        if await moving.noted(connection, "begun"):
            return "adopted" if await moving.noted(connection, "done") else "half"
        if await connection.fetchval("SELECT to_regclass('hub.races') IS NOT NULL"):
            return "ours"
        taken = await connection.fetchval(
            "SELECT count(*) FROM unnest($1::text[]) AS name WHERE to_regclass('public.' || name) IS NOT NULL",
            OLD_NAMES,
        )
        return "old" if taken else "nothing"


async def check(url: str, *, zone: str | None = None, runsignup: int | None = None) -> Found:
    """Look, and change nothing."""
    async with _connected(url, "looking at the old tables") as connection:
        return await look(connection, zone=zone, runsignup=runsignup)


async def adopt(
    url: str, *, sealer: Sealer, zone: str | None = None, runsignup: int | None = None, tell: Tell
) -> list[Taken]:
    """Take the old tables over, or go on where an interrupted adoption stopped.

    Raises Stop when something is in the way (nothing was changed then), Later when a table is in use.
    """
    async with _connected(url, "adopting") as connection:
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
        now = await connection.fetchval("SELECT clock_timestamp()")
        await connection.execute(f"SET lock_timeout = '{PATIENCE}'")
        begun = await moving.noted(connection, "begun")
        if begun:
            found = _recalled(begun["old tables"])
        else:
            found = await look(connection, zone=zone, runsignup=runsignup)
            if found.blockers:
                raise Stop("; ".join(found.blockers) + ". Nothing was changed")
            await _prepare(connection, found, now)
        await filling.know_keys(connection, found, sealer)
        done = await moving.noted(connection, "table")
        for name, table in found.tables.items():
            if name not in done:
                tell(name, 0, table.rows)
                await _take(connection, found, table, sealer, now, tell)
        if not await moving.noted(connection, "done"):
            await _finish(connection, found, now)
            await _tidy(connection)
        return [
            Taken(name, found.tables[name].rows, int(each["taken"]))
            for name, each in (await moving.noted(connection, "table")).items()
        ]


async def _prepare(connection: Plain, found: Found, now: datetime) -> None:
    """The schema, beside the old tables: one transaction, after which every old name still is the old table."""
    unified = [each.name for each in found.dependents if each.schema == "public" and each.name in UNIFIED]
    async with connection.transaction():
        await connection.execute(moving.NOTES)
        await moving.note(connection, now, "begun", "old tables", _remembered(found))
        for name in (*found.tables, *unified):
            await moving.move(connection, name, "public", OLD)
        await apply(connection)
        for name in (*found.tables, *unified):
            await moving.move(connection, name, "public", NEW)
            await moving.move(connection, name, OLD, "public")


async def _take(connection: Plain, found: Found, table: OldTable, sealer: Sealer, now: datetime, tell: Tell) -> None:
    name, taken = table.name, 0
    async with connection.transaction():
        # nobody writes meanwhile; everybody reads
        await connection.execute(f"LOCK TABLE public.{named(name)} IN SHARE ROW EXCLUSIVE MODE")
        if name == "runsignup_participants":
            async for taken in filling.participants(connection, found, now):
                tell(name, taken, table.rows)
        else:
            taken = await FILL[name](connection, found, now)
        await filling.hide_keys(connection, found, name)
        await moving.exchange(connection, name, now)
        await moving.add_spellings(connection, name, table.columns)
        if name == "partner_provider_credentials":
            await filling.seal(connection, found, sealer, now)
        await moving.note(connection, now, "table", name, {"taken": taken})
    tell(name, table.rows, table.rows)


FILL = {
    "timing_partners": filling.partners,
    "providers": filling.providers,
    "partner_provider_credentials": filling.credentials,
    "runsignup_races": filling.races,
    "runsignup_events": filling.events,
    "sync_history": filling.history,
}


async def _finish(connection: Plain, found: Found, now: datetime) -> None:
    """Views that read old tables are made again, each from its own text."""
    async with connection.transaction():
        for view in found.dependents:
            if view.schema == "public" and view.name in UNIFIED and not view.reads_others:
                await moving.move(connection, view.name, "public", OLD)
                await moving.move(connection, view.name, NEW, "public")
                await moving.same_rights(connection, f"{OLD}.{named(view.name)}", f"public.{named(view.name)}")
                what = {"schema": "public", "name": view.name, "aside": view.name, "kind": "VIEW"}
                await moving.note(connection, now, "view", f"public.{view.name}", what)
                continue
            try:
                async with connection.transaction():
                    await moving.make_again(connection, view, now)
            except asyncpg.PostgresError as error:
                raise Stop(
                    f"the view {view.schema}.{view.name} cannot be made again over the new names ({error.message}); "
                    "drop or alter it (hub_old.adoption has its text), then go on with `hub adopt`"
                ) from None
        await connection.execute(f"DROP SCHEMA {NEW} CASCADE")
        await moving.note(connection, now, "done", "adopted")


async def _tidy(connection: Plain) -> None:
    """Statistics for the planner; and no page that still holds a secret's bytes."""
    await connection.execute("ANALYZE hub.races, hub.events, hub.participants, hub.adopted_history")
    for schema in ("public", OLD):
        if await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", f"{schema}.partner_provider_credentials"):
            await connection.execute(f"VACUUM FULL {schema}.partner_provider_credentials")


def _remembered(found: Found) -> dict[str, Any]:
    return {
        "zone": found.zone,
        "ours": list(found.numbering.ours.items()),
        "further": list(found.numbering.further.items()),
        "tables": [
            {"name": each.name, "columns": dict(each.columns), "rows": each.rows} for each in found.tables.values()
        ],
        "views": [
            {field: getattr(each, field) for field in Dependent.__dataclass_fields__} for each in found.dependents
        ],
    }


def _recalled(note: Mapping[str, Any]) -> Found:
    tables = {
        each["name"]: OldTable(each["name"], each["columns"], is_table=True, is_ours=True, rows=each["rows"])
        for each in note["tables"]
    }
    views = tuple(Dependent(**{**each, "indexes": tuple(each["indexes"])}) for each in note["views"])
    return Found(tables, views, Numbering(dict(note["ours"]), dict(note["further"])), note["zone"])


@dataclass(frozen=True, slots=True)
class Loss:
    """What only the new tables have: it goes when an adoption is taken back."""

    partners: int
    keys: int


async def loss(url: str) -> Loss:
    """Partners and keys that were added since the adoption."""
    async with _connected(url, "looking at what was added") as connection:
        counts = []
        for name, number in (("timing_partners", "timing_partner_id"), (KEYS, "partner_provider_credential_id")):
            old = _recalled((await moving.noted(connection, "begun"))["old tables"]).tables.get(name)
            if old is None or name not in await moving.noted(connection, "table"):
                counts.append(0)
                continue
            column = old.spelling.identity(number, "id")
            counts.append(
                await connection.fetchval(
                    f"SELECT count(*) FROM public.{name} WHERE NOT {number}::text IN"
                    f" (SELECT {column} FROM {OLD}.{name} AS o WHERE {column} IS NOT NULL)"
                )
            )
        return Loss(*counts)


KEYS = "partner_provider_credentials"


async def undo(url: str, *, sealer: Sealer) -> list[str]:
    """Give every name its old table back, in one transaction, and drop the hub's schema; the tables given back.

    The old tables are as they were when each was taken over; keys stand in clear in them again. Raises Stop when
    there is no way back, when services run, or when something new hangs on the new tables.
    """
    async with _connected(url, "taking the adoption back") as connection:
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
        await connection.execute(f"SET lock_timeout = '{PATIENCE}'")
        begun = await moving.noted(connection, "begun")
        if not begun:
            raise Stop(f"there is nothing to take back: no adoption is noted in {OLD}.adoption")
        found = _recalled(begun["old tables"])
        await _require_quiet(connection)
        async with connection.transaction():
            exchanged = await moving.noted(connection, "table")
            views = await moving.noted(connection, "view")
            await _require_no_strangers(connection, list(views))
            if KEYS in exchanged:
                await _open_keys(connection, found, sealer)
            for view in reversed(views.values()):
                await connection.execute(f"DROP {view['kind']} {named(view['schema'])}.{named(view['name'])}")
            links = await moving.noted(connection, "constraint")
            for link in links.values():
                if link["kept"]:
                    await connection.execute(f"ALTER TABLE {link['holder']} DROP CONSTRAINT {named(link['name'])}")
            await connection.execute(f"DROP SCHEMA IF EXISTS {NEW} CASCADE; DROP SCHEMA hub CASCADE")
            before = {each.name for each in found.dependents if each.schema == "public"}
            for name in UNIFIED:  # those over the hub's tables went with its schema; the empty one hangs on none
                if name not in before:
                    await connection.execute(f"DROP VIEW IF EXISTS public.{name}")
            for name in reversed(STAY):
                if name in exchanged or name not in found.tables:
                    await connection.execute(f"DROP TABLE public.{name}")
            for name in exchanged:
                await moving.move(connection, name, OLD, "public")
            for view in views.values():
                await moving.put_back(connection, view)
            for link in links.values():
                await moving.constrain_again(connection, link)
            await connection.execute(f"DROP TABLE {OLD}.adoption; DROP SCHEMA {OLD}")
        return list(found.tables)


async def _require_quiet(connection: Plain) -> None:
    rows = await connection.fetch(
        "SELECT DISTINCT service FROM hub.service_beats WHERE beat_at > clock_timestamp() - interval '8 seconds'"
    )
    if rows:
        raise Stop(f"services run ({', '.join(row[0] for row in rows)}); stop them first. Nothing was changed")


async def _open_keys(connection: Plain, found: Found, sealer: Sealer) -> None:
    """Write the secrets of the old table's keys back into it, in clear, as the old programs need them."""
    number = found.tables[KEYS].spelling.identity("partner_provider_credential_id", "id")
    rows = await connection.fetch(
        f"SELECT k.*, c.sealed_secret FROM public.{KEYS} k JOIN hub.credentials c"
        " ON c.credential_id = k.partner_provider_credential_id"
    )
    for row in rows:
        await connection.execute(
            f"UPDATE {OLD}.{KEYS} AS o SET secret = $1 WHERE {number} = $2 AND o.secret = ''",
            sealer.open(row["sealed_secret"], key_name(row)),
            str(row["partner_provider_credential_id"]),
        )


async def _require_no_strangers(connection: Plain, ours: list[str]) -> None:
    """Nobody's view, made since the adoption, is dropped unasked."""
    rows = await connection.fetch(
        """
        SELECT DISTINCT n.nspname || '.' || v.relname AS name
        FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
        JOIN pg_class v ON v.oid = r.ev_class JOIN pg_namespace n ON n.oid = v.relnamespace
        JOIN pg_class b ON b.oid = d.refobjid AND d.refclassid = 'pg_class'::regclass
        JOIN pg_namespace m ON m.oid = b.relnamespace
        WHERE b.oid <> v.oid AND (m.nspname = 'hub' OR (m.nspname = 'public' AND b.relname = ANY($1)))
          AND n.nspname NOT IN ('hub', 'hub_new', 'hub_old') AND NOT n.nspname || '.' || v.relname = ANY($2)
          AND NOT (n.nspname = 'public' AND v.relname = ANY($1))
          -- what reads an old table that was not exchanged yet is as it was
          AND (m.nspname = 'hub' OR EXISTS (SELECT 1 FROM hub_old.adoption a WHERE a.kind = 'table'
              AND a.name = b.relname))
        """,
        list(OLD_NAMES),
        ours,
    )
    if rows:
        raise Stop(
            f"{', '.join(row[0] for row in rows)} read the hub's tables and would be lost; drop them first. "
            "Nothing was changed"
        )
