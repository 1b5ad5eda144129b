"""What stands in an old database: tables, keys, views, and what is odd about them. Looking changes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import asyncpg

from shared.postgres.adopting.numbering import FIXED, Numbering, renumber
from shared.postgres.adopting.spelling import ADDITIONAL, ADDRESS, PAYMENT, TEAM, Spelling, named, quoted

Plain: TypeAlias = "asyncpg.Connection[Any]"

OLD = "hub_old"  # where old tables are kept aside
NEW = "hub_new"  # where the new names wait for their turn


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: In the order in which they are taken over, with the columns of both dialects; others are supersets.
KNOWN: dict[str, frozenset[str]] = {
    "timing_partners": _words(
        "timing_partner_id company_name access_password contact_email api_access_enabled created_at updated_at"
    ),
    "providers": _words("provider_id id name provider_name provider_type api_base_url rate_limit_per_hour created_at"),
    "partner_provider_credentials": _words(
        "partner_provider_credential_id id provider_id timing_partner_id principal secret credential_type"
        " additional_config created_at updated_at"
    ),
    "runsignup_races": _words(
        "race_id name last_date last_end_date next_date next_end_date is_draft_race is_private_race"
        " is_registration_open created last_modified description url external_race_url external_results_url fb_page_id"
        " fb_event_id address timezone logo_url real_time_notifications_enabled fetched_date credentials_used"
        " timing_partner_id created_at street2"
    )
    | {*ADDRESS},
    "runsignup_events": _words(
        "event_id race_id name details start_time end_time age_calc_base_date registration_opens event_type distance"
        " volunteer require_dob require_phone giveaway fetched_date credentials_used timing_partner_id created_at"
    ),
    "runsignup_participants": _words(
        "id race_id event_id registration_id user_id first_name middle_name last_name email address dob gender phone"
        " profile_image_url bib_num chip_num age registration_date team_info payment_info additional_data fetched_date"
        " credentials_used timing_partner_id created_at last_modified"
    )
    | {*ADDRESS, *TEAM, *PAYMENT, *ADDITIONAL},
    "sync_history": _words(
        "sync_history_id id timing_partner_id provider_id event_id operation_type sync_direction sync_time status"
        " num_of_synced_records entries_success entries_failed error_details data_snapshot duration_seconds"
        " callback_url reason provider_name sync_type records_processed started_at completed_at error_message"
        " created_at"
    ),
}
_TIMES = _words(
    "start_time end_time registration_opens registration_date fetched_date created_at last_modified created"
)
#: Without these a table of the name is another program's.
NEEDED = {
    "timing_partners": {"timing_partner_id"},
    "partner_provider_credentials": {"timing_partner_id", "provider_id", "principal", "secret"},
    "runsignup_races": {"race_id"},
    "runsignup_events": {"event_id", "race_id"},
    "runsignup_participants": {"registration_id", "event_id"},
}
TEXTS = frozenset({"text", "character varying"})
UNIFIED = ("unified_participants", "unified_events", "unified_results")
STAY = ("timing_partners", "providers", "partner_provider_credentials")  # tables in the new schema, too
PEOPLE = ("runsignup_races", "runsignup_events", "runsignup_participants")


@dataclass(frozen=True, slots=True)
class OldTable:
    """A table of an old name (something else of that name is in the way)."""

    name: str
    columns: Mapping[str, str]
    is_table: bool
    is_ours: bool  # whether this role may alter it
    rows: int = 0
    size: int = 0  # bytes on disk, indexes included

    @property
    def spelling(self) -> Spelling:
        """Its columns, as expressions."""
        return Spelling(self.columns)

    @property
    def unknown(self) -> list[str]:
        """Columns that neither dialect has."""
        return sorted(set(self.columns) - KNOWN[self.name])


@dataclass(frozen=True, slots=True)
class Dependent:
    """A view of anybody's that reads one of the old tables."""

    schema: str
    name: str
    text: str  # its statement, the old names unqualified
    kind: str  # v or m
    options: str  # of the view
    indexes: tuple[str, ...]
    reads_others: bool  # tables that are not adopted, too
    is_ours: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about the old database that an operator should know."""

    what: str
    where: str
    count: int
    consequence: str


@dataclass(frozen=True, slots=True)
class Found:
    """All that looking brought."""

    tables: Mapping[str, OldTable]
    dependents: tuple[Dependent, ...]
    numbering: Numbering
    zone: str
    findings: list[Finding] = field(default_factory=list)
    blockers: list[str] = field(default_factory=list)

    @property
    def dialect(self) -> str:
        """The word for how the people's table is spelled."""
        people = self.tables.get("runsignup_participants")
        if people is None:
            return "none"
        nested = {"team_info", "payment_info", "additional_data"} & set(people.columns)
        flat = {*TEAM, *PAYMENT, *ADDITIONAL} & set(people.columns)
        return "nested and flat" if nested and flat else "flat" if flat else "nested"


