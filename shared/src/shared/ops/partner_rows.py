"""Rows of partners and keys, written inside the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime

from shared.errors import Misconfigured, Never
from shared.ops.failing import WrongUsage
from shared.ops.selecting import Key
from shared.postgres import Connection, Database
from shared.postgres.credentials import load_credential, seal_new
from shared.postgres.pool import notify
from shared.secrets import Sealer, fingerprint


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a key was stored. ``outcome``: added (a partner with it), another (key), replaced (its secret)."""

    partner_id: int
    credential_id: int
    fingerprint: str
    outcome: str


async def check_sealer(connection: Connection, sealer: Sealer) -> None:
    """Raise Misconfigured when keys at rest were sealed with another HUB_SECRET_KEY than ours."""
    newest = await connection.fetchval("SELECT max(credential_id) FROM credentials")
    stored = await load_credential(connection, newest) if newest is not None else None
    if stored is None:
        return
    try:
        stored.open(sealer)
    except Never:
        raise Misconfigured(
            "HUB_SECRET_KEY is not the one that the stored keys are sealed with; set that one (nothing was stored)"
        ) from None


async def store_key(
    connection: Connection,
    sealer: Sealer,
    name: str,
    partner_id: int | None,
    provider_id: int,
    key: str,
    secret: str,
    form: str,
    now: datetime,
) -> Stored:
    """Store a key as an operator's INSERT would, and seal it in the same transaction: it never rests in clear."""
    outcome = "added" if partner_id is None else "another"
    if partner_id is None:
        partner_id = await connection.fetchval(
            "INSERT INTO public.timing_partners (company_name, created_at, updated_at) VALUES ($1, $2, $2)"
            " RETURNING timing_partner_id",
            name,
            now,
        )
    assert partner_id is not None
    known = await connection.fetchrow(
        "SELECT partner_provider_credential_id AS id, c.state FROM public.partner_provider_credentials k"
        " LEFT JOIN credentials c ON c.credential_id = k.partner_provider_credential_id"
        " WHERE timing_partner_id = $1 AND provider_id = $2 AND principal = $3 FOR UPDATE OF k",
        partner_id,
        provider_id,
        key,
    )
    if known is None:
        credential_id: int = await connection.fetchval(
            "INSERT INTO public.partner_provider_credentials (provider_id, timing_partner_id, principal, secret,"
            " credential_type, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $6)"
            " RETURNING partner_provider_credential_id",
            provider_id,
            partner_id,
            key,
            secret,
            form,
            now,
        )
    elif known["state"] == "disabled":
        raise WrongUsage(f"this key is disabled (credential {known['id']}); first: hub partner enable {partner_id}")
    else:
        outcome, credential_id = "replaced", known["id"]
        await connection.execute(
            "UPDATE public.partner_provider_credentials SET secret = $2, credential_type = $3, updated_at = $4"
            " WHERE partner_provider_credential_id = $1",
            credential_id,
            secret,
            form,
            now,
        )
    await seal_new(connection, sealer, now)
    return Stored(partner_id, credential_id, fingerprint(key), outcome)


async def rotate_key(
    connection: Connection,
    sealer: Sealer,
    partner_id: int,
    old: Key,
    key: str,
    secret: str,
    form: str,
    now: datetime,
) -> Stored:
    """Store a key beside the one that it replaces; one that was meant to replace it and never worked is dropped."""
    await connection.execute(
        "DELETE FROM public.partner_provider_credentials k USING credentials c"
        " WHERE c.credential_id = k.partner_provider_credential_id AND c.replaces = $1"
        " AND c.state IN ('new', 'refused')",
        old.credential_id,
    )
    credential_id: int = await connection.fetchval(
        "INSERT INTO public.partner_provider_credentials (provider_id, timing_partner_id, principal, secret,"
        " credential_type, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $6)"
        " RETURNING partner_provider_credential_id",
        old.provider_id,
        partner_id,
        key,
        secret,
        form,
        now,
    )
    await seal_new(connection, sealer, now)
    await connection.execute(
        "UPDATE credentials SET replaces = $2 WHERE credential_id = $1", credential_id, old.credential_id
    )
    return Stored(partner_id, credential_id, fingerprint(key), "rotated")


async def others_with(connection: Connection, credential_id: int) -> list[int]:
    """Other partners who have the same key at the same provider: they share its budget."""
    rows = await connection.fetch(
        """
        SELECT DISTINCT k.timing_partner_id FROM public.partner_provider_credentials k,
            public.partner_provider_credentials mine
        WHERE mine.partner_provider_credential_id = $1 AND (k.provider_id, k.principal)
            = (mine.provider_id, mine.principal) AND k.timing_partner_id <> mine.timing_partner_id ORDER BY 1
        """,
        credential_id,
    )
    return [row["timing_partner_id"] for row in rows]


async def make_new_again(connection: Connection, credential_id: int, now: datetime) -> None:
    """Let a key that was refused or disabled be tried again: it is verified, and its races are listed, at once."""
    await connection.execute(
        "UPDATE credentials SET state = 'new', state_reason = NULL, state_at = $2, discover_due_at = $2"
        " WHERE credential_id = $1",
        credential_id,
        now,
    )
    await notify(connection, "credential")


async def look_now(database: Database, credential_id: int, now: datetime) -> None:
    """Let the schedule list a key's races at once: it has missed some looks."""
    async with database.transaction("looking at a key's races") as connection:
        await connection.execute(
            "UPDATE credentials SET discover_due_at = least(discover_due_at, $2) WHERE credential_id = $1",
            credential_id,
            now,
        )
        await notify(connection, "credential")
