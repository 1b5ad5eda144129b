"""The core, filled from old tables: set by set, inside the caller's transaction. The old tables stand in ``public``."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any

from shared.postgres.adopting.looking import NEW, OLD, PEOPLE, Found, Plain, usable_key
from shared.postgres.adopting.spelling import ADDITIONAL, ADDRESS, EASTERN, PAYMENT, TEAM, named, quoted
from shared.postgres.credentials import seal_new
from shared.secrets import Sealer, fingerprint, row_name

#: What stands where a secret stood.
CUT = "[cut out]"
SHORTEST = 6  # a shorter secret would be cut out of innocent words


async def know_keys(connection: Plain, found: Found, sealer: Sealer) -> None:
    """Gather every text by which old rows name a key, with the fingerprint that takes its place, and the zones' names.

    Safe to repeat, also when the keys are sealed already.
    """
    await connection.execute(
        "CREATE TEMPORARY TABLE IF NOT EXISTS hub_keys (said text PRIMARY KEY, fingerprint text, partner integer,"
        " principal boolean);"
        "CREATE TEMPORARY TABLE IF NOT EXISTS hub_secrets (secret text PRIMARY KEY); TRUNCATE hub_keys, hub_secrets;"
        "CREATE TEMPORARY TABLE IF NOT EXISTS hub_zones AS SELECT DISTINCT ON (lower(name)) lower(name) AS folded, name"
        " FROM pg_timezone_names ORDER BY lower(name), name"
    )
    schemas = await _where(connection)
    rows = await _secrets(connection, found, schemas, sealer)
    keys: dict[str, tuple[str, int | None, bool]] = {}
    for principal, secret, owner in rows:
        for said, is_principal in ((secret, False), (principal, True)):
            if said:
                partner = owner if said not in keys or keys[said][1] == owner else None
                keys[said] = (fingerprint(principal), partner, is_principal)
    for name in PEOPLE:
        if "credentials_used" in getattr(found.tables.get(name), "columns", ()):
            for row in await connection.fetch(
                f"SELECT DISTINCT credentials_used::text FROM {schemas[name]}.{named(name)}"
                " WHERE credentials_used IS NOT NULL"
            ):
                keys.setdefault(row[0], (fingerprint(row[0]), None, False))
    await connection.executemany(
        "INSERT INTO hub_keys VALUES ($1, $2, $3, $4)", [(said, *rest) for said, rest in keys.items()]
    )
    await connection.executemany(
        "INSERT INTO hub_secrets VALUES ($1) ON CONFLICT DO NOTHING",
        [(secret,) for _, secret, _ in rows if secret and len(secret) >= SHORTEST],
    )


async def _secrets(
    connection: Plain, found: Found, schemas: dict[str, str], sealer: Sealer
) -> list[tuple[str, str | None, int | None]]:
    """Principal, secret and partner of every key, from where they stand by now."""
    if "partner_provider_credentials" not in found.tables:
        return []
    if await connection.fetchval(f"SELECT to_regclass('{NEW}.partner_provider_credentials') IS NULL"):
        sealed = await connection.fetch(
            "SELECT k.*, c.sealed_secret FROM public.partner_provider_credentials k"
            " JOIN hub.credentials c ON c.credential_id = k.partner_provider_credential_id"
        )
        return [
            (row["principal"], sealer.open(row["sealed_secret"], key_name(row)), row["timing_partner_id"])
            for row in sealed
        ]
    rows = await connection.fetch(
        "SELECT principal::text AS principal, nullif(secret::text, '') AS secret, timing_partner_id::integer AS partner"
        f" FROM {schemas['partner_provider_credentials']}.partner_provider_credentials WHERE principal IS NOT NULL"
    )
    return [(row["principal"], row["secret"], row["partner"]) for row in rows]


def key_name(row: Mapping[str, Any]) -> str:
    """What the secret of a row of keys is bound to."""
    return row_name(
        row["partner_provider_credential_id"], row["provider_id"], row["timing_partner_id"], row["principal"]
    )


async def _where(connection: Plain) -> dict[str, str]:
    """In which schema each old table stands by now."""
    rows = await connection.fetch(
        "SELECT relname, nspname FROM pg_class c JOIN pg_namespace n ON"
        " n.oid = c.relnamespace WHERE nspname IN ('public', 'hub_old') ORDER BY nspname = 'hub_old'"
    )
    return {row["relname"]: row["nspname"] for row in rows}


async def extra_columns(connection: Plain, found: Found, name: str) -> list[str]:
    """Give a new table the columns that only the old one has; their names."""
    table = found.tables[name]
    ours = {
        row[0]
        for row in await connection.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped",
            f"{NEW}.{name}",
        )
    }
    extra = [column for column in table.unknown if column not in ours]
    for column in extra:
        await connection.execute(f"ALTER TABLE {NEW}.{named(name)} ADD COLUMN {named(column)} {table.columns[column]}")
    return extra


async def partners(connection: Plain, found: Found, now: datetime) -> int:
    """Tenants, with their numbers."""
    old, zone = found.tables["timing_partners"].spelling, quoted(found.zone)
    extra = await extra_columns(connection, found, "timing_partners")
    more = "".join(f", {named(column)}" for column in extra)
    tag = await connection.execute(
        f"""
        INSERT INTO {NEW}.timing_partners (timing_partner_id, company_name, access_password, contact_email,
            api_access_enabled, created_at, updated_at{more})
        SELECT DISTINCT ON ({old.whole("timing_partner_id")}) {old.whole("timing_partner_id")},
            coalesce(left({old.word("company_name")}, 255), 'partner ' || {old.text("timing_partner_id")}),
            {old.text("access_password")}, {old.text("contact_email")},
            coalesce({old.flag("api_access_enabled")}, true),
            coalesce({old.instant(zone, "created_at")}, $1), coalesce({old.instant(zone, "updated_at")}, $1)
            {"".join(f", o.{named(column)}" for column in extra)}
        FROM public.timing_partners AS o WHERE {old.whole("timing_partner_id")} IS NOT NULL
        """,
        now,
    )
    await _go_on(connection, "timing_partners", "timing_partner_id", old.whole("timing_partner_id"))
    return _count(tag)


async def providers(connection: Plain, found: Found, _now: datetime) -> int:
    """The five with fixed numbers keep their names; limits and addresses, and further providers, are taken over."""
    old, moved = found.tables["providers"].spelling, found.numbering
    extra = await extra_columns(connection, found, "providers")
    for number, name in moved.further.items():
        await connection.execute(f"INSERT INTO {NEW}.providers (provider_id, name) VALUES ($1, $2)", number, name)
    sets = "".join(f", {named(column)} = o.{named(column)}" for column in extra)
    tag = await connection.execute(
        f"""
        UPDATE {NEW}.providers AS n SET
            provider_type = coalesce({old.word("provider_type")}, n.provider_type),
            api_base_url = CASE WHEN n.provider_id = 2 THEN n.api_base_url
                ELSE coalesce({old.word("api_base_url")}, n.api_base_url) END,
            rate_limit_per_hour = coalesce({old.whole("rate_limit_per_hour")}, n.rate_limit_per_hour){sets}
        FROM public.providers AS o JOIN unnest($1::integer[], $2::integer[]) AS m (old, ours)
            ON m.old = {old.whole("provider_id", "id")}
        WHERE n.provider_id = m.ours
        """,
        list(moved.ours),
        list(moved.ours.values()),
    )
    return _count(tag)


async def credentials(connection: Plain, found: Found, now: datetime) -> int:
    """Keys, with their numbers, in clear: `seal` must follow in the same transaction."""
    table = found.tables["partner_provider_credentials"]
    if "timing_partners" not in found.tables:
        await connection.execute(
            "INSERT INTO public.timing_partners (timing_partner_id, company_name, created_at, updated_at)"
            " SELECT DISTINCT timing_partner_id::integer, 'partner ' || timing_partner_id, $1::timestamptz,"
            " $1::timestamptz FROM public.partner_provider_credentials WHERE timing_partner_id IS NOT NULL",
            now,
        )
    old, zone = table.spelling, quoted(found.zone)
    extra = await extra_columns(connection, found, table.name)
    new_name = f"{NEW}.partner_provider_credentials"
    told = old.whole("partner_provider_credential_id", "id")
    number = f"coalesce({told}, nextval(pg_get_serial_sequence('{new_name}', 'partner_provider_credential_id')))"
    tag = await connection.execute(
        f"""
        INSERT INTO {new_name} (partner_provider_credential_id, provider_id, timing_partner_id,
            principal, secret, credential_type, additional_config, created_at, updated_at
            {"".join(f", {named(column)}" for column in extra)})
        SELECT {number}, coalesce(m.ours, {old.whole("provider_id")}), {old.whole("timing_partner_id")},
            {old.word("principal")}, nullif({old.text("secret")}, ''), {TYPE.format(old.word("credential_type"))},
            {old.json("additional_config")},
            coalesce({old.instant(zone, "created_at")}, $3), coalesce({old.instant(zone, "updated_at")}, $3)
            {"".join(f", o.{named(column)}" for column in extra)}
        FROM public.partner_provider_credentials AS o
        LEFT JOIN unnest($1::integer[], $2::integer[]) AS m (old, ours) ON m.old = {old.whole("provider_id")}
        WHERE {usable_key(found)}
        """,
        list(found.numbering.ours),
        list(found.numbering.ours.values()),
        now,
    )
    await _go_on(connection, "partner_provider_credentials", "partner_provider_credential_id", told)
    return _count(tag)


#: Only the two forms of a RunSignUp key are words of ours; what an old program wrote there ("api_key") is none.
TYPE = "CASE WHEN {0} IN ('v1', 'v2') THEN {0} END"


async def seal(connection: Plain, found: Found, sealer: Sealer, now: datetime) -> None:
    """Seal what was taken over, and empty the clear text. The keys stand in ``public`` by now, the old ones aside."""
    table = found.tables["partner_provider_credentials"]
    number = table.spelling.identity("partner_provider_credential_id", "id")
    await connection.execute(
        f"UPDATE {OLD}.partner_provider_credentials AS o SET secret = '' WHERE coalesce(secret::text, '') <> '' AND"
        f" {number} IN (SELECT partner_provider_credential_id::text FROM public.partner_provider_credentials)"
    )
    await connection.execute("SET LOCAL search_path = hub, public")
    await seal_new(connection, sealer, now)  # type: ignore[arg-type] # a plain connection can all that a pooled one can
    await connection.execute("SET LOCAL search_path = public")


async def races(connection: Plain, found: Found, now: datetime) -> int:
    """Races; a start's zone is theirs."""
    old, server = found.tables["runsignup_races"].spelling, quoted(found.zone)
    fetched, made = old.instant(server, "fetched_date"), old.instant(server, "created_at")
    days = ", ".join(
        f"'{each}', {old.day(each)}::text" for each in ("last_date", "last_end_date", "next_date", "next_end_date")
    )
    texts = ", ".join(
        f"'{each}', {old.text(each)}"
        for each in (
            "description",
            "external_race_url",
            "external_results_url",
            "fb_page_id",
            "fb_event_id",
            "logo_url",
        )
    )
    tag = await connection.execute(
        f"""
        WITH said AS (
            SELECT coalesce({old.whole("timing_partner_id")}, k.partner) AS partner, {old.identity("race_id")} AS id,
                {old.text("name")} AS name, coalesce(z.name, {old.word("timezone")}) AS zone, {old.text("url")} AS url,
                {old.flag("is_draft_race")} AS draft, {old.flag("is_private_race")} AS private,
                {old.flag("is_registration_open")} AS open, {old.instant(EASTERN, "created")} AS created,
                {old.instant(EASTERN, "last_modified")} AS modified,
                {old.object("address", ("street", "street2", *ADDRESS[1:]))} AS address,
                jsonb_strip_nulls(jsonb_build_object({days}, {texts}, 'real_time_notifications_enabled',
                    {old.flag("real_time_notifications_enabled")})) AS details,
                k.fingerprint, {fetched} AS fetched, {made} AS made
            FROM public.runsignup_races AS o
            LEFT JOIN hub_keys k ON k.said = {old.text("credentials_used")}
            LEFT JOIN hub_zones z ON z.folded = lower({old.word("timezone")})
        )
        INSERT INTO hub.races (provider_id, timing_partner_id, race_id, name, timezone, url, is_draft, is_private,
            is_registration_open, created_at, provider_modified_at, address, details, credentials_used, fetched_at,
            first_seen_at, changed_at)
        SELECT DISTINCT ON (partner, id) 2, partner, id, name, zone, url, draft, private, open, created, modified,
            address, details, fingerprint, least(coalesce(fetched, made, $1), $1),
            least(coalesce(min(made) OVER same, fetched, $1), $1), least(coalesce(fetched, made, $1), $1)
        FROM said WHERE partner IS NOT NULL AND id IS NOT NULL
        WINDOW same AS (PARTITION BY partner, id)
        ORDER BY partner, id, modified DESC NULLS LAST, fetched DESC NULLS LAST
        """,
        now,
    )
    return _count(tag)


