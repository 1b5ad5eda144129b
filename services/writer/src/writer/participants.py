"""The SQL of participants: set-based, inside the caller's transaction, the race's row locked first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.domain.participant import Identity, Participant, Removal
from shared.postgres import Connection
from writer.merging import Version
from writer.store import Place

#: Every registration through the primary key, whatever the planner believes. On a table never analyzed it takes a
#: partner for one row, and for ``registration_id = ANY`` would walk through all of the partner's people each time:
#: quadratic, and the largest waste of a first load. (OFFSET 0 keeps the look-up a look-up.)
EACH_BY_KEY = """
    FROM unnest($3::text[]) AS wanted (registration_id), LATERAL (
        SELECT * FROM participants WHERE provider_id = $1 AND timing_partner_id = $2
            AND registration_id = wanted.registration_id OFFSET 0
    ) AS p
"""


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of a batch's people at some moment."""

    newest_batch_id: int | None  # the race's; while it stays the same, all of this holds
    familiar: frozenset[int]  # by their place in the batch: stored exactly as they came, and there
    are_others_new: bool  # nobody else of them is stored


async def look(connection: Connection, place: Place, identities: Mapping[int, Identity]) -> Look:
    """Find out who of a batch is stored already, without mapping anybody.

    Ids and hashes travel as one text each: asyncpg asks twice of each element of an array what it is, in Python, which
    for 500 people costs more than all the rest of the statement.
    """
    row = await connection.fetchrow(
        """
        SELECT newest_batch_id, familiar, others
        FROM (
            SELECT array_agg(wanted.number::integer) FILTER (WHERE is_same) AS familiar,
                count(*) FILTER (WHERE NOT is_same) AS others
            FROM unnest(string_to_array($4, ' '), string_to_array($5, ' '), string_to_array($6, ' '))
                AS wanted (number, registration_id, content_hash), LATERAL (
                -- By key, as above: with removed_at inside, a partial index would look better to the planner.
                SELECT content_hash, removed_at FROM participants WHERE provider_id = $1 AND timing_partner_id = $2
                    AND registration_id = wanted.registration_id OFFSET 0
            ) AS p, LATERAL (
                SELECT p.content_hash = decode(wanted.content_hash, 'hex') AND p.removed_at IS NULL AS is_same
            ) AS compared
        ) AS found
        LEFT JOIN race_sync ON provider_id = $1 AND timing_partner_id = $2 AND race_id = $3
        """,
        place.provider_id,
        place.timing_partner_id,
        place.race_id,
        " ".join(map(str, identities)),
        " ".join([each.registration_id or "" for each in identities.values()]),
        " ".join([each.content_hash.hex() for each in identities.values()]),
    )
    assert row is not None
    return Look(row["newest_batch_id"], frozenset(row["familiar"] or ()), row["others"] == 0)


async def versions(
    connection: Connection, place: Place, people: Sequence[Participant] | Sequence[Removal]
) -> dict[str, Version]:
    """How new the stored rows of these people are, in one round trip; empty for nobody."""
    if not people:
        return {}
    rows = await connection.fetch(
        f"""
        SELECT p.registration_id, content_hash, provider_modified_at, fetched_at, presence_at,
            removed_at IS NOT NULL AS gone
        {EACH_BY_KEY}
        """,
        place.provider_id,
        place.timing_partner_id,
        [each.registration_id for each in people],
    )
    return {
        row["registration_id"]: Version(
            row["content_hash"], row["provider_modified_at"], row["fetched_at"], row["presence_at"], row["gone"]
        )
        for row in rows
    }


async def stored_rows(connection: Connection, place: Place, registration_ids: list[str]) -> dict[str, Any]:
    """Whole rows, for those whose fields will change."""
    if not registration_ids:
        return {}
    rows = await connection.fetch(
        f"SELECT p.* {EACH_BY_KEY}",
        place.provider_id,
        place.timing_partner_id,
        registration_ids,
    )
    return {row["registration_id"]: row for row in rows}


COPIED = (
    "provider_id",
    "timing_partner_id",
    *Participant._fields,
    "credentials_used",
    "fetched_at",
    "presence_at",
    "first_seen_at",
    "changed_at",
)


async def insert_new(
    connection: Connection,
    place: Place,
    people: Sequence[Participant],
    *,
    key: str,
    fetched_at: datetime,
    now: datetime,
) -> None:
    """COPY people who were never stored straight into their table."""
    head, tail = (place.provider_id, place.timing_partner_id), (key, fetched_at, fetched_at, now, now)
    await connection.copy_records_to_table(
        "participants", schema_name="hub", columns=COPIED, records=[head + each + tail for each in people]
    )


#: The whole key comes from the rows joined with, behind OFFSET 0: a planner that sees that provider and partner are
#: constants believes that they leave one row, and walks through all of the partner's people (see EACH_BY_KEY).
SAME_KEY = (
    "(p.provider_id, p.timing_partner_id, p.registration_id)"
    " = ({0}.provider_id, {0}.timing_partner_id, {0}.registration_id)"
)

