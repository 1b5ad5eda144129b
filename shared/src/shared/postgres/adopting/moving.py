"""Names that change hands: old tables set aside, the new ones in their place, and what hangs on them.

Every step is noted in ``hub_old.adoption``, in its own transaction: it says how far an adoption came, and what the way
back is. Whoever drops the schema ``hub_old`` drops the way back with it.
"""

import json
from collections.abc import Mapping
from typing import Any

import asyncpg

from shared.postgres.adopting.looking import KNOWN, NEW, OLD, Dependent, Plain
from shared.postgres.adopting.spelling import ADDITIONAL, ADDRESS, AMOUNTS, NUMBERS, PAYMENT, TEAM, named, quoted

NOTES = f"""
CREATE SCHEMA {OLD};
CREATE SCHEMA {NEW};
COMMENT ON SCHEMA {OLD} IS 'What hub adopt set aside; hub adopt --undo needs it. Drop it when the hub is proven.';
CREATE TABLE {OLD}.adoption (
    step bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    name text NOT NULL,
    note jsonb NOT NULL DEFAULT '{{}}',
    at timestamptz NOT NULL,
    UNIQUE (kind, name)
);
"""


async def note(connection: Plain, at: Any, kind: str, name: str, what: Mapping[str, Any] | None = None) -> None:
    """Write down a step that was taken."""
    await connection.execute(
        f"INSERT INTO {OLD}.adoption (kind, name, note, at) VALUES ($1, $2, $3, $4)",
        kind,
        name,
        json.dumps(what or {}),
        at,
    )


async def noted(connection: Plain, kind: str) -> dict[str, dict[str, Any]]:
    """The steps of one kind, in their order; empty when nothing was adopted."""
    if not await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", f"{OLD}.adoption"):
        return {}
    rows = await connection.fetch(f"SELECT name, note FROM {OLD}.adoption WHERE kind = $1 ORDER BY step", kind)
    return {row["name"]: json.loads(row["note"]) for row in rows}


async def move(connection: Plain, name: str, source: str, target: str) -> None:
    """Put a table or view into another schema, with its indexes and sequences."""
    await connection.execute(f"ALTER TABLE {source}.{named(name)} SET SCHEMA {target}")


async def exchange(connection: Plain, name: str, at: Any) -> None:
    """Set the old table aside and put the new one in its place: rights, and other tables' constraints, come along."""
    links = await connection.fetch(
        """
        SELECT c.conname, c.conrelid::regclass::text AS holder, pg_get_constraintdef(c.oid) AS definition
        FROM pg_constraint c JOIN pg_class h ON h.oid = c.conrelid JOIN pg_namespace n ON n.oid = h.relnamespace
        WHERE c.contype = 'f' AND c.conparentid = 0 AND c.confrelid = $1::regclass AND c.conrelid <> c.confrelid
          AND n.nspname NOT IN ('hub', 'hub_old', 'hub_new')
          AND NOT (n.nspname = 'public' AND h.relname = ANY($2))
        """,
        f"public.{name}",
        list(KNOWN),
    )
    for link in links:
        await connection.execute(f"ALTER TABLE {link['holder']} DROP CONSTRAINT {named(link['conname'])}")
    await move(connection, name, "public", OLD)
    await move(connection, name, NEW, "public")
    for link in links:
        kept = await _constrain(connection, link["holder"], link["conname"], link["definition"])
        what = {"holder": link["holder"], "name": link["conname"], "definition": link["definition"], "kept": kept}
        await note(connection, at, "constraint", f"{link['holder']}.{link['conname']}", what)
    await same_rights(connection, f"{OLD}.{named(name)}", f"public.{named(name)}")


async def _constrain(connection: Plain, holder: str, name: str, definition: str) -> bool:
    """Constrain another table by the new one; False when that cannot be (a view, a number that means another thing)."""
    try:
        async with connection.transaction():
            await connection.execute(f"ALTER TABLE {holder} ADD CONSTRAINT {named(name)} {definition}")
    except asyncpg.PostgresError:
        return False
    return True


async def same_rights(connection: Plain, old: str, new: str) -> None:
    """Give whoever had rights on the old table, or on the sequence of its number, the same on the new one.

    The old owner, where that is another role, keeps reading and writing as far as the new one can be written.
    """
    sequences = """
        SELECT s.oid, s.relacl, 'SEQUENCE' AS what FROM pg_depend d JOIN pg_class s ON s.oid = d.objid
        WHERE d.refobjid = {0}::regclass AND d.deptype IN ('a', 'i') AND s.relkind = 'S'
    """
    rows = await connection.fetch(
        f"""
        WITH old AS (
            SELECT oid, relacl, 'TABLE' AS what FROM pg_class WHERE oid = $1::regclass
            UNION ALL {sequences.format("$1")}
        ), new AS (
            SELECT oid, 'TABLE' AS what FROM pg_class WHERE oid = $2::regclass
            UNION ALL SELECT oid, what FROM ({sequences.format("$2")}) AS s
        )
        SELECT DISTINCT new.what, new.oid::regclass::text AS target, a.privilege_type,
            CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS grantee
        FROM old JOIN new USING (what), aclexplode(coalesce(old.relacl, acldefault(
            CASE old.what WHEN 'SEQUENCE' THEN 's'::"char" ELSE 'r'::"char" END,
            (SELECT relowner FROM pg_class WHERE oid = old.oid)))) AS a
        WHERE a.grantee <> (SELECT relowner FROM pg_class WHERE oid = new.oid)
          AND (a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE') OR new.what = 'SEQUENCE')
        """,
        old,
        new,
    )
    for row in rows:
        await connection.execute(f"GRANT {row['privilege_type']} ON {row['what']} {row['target']} TO {row['grantee']}")