async def events(connection: Plain, found: Found, now: datetime) -> int:
    """Events; start and end are in their race's zone (US Eastern where that is not known), everything else Eastern."""
    old, server = found.tables["runsignup_events"].spelling, quoted(found.zone)
    fetched, made = old.instant(server, "fetched_date"), old.instant(server, "created_at")
    zone = f"coalesce(r.zone, {EASTERN})"
    tag = await connection.execute(
        f"""
        WITH race AS (
            SELECT DISTINCT ON (race_id) race_id, z.name AS zone
            FROM hub.races JOIN hub_zones z ON z.folded = lower(timezone) ORDER BY race_id, fetched_at DESC
        ), said AS (
            SELECT coalesce({old.whole("timing_partner_id")}, k.partner) AS partner, {old.identity("event_id")} AS id,
                {old.identity("race_id")} AS race_id, {old.text("name")} AS name, {old.text("event_type")} AS type,
                {old.instant(zone, "start_time")} AS starts, {old.instant(zone, "end_time")} AS ends,
                {old.instant(EASTERN, "registration_opens")} AS opens, {old.number("distance")} AS distance,
                coalesce({old.flag("volunteer")}, false) AS volunteer,
                jsonb_strip_nulls(jsonb_build_object('details', {old.text("details")}, 'age_calc_base_date',
                    {old.day("age_calc_base_date")}::text, 'require_dob', {old.flag("require_dob")}, 'require_phone',
                    {old.flag("require_phone")}, 'giveaway', {old.text("giveaway")})) AS details,
                k.fingerprint, {fetched} AS fetched, {made} AS made
            FROM public.runsignup_events AS o
            LEFT JOIN hub_keys k ON k.said = {old.text("credentials_used")}
            LEFT JOIN race r ON r.race_id = {old.identity("race_id")}
        )
        INSERT INTO hub.events (provider_id, timing_partner_id, event_id, race_id, name, event_type, starts_at, ends_at,
            registration_opens_at, distance, is_volunteer, sub_event_ids, details, credentials_used, fetched_at,
            first_seen_at, changed_at)
        SELECT DISTINCT ON (partner, id) 2, partner, id, race_id, name, type, starts, ends, opens,
            CASE WHEN abs(distance) < 100000000 THEN distance END, volunteer, '{{}}', details, fingerprint,
            least(coalesce(fetched, made, $1), $1), least(coalesce(min(made) OVER same, fetched, $1), $1),
            least(coalesce(fetched, made, $1), $1)
        FROM said WHERE partner IS NOT NULL AND id IS NOT NULL AND race_id IS NOT NULL
        WINDOW same AS (PARTITION BY partner, id)
        ORDER BY partner, id, fetched DESC NULLS LAST
        """,
        now,
    )
    return _count(tag)