async def old_tables(connection: Plain, schema: str = "public") -> dict[str, OldTable]:
    """The tables of old names that stand in a schema, without counting them."""
    rows = await connection.fetch(
        """
        SELECT c.relname, c.relkind = 'r' AS is_table, pg_has_role(c.relowner, 'USAGE') AS is_ours,
            a.attname, format_type(a.atttypid, NULL) AS type
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE n.nspname = $1 AND c.relname = ANY($2) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
        ORDER BY c.relname, a.attnum
        """,
        schema,
        list(KNOWN),
    )
    columns: dict[str, dict[str, str]] = {}
    about = {}
    for row in rows:
        columns.setdefault(row["relname"], {})[row["attname"]] = row["type"]
        about[row["relname"]] = row
    return {
        name: OldTable(name, columns[name], about[name]["is_table"], about[name]["is_ours"])
        for name in KNOWN
        if name in columns
    }


async def dependents(connection: Plain, tables: list[str]) -> tuple[Dependent, ...]:
    """Views that read the old tables, directly or through others, in the order in which they can be made again.

    The old unified views are among them whatever they read. The search path must be ``public`` alone.
    """
    rows = await connection.fetch(
        """
        WITH RECURSIVE old AS (
            SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = 'public' AND c.relname = ANY($1)
        ), link AS (
            SELECT DISTINCT r.ev_class AS above, d.refobjid AS below
            FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
            WHERE d.refclassid = 'pg_class'::regclass AND r.ev_class <> d.refobjid
        ), above AS (
            SELECT oid, 0 AS depth FROM old
            UNION SELECT l.above, a.depth + 1 FROM above a JOIN link l ON l.below = a.oid
        ), wanted AS (
            SELECT oid, max(depth) AS depth FROM above WHERE oid NOT IN (SELECT oid FROM old) GROUP BY oid
            UNION SELECT c.oid, 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = 'public' AND c.relname = ANY($2) AND c.relkind IN ('v', 'm')
              AND c.oid NOT IN (SELECT oid FROM above)
        ), below AS (
            SELECT w.oid AS top, l.below FROM wanted w JOIN link l ON l.above = w.oid
            UNION SELECT b.top, l.below FROM below b JOIN link l ON l.above = b.below
        )
        SELECT n.nspname, c.relname, c.relkind::text AS kind, pg_get_viewdef(c.oid) AS text, c.reloptions,
            pg_has_role(c.relowner, 'USAGE') AS is_ours,
            ARRAY(SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i WHERE i.indrelid = c.oid) AS indexes,
            EXISTS (SELECT 1 FROM below b JOIN pg_class o ON o.oid = b.below WHERE b.top = c.oid
                AND o.relkind IN ('r', 'p', 'f') AND b.below NOT IN (SELECT oid FROM old)) AS reads_others
        FROM wanted w JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname NOT IN ('hub', 'hub_old', 'hub_new')
        ORDER BY w.depth, n.nspname, c.relname
        """,
        tables,
        list(UNIFIED),
    )
    return tuple(
        Dependent(
            row["nspname"],
            row["relname"],
            row["text"].rstrip(";"),
            row["kind"],
            ", ".join(row["reloptions"] or ()),
            tuple(row["indexes"]),
            row["reads_others"],
            row["is_ours"],
        )
        for row in rows
    )


async def numbering(connection: Plain, tables: Mapping[str, OldTable], said: int | None) -> Numbering:
    """What the old provider numbers mean: by name, by what the keys prove, by what the operator says."""
    names: dict[int, str] = {}
    if "providers" in tables:
        spelling = tables["providers"].spelling
        rows = await connection.fetch(
            f"SELECT {spelling.whole('provider_id', 'id')} AS number, {spelling.text('name', 'provider_name')} AS name"
            " FROM public.providers AS o"
        )
        names = {row["number"]: row["name"] or "" for row in rows if row["number"] is not None}
    proven: set[int] = set()
    if "partner_provider_credentials" in tables:
        used = [
            f"SELECT credentials_used::text FROM public.{name}"
            for name in PEOPLE
            if "credentials_used" in getattr(tables.get(name), "columns", ())
        ]
        if used:
            proven = {
                row[0]
                for row in await connection.fetch(
                    "SELECT DISTINCT provider_id::integer FROM public.partner_provider_credentials"
                    f" WHERE provider_id IS NOT NULL AND principal::text IN ({' UNION '.join(used)})"
                )
            }
    return renumber(names, proven, said)


