"""What the tables say of bibs: who wears which, who wore which at a moment, what happened, and what is in conflict."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson

from shared.domain.bibs import Wearer, conflicting, families, is_outside
from shared.domain.cadence import WANTED, Cadence
from shared.ops.selecting import Race
from shared.postgres import Database

#: A bib as a number, for those that are one.
NUMBER = r"CASE WHEN bib ~ '^\d{1,18}$' THEN bib::bigint END"
#: Bibs in the order of their numbers, those that are none behind.
IN_ORDER = f"{NUMBER} NULLS LAST, bib, registration_id"
#: What is told of a bib beside what became of it.
NOTES = "('duplicate', 'out_of_range')"


def _where(races: Sequence[Race]) -> tuple[list[int], str]:
    return [race.partner_id for race in races], races[0].race_id


async def wearers(database: Database, races: Sequence[Race], number: str | None = None) -> list[Any]:
    """Active people of some races who wear a bib (this one), in the order of bibs."""
    return await database.fetch(
        f"""
        SELECT timing_partner_id, bib, race_id, event_id, registration_id, first_name, last_name, changed_at
        FROM participants
        WHERE timing_partner_id = ANY($1) AND race_id = $2 AND bib IS NOT NULL AND removed_at IS NULL
          AND ($3::text IS NULL OR (left(bib, 100) = left($3, 100) AND bib = $3))
        ORDER BY {IN_ORDER}
        """,  # noqa: S608  # a constant
        *_where(races),
        number,
    )


async def wearers_at(database: Database, races: Sequence[Race], moment: datetime) -> list[Any]:
    """Who wore a bib at a moment, as far as was known then.

    A bib's last event until then says what it was; without one, its first event afterwards says what it had been; and
    without any, it has always been what it is. In which race event somebody was, their first move afterwards says.
    """
    return await database.fetch(
        f"""
        WITH moves AS (
            SELECT * FROM bib_history WHERE timing_partner_id = ANY($1) AND race_id = $2 AND kind NOT IN {NOTES}
        ), until AS (
            SELECT DISTINCT ON (timing_partner_id, registration_id) timing_partner_id, registration_id, after
            FROM moves WHERE detected_at <= $3 ORDER BY 1, 2, bib_event_id DESC
        ), afterwards AS (
            SELECT DISTINCT ON (timing_partner_id, registration_id) timing_partner_id, registration_id, before
            FROM moves WHERE detected_at > $3 ORDER BY 1, 2, bib_event_id
        ), moved AS (
            SELECT DISTINCT ON (p.timing_partner_id, p.registration_id) p.timing_partner_id, p.registration_id,
                c.fields->'event_id'->>0 AS event_id
            FROM participants p JOIN changes c USING (provider_id, timing_partner_id, registration_id)
            JOIN change_batches b USING (batch_id)
            WHERE p.timing_partner_id = ANY($1) AND p.race_id = $2 AND p.changed_at > $3 AND b.written_at > $3
              AND c.fields ? 'event_id' ORDER BY 1, 2, batch_id, ordinal
        ), worn AS (
            SELECT p.timing_partner_id, p.race_id, coalesce(m.event_id, p.event_id) AS event_id, registration_id,
                p.first_name, p.last_name, p.changed_at,
                CASE WHEN u.registration_id IS NOT NULL THEN u.after WHEN a.registration_id IS NOT NULL THEN a.before
                    WHEN p.removed_at IS NULL OR p.removed_at > $3 THEN p.bib END AS bib
            FROM participants p LEFT JOIN until u USING (timing_partner_id, registration_id)
            LEFT JOIN afterwards a USING (timing_partner_id, registration_id)
            LEFT JOIN moved m USING (timing_partner_id, registration_id)
            WHERE p.timing_partner_id = ANY($1) AND p.race_id = $2 AND p.first_seen_at <= $3
        )
        SELECT * FROM worn WHERE bib IS NOT NULL ORDER BY {IN_ORDER}
        """,  # noqa: S608  # a constant
        *_where(races),
        moment,
    )


async def blanks(database: Database, races: Sequence[Race]) -> list[Any]:
    """People who are still there, whose bib the provider took away: with what it was."""
    return await database.fetch(
        f"""
        SELECT * FROM (
            SELECT DISTINCT ON (h.timing_partner_id, h.registration_id) h.timing_partner_id, h.registration_id,
                p.event_id, h.kind, h.before, h.detected_at, p.first_name, p.last_name
            FROM bib_history h JOIN participants p USING (provider_id, timing_partner_id, registration_id)
            WHERE h.timing_partner_id = ANY($1) AND h.race_id = $2 AND h.kind NOT IN {NOTES}
              AND p.bib IS NULL AND p.removed_at IS NULL ORDER BY 1, 2, h.bib_event_id DESC
        ) AS last WHERE kind IN ('cleared', 'blanked') ORDER BY detected_at, registration_id
        """,  # noqa: S608  # a constant
        *_where(races),
    )


async def events(
    database: Database,
    races: Sequence[Race],
    *,
    limit: int | None,
    since: datetime | None = None,
    person: str | None = None,
    number: str | None = None,
) -> list[Any]:
    """The newest bib events of some races (None: all), oldest first; of one person, of one bib, or since a moment."""
    return await database.fetch(
        """
        SELECT * FROM (SELECT * FROM bib_history WHERE timing_partner_id = ANY($1) AND race_id = $2
            AND ($4::timestamptz IS NULL OR detected_at >= $4) AND ($5::text IS NULL OR registration_id = $5)
            AND ($6::text IS NULL OR before = $6 OR after = $6)
            ORDER BY bib_event_id DESC LIMIT $3) AS newest ORDER BY bib_event_id
        """,
        *_where(races),
        limit,
        since,
        person,
        number,
    )


async def timezone_of(database: Database, races: Sequence[Race]) -> str | None:
    """The zone in which a race's clock runs."""
    zone: str | None = await database.fetchval(
        "SELECT timezone FROM races WHERE timing_partner_id = ANY($1) AND race_id = $2 LIMIT 1", *_where(races)
    )
    return zone