#: Columns of people in which a null of the newest row is filled from an older row of the same registration. (Not the
#: bib: one that is not there was taken away.)
FILLED = (
    *("user_id", "first_name", "middle_name", "last_name", "email", "dob", "gender", "phone", "profile_image_url"),
    *("address", "age", "registered_at", "team_info", "payment_info", "additional_data"),
)


def _people(found: Found) -> str:
    """Old rows of people as ours: a statement over the temporary tables of this module; $1 is the present time."""
    old, server = found.tables["runsignup_participants"].spelling, quoted(found.zone)
    fetched, made = old.instant(server, "fetched_date"), old.instant(server, "created_at")
    return f"""
        SELECT {_partner(found)} AS timing_partner_id, {old.identity("registration_id")} AS registration_id,
            coalesce({old.identity("race_id")}, h.race_id) AS race_id, {old.identity("event_id")} AS event_id,
            {old.identity("user_id")} AS user_id, {old.text("first_name")} AS first_name,
            {old.text("middle_name")} AS middle_name, {old.text("last_name")} AS last_name,
            {old.text("email")} AS email, {old.day("dob")} AS dob, {old.text("gender")} AS gender,
            {old.text("phone")} AS phone, {old.text("profile_image_url")} AS profile_image_url,
            {old.object("address", ADDRESS)} AS address, {old.word("bib_num")} AS bib, {old.word("chip_num")} AS chip,
            {old.whole("age")} AS age, {old.instant(EASTERN, "registration_date")} AS registered_at,
            {old.object("team_info", TEAM)} AS team_info, {old.object("payment_info", PAYMENT)} AS payment_info,
            {old.object("additional_data", ADDITIONAL)} AS additional_data,
            {old.instant(server, "last_modified")} AS provider_modified_at, k.fingerprint AS credentials_used,
            least(coalesce({fetched}, {made}, $1), $1) AS fetched_at,
            least(coalesce(d.made, {made}, {fetched}, $1), $1) AS first_seen_at,
            coalesce(d.id, {_number(found)}) AS id, coalesce(d.place, 1) AS place
        FROM public.runsignup_participants AS o {_beside(found)} LEFT JOIN hub_doubles d ON d.row = o.ctid::text
    """