async def zone_of(connection: Plain, said: str | None) -> str | None:
    """The zone in which the old programs wrote the present time; None when there is no such zone."""
    if said is None:
        default: str | None = await connection.fetchval(
            "SELECT reset_val FROM pg_settings WHERE name = 'TimeZone'"
        )  # of the server and the database, whatever this session says
        said = default or "UTC"
    known: str | None = await connection.fetchval(
        "SELECT name FROM pg_timezone_names WHERE lower(name) = lower($1)", said
    )
    return known


async def look(connection: Plain, *, zone: str | None = None, runsignup: int | None = None) -> Found:
    """Look at everything; reads each table once or twice, changes nothing, takes no lock that anybody waits for."""
    tables = await old_tables(connection)
    counted = {}
    for name, table in tables.items():
        counted[name] = OldTable(
            name,
            table.columns,
            table.is_table,
            table.is_ours,
            await connection.fetchval(f"SELECT count(*) FROM public.{named(name)}"),
            await connection.fetchval("SELECT pg_total_relation_size($1::regclass)", f"public.{named(name)}"),
        )
    known_zone = await zone_of(connection, zone)
    found = Found(
        counted,
        await dependents(connection, list(tables)),
        await numbering(connection, tables, runsignup),
        known_zone or "UTC",
    )
    if known_zone is None:
        found.blockers.append(f"there is no time zone {zone!r}; say another one with --zone, as Area/City")
    _block(found)
    if not found.blockers:
        await _examine(connection, found)
    return found


def _block(found: Found) -> None:
    for name, table in found.tables.items():
        missing = NEEDED.get(name, set()) - set(table.columns)
        if missing:
            found.blockers.append(
                f"public.{name} lacks {', '.join(sorted(missing))}: it is another program's table; rename it, or move "
                "it to another schema"
            )
        if not table.is_table:
            found.blockers.append(f"public.{name} is no plain table; make one of it (CREATE TABLE … AS), or rename it")
        if not table.is_ours:
            found.blockers.append(
                f"public.{name} belongs to another role; use an address whose user owns it, or is a superuser"
            )
    for view in found.dependents:
        if not view.is_ours:
            found.blockers.append(
                f"the view {view.schema}.{view.name} belongs to another role; use an address whose user owns it, or is "
                "a superuser"
            )
    if found.numbering.doubt:
        found.blockers.append(found.numbering.doubt)


async def _examine(connection: Plain, found: Found) -> None:
    told = found.findings
    for note in found.numbering.notes:
        told.append(Finding("provider number", "providers", 1, note))
    await _keys(connection, found)
    for name, ids in (
        ("runsignup_races", ("race_id",)),
        ("runsignup_events", ("event_id", "race_id")),
        ("runsignup_participants", ("registration_id", "event_id")),
    ):
        if name in found.tables:
            await _rows(connection, found, name, ids)
    for name, table in found.tables.items():
        local = sorted(
            column
            for column, kind in table.columns.items()
            if column in KNOWN[name] and (kind == "timestamp without time zone" or (kind in TEXTS and column in _TIMES))
        )
        if local and table.rows:
            told.append(
                Finding(
                    "times without zone",
                    name,
                    table.rows,
                    f"{', '.join(local)}: made absolute ({_zones(name, found.zone)})",
                )
            )
        if table.unknown:
            told.append(
                Finding(
                    "unknown columns",
                    name,
                    len(table.unknown),
                    f"{', '.join(table.unknown)}: "
                    + (
                        "kept"
                        if (name in NEEDED and name not in PEOPLE) or name == "providers"
                        else f"stay in {OLD} only"
                    ),
                )
            )
    await _beside(connection, found)
    for view in found.dependents:
        if view.name in UNIFIED and view.schema == "public" and not view.reads_others:
            consequence = "replaced by the hub's own"
        else:
            consequence = "made again over the new names, from its own text"
        told.append(Finding("view in the way", f"{view.schema}.{view.name}", 1, consequence))


async def _beside(connection: Plain, found: Found) -> None:
    """What hangs on the old tables and does not come along."""
    rows = await connection.fetch(
        "SELECT tgname, tgrelid::regclass::text AS place FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid"
        " WHERE NOT tgisinternal AND relnamespace = 'public'::regnamespace AND relname = ANY($1) ORDER BY 2, 1",
        list(found.tables),
    )
    for row in rows:
        found.findings.append(
            Finding("trigger", row["place"], 1, f"{row['tgname']} stays with the old table, and fires no more")
        )
    if found.numbering.moved and "providers" in found.tables:
        rows = await connection.fetch(
            "SELECT DISTINCT conrelid::regclass::text AS place FROM pg_constraint WHERE contype = 'f'"
            " AND confrelid = 'public.providers'::regclass AND NOT conrelid::regclass::text = ANY($1)",
            list(found.tables),
        )
        for row in rows:
            found.findings.append(
                Finding("provider numbers elsewhere", row["place"], 1, "stay the old ones: renumber them by hand")
            )