#: Columns of the second spelling that the new tables do not have, as expressions over those that they have.
ALIASES = {
    "providers": {"id": "provider_id", "provider_name": "name"},
    "partner_provider_credentials": {"id": "partner_provider_credential_id"},
    "sync_history": {"id": "sync_history_id", "created_at": "sync_time"},
    "runsignup_races": {key: f"address ->> {quoted(key)}" for key in ("street2", *ADDRESS)},
    "runsignup_participants": {
        **{key: f"address ->> {quoted(key)}" for key in ADDRESS},
        **{key: f"team_info ->> {quoted(key)}" for key in TEAM},
        **{key: f"payment_info ->> {quoted(key)}" for key in PAYMENT},
        **{key: f"additional_data ->> {quoted(key)}" for key in ADDITIONAL},
    },
}


async def add_spellings(connection: Plain, name: str, columns: Mapping[str, str]) -> None:
    """Let the new table or view (in ``public``) answer to the old table's other spellings, too.

    Generated columns of a table, further columns of a view; each of a type that the old readers can compare with.
    """
    there = {
        row["attname"]: row["relkind"]
        for row in await connection.fetch(
            "SELECT attname, relkind::text FROM pg_attribute JOIN pg_class c ON c.oid = attrelid"
            " WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped",
            f"public.{name}",
        )
    }
    wanted = {key: value for key, value in ALIASES.get(name, {}).items() if key in columns and key not in there}
    if not wanted:
        return
    if "v" not in there.values():
        for key, value in wanted.items():
            kind = "integer" if key == "id" else "text"
            await connection.execute(
                f"ALTER TABLE public.{named(name)} ADD COLUMN {named(key)} {kind} GENERATED ALWAYS AS ({value}) STORED"
            )
        return
    text = await connection.fetchval("SELECT rtrim(pg_get_viewdef($1::regclass), ';')", f"public.{name}")
    further = ", ".join(f"{_typed(key, value, columns[key])} AS {named(key)}" for key, value in wanted.items())
    await connection.execute(f"CREATE OR REPLACE VIEW public.{named(name)} AS SELECT v.*, {further} FROM ({text}) AS v")


def _typed(key: str, value: str, kind: str) -> str:
    kind = kind.split("(", maxsplit=1)[0]
    if "->>" not in value:
        return value
    if kind in {"json", "jsonb"}:
        return value.replace("->>", "->")
    if kind == "boolean":
        return f"hub.truth({value})"
    if kind in {"smallint", "integer", "bigint"}:
        return f"hub.whole_number({value})"
    if kind in NUMBERS or key in AMOUNTS:
        number = f"CASE WHEN {value} ~ '^-?[0-9]+([.][0-9]+)?$' THEN ({value})::numeric END"
        return number if kind in NUMBERS else f"({number})::text"
    return value


async def make_again(connection: Plain, view: Dependent, at: Any) -> None:
    """Set a view that read old tables aside, and make it again from its own text, which now means the new names."""
    aside = view.name if view.schema == "public" else f"{view.schema}__{view.name}"
    here, there = f"{named(view.schema)}.{named(view.name)}", f"{OLD}.{named(aside)}"
    await connection.execute(f"ALTER TABLE {here} SET SCHEMA {OLD}")
    if aside != view.name:
        await connection.execute(f"ALTER TABLE {OLD}.{named(view.name)} RENAME TO {named(aside)}")
    kind = "MATERIALIZED VIEW" if view.kind == "m" else "VIEW"
    options = f" WITH ({view.options})" if view.options else ""
    await connection.execute(f"CREATE {kind} {here}{options} AS {view.text}")
    for index in view.indexes:
        await connection.execute(index)
    await same_rights(connection, there, here)
    what = {"schema": view.schema, "name": view.name, "aside": aside, "kind": kind}
    await note(connection, at, "view", f"{view.schema}.{view.name}", what)


async def put_back(connection: Plain, view: Mapping[str, Any]) -> None:
    """Give a view that was set aside its name back; it reads the old tables still."""
    if view["aside"] != view["name"]:
        await connection.execute(f"ALTER TABLE {OLD}.{named(view['aside'])} RENAME TO {named(view['name'])}")
    await connection.execute(f"ALTER TABLE {OLD}.{named(view['name'])} SET SCHEMA {named(view['schema'])}")


async def constrain_again(connection: Plain, link: Mapping[str, Any]) -> None:
    """Constrain another table by the old one again; rows that came since, and do not fit, stay unproven."""
    if not await _constrain(connection, link["holder"], link["name"], link["definition"]):
        await _constrain(connection, link["holder"], link["name"], f"{link['definition']} NOT VALID")