def _partner(found: Found) -> str:
    return (
        f"coalesce({found.tables['runsignup_participants'].spelling.whole('timing_partner_id')}, k.partner, h.partner)"
    )


def _number(found: Found) -> str:
    return found.tables["runsignup_participants"].spelling.whole("id")


def _beside(found: Found) -> str:
    old = found.tables["runsignup_participants"].spelling
    return (
        f"LEFT JOIN hub_keys k ON k.said = {old.text('credentials_used')}"
        f" LEFT JOIN hub_homes h ON h.event_id = {old.identity('event_id')}"
    )


#: Pages of the old table that one statement reads: some ten thousand people.
PORTION = 1250


async def participants(connection: Plain, found: Found, now: datetime) -> AsyncIterator[int]:
    """People, a portion of the table at a time; yields how many were written so far.

    A row gets no content hash: whatever the provider says first replaces it (`writer/merging.py`). Of rows of one
    registration the newest gives the fields, older ones what it lacks, the first its id and when it was first seen.
    """
    old, server = found.tables["runsignup_participants"].spelling, quoted(found.zone)
    same = f"PARTITION BY {_partner(found)}, {old.identity('registration_id')}"
    await connection.execute(
        f"""
        CREATE TEMPORARY TABLE hub_homes ON COMMIT DROP AS
        SELECT DISTINCT ON (event_id) event_id, race_id, timing_partner_id AS partner FROM hub.events ORDER BY event_id;
        CREATE TEMPORARY TABLE hub_doubles ON COMMIT DROP AS
        SELECT * FROM (
            SELECT o.ctid::text AS row, count(*) OVER ({same}) AS rows, min({_number(found)}) OVER ({same}) AS id,
                min({old.instant(server, "created_at")}) OVER ({same}) AS made,
                row_number() OVER ({same} ORDER BY {old.instant(server, "last_modified")} DESC NULLS LAST,
                    {old.instant(server, "fetched_date")} DESC NULLS LAST, {_number(found)} DESC NULLS LAST) AS place
            FROM public.runsignup_participants AS o {_beside(found)}
            WHERE {old.identity("registration_id")} IS NOT NULL AND {old.identity("event_id")} IS NOT NULL
        ) AS each WHERE rows > 1;
        ANALYZE hub_homes; ANALYZE hub_doubles;
        """
    )
    pages = await connection.fetchval("SELECT pg_relation_size('public.runsignup_participants') / 8192")
    written = 0
    for first in range(0, pages, PORTION):
        tag = await connection.execute(
            f"""
            INSERT INTO hub.participants (provider_id, timing_partner_id, registration_id, race_id, event_id, bib, chip,
                provider_modified_at, credentials_used, fetched_at, presence_at, first_seen_at, changed_at,
                content_hash, id, {", ".join(FILLED)})
            SELECT 2, timing_partner_id, registration_id, race_id, event_id, bib, chip, provider_modified_at,
                credentials_used, fetched_at, fetched_at, first_seen_at, fetched_at, '',
                coalesce(id, nextval(pg_get_serial_sequence('hub.participants', 'id'))), {", ".join(FILLED)}
            FROM ({_people(found)} WHERE o.ctid >= '({first},0)' AND o.ctid < '({first + PORTION},0)') AS said
            WHERE place = 1 AND timing_partner_id IS NOT NULL AND registration_id IS NOT NULL AND race_id IS NOT NULL
              AND event_id IS NOT NULL
            """,
            now,
        )
        written += _count(tag)
        yield written
    await connection.execute(
        f"""
        UPDATE hub.participants AS p SET {", ".join(f"{each} = coalesce(p.{each}, m.{each})" for each in FILLED)}
        FROM (
            SELECT timing_partner_id, registration_id, {
            ", ".join(
                f"(array_agg({each} ORDER BY place) FILTER (WHERE {each} IS NOT NULL))[1] AS {each}" for each in FILLED
            )
        }
            FROM ({_people(found)}) AS said WHERE place > 1 GROUP BY 1, 2
        ) AS m
        WHERE p.provider_id = 2 AND p.timing_partner_id = m.timing_partner_id AND p.registration_id = m.registration_id
        """,
        now,
    )
    await _go_on(connection, "hub.participants", "id")