async def conflicts(
    database: Database,
    partner_ids: Sequence[int],
    now: datetime,
    race_id: str | None = None,
    within: timedelta | None = None,
) -> list[dict[str, Any]]:
    """Everybody who wears a bib that somebody else of the race wears too (``is_shared``), or that is none of those that
    their event gives out (``bib_ranges`` then says which), by race and bib, as the tables stand now; the race that
    starts next comes first. ``within``: only of races with a start so soon, or just over.

    Nothing is kept: when the data resolves a conflict, it is not here any more. Events that are over long since do not
    count, nor does a person's bundle with its sub-events.
    """
    rows = await database.fetch(
        f"""
        WITH wanted AS (
            SELECT provider_id, timing_partner_id, race_id, event_id, bib_ranges,
                min(starts_at) FILTER (WHERE starts_at >= $3::timestamptz - $5::interval)
                    OVER (PARTITION BY provider_id, timing_partner_id, race_id) AS next_start
            FROM events
            WHERE timing_partner_id = ANY($1) AND ($2::text IS NULL OR race_id = $2) AND missing_at IS NULL
              AND coalesce(last_moment_at, $3) >= $3::timestamptz - $4::interval
        ), worn AS (
            SELECT p.provider_id, p.timing_partner_id, p.race_id, p.bib, p.event_id, p.registration_id, p.user_id,
                p.first_name, p.last_name, wanted.bib_ranges, next_start,
                count(*) OVER (PARTITION BY p.provider_id, p.timing_partner_id, p.race_id, p.bib) AS wearers
            FROM participants p JOIN wanted USING (provider_id, timing_partner_id, race_id, event_id)
            WHERE p.bib IS NOT NULL AND p.removed_at IS NULL
              AND ($6::interval IS NULL OR next_start <= $3::timestamptz + $6)
        )
        SELECT * FROM worn WHERE wearers > 1 OR (bib_ranges <> '[]' AND NOT EXISTS (
            SELECT FROM jsonb_array_elements(bib_ranges) r
            WHERE {NUMBER} BETWEEN (r->>0)::bigint AND (r->>1)::bigint
        )) ORDER BY next_start, timing_partner_id, race_id, {IN_ORDER}
        """,  # noqa: S608  # a constant
        list(partner_ids),
        race_id,
        now,
        WANTED,
        Cadence().after_start,
        within,
    )
    related = await _families(database, partner_ids)
    by_bib: dict[tuple[int, int, str, str], list[Any]] = defaultdict(list)
    for row in rows:
        by_bib[row["provider_id"], row["timing_partner_id"], row["race_id"], row["bib"]].append(row)
    found = []
    for place, worn in by_bib.items():
        people = [Wearer(row["registration_id"], row["event_id"], row["user_id"]) for row in worn]
        family, bib = related.get(place[:3], {}), place[3]
        shared = {each.registration_id for each in conflicting(people, family)}
        ranges = {row["event_id"]: orjson.loads(row["bib_ranges"] or "[]") for row in worn}
        for row, who in zip(worn, people, strict=True):
            is_shared, outside = who.registration_id in shared, is_outside(who, bib, people, ranges, family)
            if is_shared or outside:
                known = ranges[who.event_id] if outside else None
                found.append({**row, "is_shared": is_shared, "bib_ranges": known})
    return found


async def _families(database: Database, partner_ids: Sequence[int]) -> dict[tuple[int, int, str], dict[str, set[str]]]:
    rows = await database.fetch(
        "SELECT provider_id, timing_partner_id, race_id, event_id, sub_event_ids FROM events"
        " WHERE timing_partner_id = ANY($1) AND cardinality(sub_event_ids) > 0",
        list(partner_ids),
    )
    races: dict[tuple[int, int, str], list[tuple[str, list[str]]]] = defaultdict(list)
    for row in rows:
        key = (row["provider_id"], row["timing_partner_id"], row["race_id"])
        races[key].append((row["event_id"], row["sub_event_ids"]))
    return {key: families(events) for key, events in races.items()}