def _zones(name: str, zone: str) -> str:
    if name == "runsignup_events":
        return f"start and end in the race's zone, the rest US Eastern, fetched and created in {zone}"
    if name in PEOPLE:
        return f"US Eastern, fetched and created in {zone}"
    return zone


async def _keys(connection: Plain, found: Found) -> None:
    told = found.findings
    keys = found.tables.get("partner_provider_credentials")
    if keys is None:
        return
    table = "public.partner_provider_credentials"
    clear = await connection.fetchval(f"SELECT count(*) FROM {table} WHERE coalesce(secret::text, '') <> ''")
    if clear:
        told.append(Finding("clear-text keys", keys.name, clear, "sealed with HUB_SECRET_KEY, the clear text emptied"))
    if unusable := await connection.fetchval(f"SELECT count(*) FROM {table} AS o WHERE NOT ({usable_key(found)})"):
        told.append(
            Finding("keys without use", keys.name, unusable, f"no partner, provider or key in them: stay in {OLD}")
        )
    for name in PEOPLE:
        if "credentials_used" in getattr(found.tables.get(name), "columns", ()):
            count = await connection.fetchval(
                f"SELECT count(*) FROM public.{name} WHERE credentials_used::text IN"
                f" (SELECT unnest(ARRAY[principal::text, secret::text]) FROM {table})"
            )
            if count:
                told.append(Finding("clear-text keys", name, count, "credentials_used becomes the key's fingerprint"))
    if "sync_history" in found.tables:
        count = await connection.fetchval(
            f"SELECT count(*) FROM public.sync_history AS o WHERE EXISTS (SELECT 1 FROM {table} k"
            " WHERE length(k.secret::text) > 5 AND strpos(o::text, k.secret::text) > 0)"
        )
        if count:
            told.append(Finding("clear-text keys", "sync_history", count, "cut out of the text that holds them"))


def usable_key(found: Found) -> str:
    """What a row of keys must have, as a condition."""
    spelling = found.tables["partner_provider_credentials"].spelling
    partners = (
        "EXISTS (SELECT 1 FROM public.timing_partners t WHERE t.timing_partner_id::text = o.timing_partner_id::text)"
        if "timing_partners" in found.tables
        else "o.timing_partner_id IS NOT NULL"
    )
    known = [*found.numbering.ours, *FIXED] if "providers" in found.tables else list(FIXED)
    numbers = ", ".join(str(number) for number in sorted(set(known)))
    return (
        f"{spelling.word('principal')} IS NOT NULL AND {partners}"
        f" AND coalesce({spelling.whole('provider_id')} IN ({numbers}), false)"
    )


async def _rows(connection: Plain, found: Found, name: str, ids: tuple[str, ...]) -> None:
    table = found.tables[name]
    spelling = table.spelling
    keys = [spelling.identity(each) for each in ids]
    ghost = " OR ".join(f"{key} IS NULL" for key in keys)
    row = await connection.fetchrow(
        f"""
        SELECT count(*) FILTER (WHERE {ghost}) AS ghosts,
            count(*) FILTER (WHERE NOT ({ghost})) AS named,
            count(DISTINCT ({spelling.whole("timing_partner_id")}, {keys[0]})) FILTER (WHERE NOT ({ghost})) AS people
        FROM public.{named(name)} AS o
        """
    )
    assert row is not None
    if row["ghosts"]:
        found.findings.append(
            Finding("ghost rows without ids", name, row["ghosts"], f"not taken over; they stay in {OLD}.{name}")
        )
    if row["named"] > row["people"]:
        found.findings.append(
            Finding(
                "duplicates", name, row["named"] - row["people"], "merged: the newest one's fields, the first one's id"
            )
        )
    texts = [
        column for column, kind in table.columns.items() if kind in TEXTS and column in _TIMES and column in KNOWN[name]
    ]
    for column in texts:
        count = await connection.fetchval(
            f"SELECT count(*) FROM public.{named(name)} AS o WHERE {spelling.word(column)} IS NOT NULL"
            f" AND pg_temp.hub_instant(o.{named(column)}::text, {quoted('UTC')}) IS NULL"
        )
        if count:
            found.findings.append(
                Finding("times that cannot be read", f"{name}.{column}", count, "left empty; the first sync fills them")
            )