async def history(connection: Plain, found: Found, _now: datetime) -> int:
    """The history of syncs, as it stood; a secret in its texts is cut out, here and in the rows that are kept aside."""
    table = found.tables["sync_history"]
    old, zone = table.spelling, quoted(found.zone)
    await connection.execute(CUTTER)
    texts = [name for name, kind in table.columns.items() if kind in {"text", "character varying", "json", "jsonb"}]
    if texts:
        await connection.execute(
            "UPDATE public.sync_history AS o SET "
            + ", ".join(
                f"{named(name)} = pg_temp.hub_json(pg_temp.hub_cut(o.{named(name)}::text))::{table.columns[name]}"
                if table.columns[name].startswith("json")
                else f"{named(name)} = pg_temp.hub_cut(o.{named(name)}::text)"
                for name in texts
            )
            + " WHERE EXISTS (SELECT 1 FROM hub_secrets s WHERE strpos(o::text, s.secret) > 0)"
        )
    done = old.whole("num_of_synced_records", "records_processed")
    provider = old.whole("provider_id")
    error = old.json("error_details")
    tag = await connection.execute(
        f"""
        INSERT INTO hub.adopted_history
        SELECT {old.whole("sync_history_id", "id")}, {old.whole("timing_partner_id")},
            coalesce(m.ours, {provider}, n.provider_id), {old.word("event_id")},
            {old.text("operation_type", "sync_type")}, {old.text("sync_direction")},
            {old.instant(zone, "sync_time", "completed_at", "started_at", "created_at")}, {old.text("status")}, {done},
            coalesce({old.whole("entries_success")}, {done}), {old.whole("entries_failed")},
            coalesce({error}, CASE WHEN {old.word("error_message")} IS NOT NULL THEN
                jsonb_build_object('code', NULL, 'message', {old.text("error_message")}) END),
            {old.json("data_snapshot")}, {old.whole("duration_seconds")}, {old.text("callback_url")},
            {old.text("reason")}, coalesce({old.text("provider_name")}, b.name),
            {old.text("sync_type", "operation_type")}, {done}, {old.instant(zone, "started_at")},
            {old.instant(zone, "completed_at", "sync_time")},
            coalesce({old.text("error_message")}, {error} ->> 'message')
        FROM public.sync_history AS o
        LEFT JOIN unnest($1::integer[], $2::integer[]) AS m (old, ours) ON m.old = {provider}
        LEFT JOIN public.providers b ON b.provider_id = coalesce(m.ours, {provider})
        LEFT JOIN public.providers n ON lower(n.name) = lower({old.word("provider_name")})
        """,
        list(found.numbering.ours),
        list(found.numbering.ours.values()),
    )
    newest = await connection.fetchval("SELECT max(sync_history_id) FROM hub.adopted_history")
    if newest is not None:
        await connection.execute(f"ALTER TABLE hub.sync_runs ALTER COLUMN history_id RESTART WITH {newest + 1}")
    return _count(tag)


