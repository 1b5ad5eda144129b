"""Which partner, race or event is meant: by name or number, with a sentence for what does not exist."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.domain.cadence import WANTED
from shared.ops.failing import WrongUsage
from shared.ops.show import clean
from shared.postgres import Database
from shared.providers.registry import told

#: Names listed in an error at the most.
LISTED = 8


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a partner at a provider. ``unsealed``: entered by hand, no service has seen it yet."""

    credential_id: int
    provider_id: int
    provider: str
    fingerprint: str | None
    state: str
    state_reason: str | None
    state_at: datetime | None
    last_discovered_at: datetime | None
    replaces: int | None  # the credential whose place it takes once it has listed its races
    is_replaced: bool  # another has taken its place

    @property
    def why(self) -> str | None:
        """Why it is in its state, in words."""
        return told(self.provider_id, self.state_reason) if self.state_reason else None

    @property
    def is_usable(self) -> bool:
        """Calls go out with it."""
        return self.state in {"new", "active"}


@dataclass(frozen=True, slots=True)
class Partner:
    """A timing partner and its keys."""

    partner_id: int
    name: str
    is_enabled: bool  # api_access_enabled, which operators may set by hand
    keys: tuple[Key, ...]
    races: int
    people: int

    @property
    def is_disabled(self) -> bool:
        """An operator wants nothing to be asked for it."""
        return not self.is_enabled or (bool(self.keys) and all(key.state == "disabled" for key in self.keys))


async def all_partners(database: Database) -> list[Partner]:
    """Every partner with its keys and what is stored of it."""
    rows = await database.fetch(
        """
        SELECT p.timing_partner_id, p.company_name, coalesce(p.api_access_enabled, true) AS is_enabled,
            (SELECT count(*) FROM races r
                WHERE r.timing_partner_id = p.timing_partner_id AND r.missing_at IS NULL) AS races,
            (SELECT count(*) FROM participants x
                WHERE x.timing_partner_id = p.timing_partner_id AND x.removed_at IS NULL) AS people
        FROM public.timing_partners p ORDER BY p.timing_partner_id
        """
    )
    keys = await database.fetch(
        """
        SELECT k.timing_partner_id, k.partner_provider_credential_id AS credential_id, k.provider_id,
            lower(replace(v.name, ' ', '-')) AS provider, c.fingerprint, coalesce(c.state, 'unsealed') AS state,
            c.state_reason, c.state_at, c.last_discovered_at, c.replaces, coalesce(c.state = 'disabled' AND EXISTS (
                SELECT 1 FROM credentials n WHERE n.replaces = c.credential_id), false) AS is_replaced
        FROM public.partner_provider_credentials k JOIN public.providers v USING (provider_id)
        LEFT JOIN credentials c ON c.credential_id = k.partner_provider_credential_id
        ORDER BY k.partner_provider_credential_id
        """
    )
    return [
        Partner(
            row["timing_partner_id"],
            row["company_name"],
            row["is_enabled"],
            tuple(
                Key(**{name: value for name, value in dict(key).items() if name != "timing_partner_id"})
                for key in keys
                if key["timing_partner_id"] == row["timing_partner_id"]
            ),
            row["races"],
            row["people"],
        )
        for row in rows
    ]


def choose(partners: Sequence[Partner], wanted: str) -> Partner:
    """The partner of this number or name (its spelling in capitals or not); raises WrongUsage when it is not one."""
    if wanted.isascii() and wanted.isdigit():
        for partner in partners:
            if partner.partner_id == int(wanted):
                return partner
    found = [partner for partner in partners if partner.name.casefold() == wanted.strip().casefold()]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(str(partner.partner_id) for partner in found)
        raise WrongUsage(f"several partners have this name; say which by its number: {ids}")
    if not partners:
        raise WrongUsage("there is no partner yet; add one with `hub partner add`")
    known = ", ".join(f"{partner.partner_id} {clean(partner.name)[:40]}" for partner in partners[:LISTED])
    more = ", …" if len(partners) > LISTED else ""
    raise WrongUsage(f"no partner has this name or number; known are: {known}{more} (all: hub partner list)")


async def choose_partners(database: Database, wanted: str | None) -> list[Partner]:
    """The partner that was named, or all."""
    partners = await all_partners(database)
    return partners if wanted is None else [choose(partners, wanted)]


@dataclass(frozen=True, slots=True)
class Race:
    """A race of a partner, as the schedule knows it."""

    provider_id: int
    partner_id: int
    race_id: str
    credential_id: int
    state: str
    future_events: int


async def races_of(
    database: Database, partner_ids: Sequence[int], now: datetime, *, race_id: str | None = None
) -> list[Race]:
    """Discovered races of some partners, with how many of their events are still of interest."""
    rows = await database.fetch(
        """
        SELECT s.provider_id, s.timing_partner_id AS partner_id, s.race_id, s.credential_id, s.state,
            (SELECT count(*) FROM events e WHERE (e.provider_id, e.timing_partner_id, e.race_id)
                = (s.provider_id, s.timing_partner_id, s.race_id) AND e.missing_at IS NULL
                AND coalesce(e.last_moment_at, $2) >= $2::timestamptz - $4::interval)
                AS future_events
        FROM race_sync s WHERE s.timing_partner_id = ANY($1) AND ($3::text IS NULL OR s.race_id = $3)
        ORDER BY s.timing_partner_id, length(s.race_id), s.race_id
        """,
        list(partner_ids),
        now,
        race_id,
        WANTED,
    )
    return [Race(**dict(row)) for row in rows]


async def choose_races(
    database: Database, partners: Sequence[Partner], now: datetime, *, race_id: str | None, event_id: str | None = None
) -> list[Race]:
    """The race of this number at each partner that has it (two may share one), or the event's; raises WrongUsage."""
    ids = [partner.partner_id for partner in partners]
    if event_id is not None:
        owners = await database.fetch(
            "SELECT DISTINCT race_id FROM events WHERE event_id = $1 AND timing_partner_id = ANY($2)", event_id, ids
        )
        if not owners:
            raise WrongUsage(f"event {number(event_id)} is not known; `hub sync` looks for new events first")
        if race_id is not None and race_id not in {row["race_id"] for row in owners}:
            raise WrongUsage(
                f"event {number(event_id)} belongs to race {owners[0]['race_id']}, not to {number(race_id)}"
            )
        race_id = owners[0]["race_id"]
    races = await races_of(database, ids, now, race_id=race_id)
    if not races and race_id is not None:
        whose = "no partner has" if len(partners) != 1 else f"partner {partners[0].partner_id} does not have"
        raise WrongUsage(f"{whose} race {number(race_id)}; `hub sync` looks for new races, `hub status` counts them")
    return races


def number(text: str) -> str:
    """An id as it was typed, if it can be one: what cannot may be anything, and is not repeated."""
    return text if text.isascii() and text.isdigit() and len(text) <= 20 else "of that number"