_SET = ", ".join(f"{field} = i.{field}" for field in Participant._fields if field != "registration_id")


async def update_fields(
    connection: Connection,
    place: Place,
    people: Sequence[Participant],
    *,
    key: str,
    fetched_at: datetime,
    now: datetime,
) -> None:
    """Replace the fields of stored people, through a temporary table of this connection."""
    await connection.execute(
        "CREATE TEMPORARY TABLE IF NOT EXISTS incoming ON COMMIT DELETE ROWS AS SELECT "
        + ", ".join(Participant._fields)
        + " FROM participants WITH NO DATA"
    )
    await connection.copy_records_to_table("incoming", columns=Participant._fields, records=list(people))
    await connection.execute(
        f"""
        UPDATE participants p SET {_SET}, credentials_used = $3, fetched_at = $4,
            presence_at = greatest(presence_at, $4), changed_at = $5
        FROM (SELECT $1::integer AS provider_id, $2::integer AS timing_partner_id, * FROM incoming OFFSET 0) i
        WHERE {SAME_KEY.format("i")}
        """,
        place.provider_id,
        place.timing_partner_id,
        key,
        fetched_at,
        now,
    )
    await connection.execute("DELETE FROM incoming")


async def rehash(connection: Connection, place: Place, people: Sequence[Participant], *, fetched_at: datetime) -> None:
    """Remember how people look now whose records came differently and say the same."""
    if not people:
        return
    await connection.execute(
        f"""
        UPDATE participants p SET content_hash = r.content_hash, fetched_at = $3
        FROM (SELECT $1::integer AS provider_id, $2::integer AS timing_partner_id, *
            FROM unnest($4::text[], $5::bytea[]) AS r (registration_id, content_hash) OFFSET 0) r
        WHERE {SAME_KEY.format("r")}
        """,
        place.provider_id,
        place.timing_partner_id,
        fetched_at,
        [each.registration_id for each in people],
        [each.content_hash for each in people],
    )


async def restore(
    connection: Connection, place: Place, registration_ids: list[str], *, fetched_at: datetime, now: datetime
) -> None:
    """Mark removed people as there again."""
    await connection.execute(
        f"""
        UPDATE participants p SET removed_at = NULL, removed_reason = NULL, new_registration_id = NULL,
            presence_at = $4, changed_at = $5
        FROM (SELECT $1::integer AS provider_id, $2::integer AS timing_partner_id, unnest($3::text[]) AS registration_id
            OFFSET 0) r
        WHERE {SAME_KEY.format("r")}
        """,
        place.provider_id,
        place.timing_partner_id,
        registration_ids,
        fetched_at,
        now,
    )


async def mark_removed(
    connection: Connection, place: Place, removals: Sequence[Removal], *, fetched_at: datetime, now: datetime
) -> None:
    """Mark people as gone, with the reason; their rows stay. A later reason replaces an inferred one.

    Those gone already are known to be gone as of now: a page older than that must not bring them back.
    """
    await connection.execute(
        f"""
        UPDATE participants p SET removed_at = coalesce(removed_at, $5), removed_reason = r.reason,
            new_registration_id = r.successor, presence_at = greatest(presence_at, $4),
            changed_at = CASE WHEN removed_reason IS DISTINCT FROM r.reason
                OR new_registration_id IS DISTINCT FROM r.successor THEN $5 ELSE changed_at END
        FROM (SELECT $1::integer AS provider_id, $2::integer AS timing_partner_id, *
            FROM unnest($3::text[], $6::text[], $7::text[]) AS r (registration_id, reason, successor) OFFSET 0) r
        WHERE {SAME_KEY.format("r")}
          AND (p.presence_at < $4 OR (p.removed_reason, p.new_registration_id) IS DISTINCT FROM (r.reason, r.successor))
        """,
        place.provider_id,
        place.timing_partner_id,
        [each.registration_id for each in removals],
        fetched_at,
        now,
        [each.reason for each in removals],
        [each.new_registration_id for each in removals],
    )


async def insert_removed(
    connection: Connection, place: Place, removals: Sequence[Removal], *, key: str, fetched_at: datetime, now: datetime
) -> None:
    """Keep removals of people never seen: a page older than the removal may still be on its way."""
    await connection.executemany(
        """
        INSERT INTO participants (provider_id, timing_partner_id, registration_id, race_id, event_id, first_name,
            last_name, provider_modified_at, content_hash, credentials_used, fetched_at, presence_at, first_seen_at,
            changed_at, removed_at, removed_reason, new_registration_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '', $9, $10, $10, $11, $11, $11, $12, $13) ON CONFLICT DO NOTHING
        """,
        [
            (
                place.provider_id,
                place.timing_partner_id,
                each.registration_id,
                each.race_id,
                each.event_id,
                each.first_name,
                each.last_name,
                each.provider_modified_at,
                key,
                fetched_at,
                now,
                each.reason,
                each.new_registration_id,
            )
            for each in removals
        ],
    )