CUTTER = f"""
CREATE OR REPLACE FUNCTION pg_temp.hub_cut(value text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE each text;
BEGIN
    FOR each IN SELECT secret FROM hub_secrets LOOP value := replace(value, each, {quoted(CUT)}); END LOOP;
    RETURN value;
END $$;
"""


async def hide_keys(connection: Plain, found: Found, name: str) -> None:
    """Let no row that is kept aside name a secret. (A principal stays there: it opens nothing, and stands in clear in
    the table of keys.)"""
    if "credentials_used" in found.tables[name].columns:
        await connection.execute(
            f"UPDATE public.{named(name)} AS o SET credentials_used = k.fingerprint FROM hub_keys k"
            " WHERE k.said = o.credentials_used::text AND NOT k.principal AND k.said <> k.fingerprint"
        )


async def _go_on(connection: Plain, table: str, column: str, old: str | None = None) -> None:
    """Let a sequence go on behind every number of the old table (its expression), taken over or not."""
    name = table if "." in table else f"{NEW}.{table}"
    seen = f", (SELECT max({old}) FROM public.{table} AS o)" if old else ""
    await connection.execute(
        f"SELECT setval(pg_get_serial_sequence('{name}', '{column}'), highest) FROM (SELECT greatest((SELECT"
        f" max({column}) FROM {name}){seen}) AS highest) AS each WHERE highest > 0"
    )


def _count(tag: str) -> int:
    return int(tag.rsplit(" ", 1)[1])
