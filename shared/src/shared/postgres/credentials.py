"""Keys at rest: sealed when first seen, opened for a call, and what became of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.postgres.pool import Connection, notify
from shared.providers.port import Credential
from shared.secrets import Sealer, fingerprint, row_name


async def seal_new(connection: Connection, sealer: Sealer, now: datetime) -> int:
    """Seal every secret that stands in clear, as an operator's INSERT leaves it, and empty it; how many they were.

    A secret that was entered anew over a sealed row makes the key new again: it will be verified and discovered with.
    """
    rows = await connection.fetch(
        "SELECT partner_provider_credential_id AS id, provider_id, timing_partner_id, principal, secret"
        " FROM public.partner_provider_credentials WHERE secret IS NOT NULL FOR UPDATE SKIP LOCKED"
    )
    for row in rows:
        name = row_name(row["id"], row["provider_id"], row["timing_partner_id"], row["principal"])
        await connection.execute(
            """
            INSERT INTO credentials (credential_id, sealed_secret, fingerprint, state, state_at, discover_due_at)
            VALUES ($1, $2, $3, 'new', $4, $4)
            ON CONFLICT (credential_id) DO UPDATE SET sealed_secret = $2, fingerprint = $3, state = 'new',
                state_reason = NULL, state_at = $4, discover_due_at = $4
            """,
            row["id"],
            sealer.seal(row["secret"], name),
            fingerprint(row["principal"]),
            now,
        )
        await connection.execute(
            "INSERT INTO provider_keys (provider_id, fingerprint) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            row["provider_id"],
            fingerprint(row["principal"]),
        )
        await connection.execute(
            "UPDATE public.partner_provider_credentials SET secret = NULL, updated_at = $2"
            " WHERE partner_provider_credential_id = $1",
            row["id"],
            now,
        )
    if rows:
        await notify(connection, "credential")
    return len(rows)


async def reseal(connection: Connection, sealer: Sealer, credential_id: int) -> bool:
    """Seal a secret with the present key; False when it was. Raises Never when no key opens it; safe to repeat.

    A call that is under way with it judges nothing: what it used is not what stands there. The next one does.
    """
    await connection.execute("SELECT 1 FROM credentials WHERE credential_id = $1 FOR UPDATE", credential_id)
    stored = await load_credential(connection, credential_id)
    if stored is None or sealer.is_present(stored.sealed_secret, stored.row_name):
        return False
    sealed = sealer.seal(stored.open(sealer).secret, stored.row_name)
    await connection.execute(
        "UPDATE credentials SET sealed_secret = $2 WHERE credential_id = $1", credential_id, sealed
    )
    return True


async def take_over(connection: Connection, credential_id: int, listed: Sequence[str], now: datetime) -> None:
    """Let a key that has listed its races take the place of the one it replaces, if it replaces one.

    The races that it opens are its own from now on; the other is disabled, unless races are left that only that opens.
    """
    old = await connection.fetchval(
        "SELECT o.credential_id FROM credentials n JOIN credentials o ON o.credential_id = n.replaces"
        " WHERE n.credential_id = $1 AND n.state = 'active' AND o.state <> 'disabled' FOR UPDATE OF o",
        credential_id,
    )
    if old is None:
        return
    races = await connection.fetch(
        "SELECT race_id, state FROM race_sync WHERE credential_id = $1 ORDER BY race_id FOR UPDATE", old
    )
    left = {row["race_id"] for row in races if row["state"] == "active"} - set(listed)
    taken = [row["race_id"] for row in races if row["race_id"] in set(listed) or not left]
    await connection.execute(
        "UPDATE race_sync SET credential_id = $1 WHERE credential_id = $2 AND race_id = ANY($3)",
        credential_id,
        old,
        taken,
    )
    if left:
        await set_state(connection, old, "active", f"credential {credential_id} lacks {len(left)} of its races", now)
    else:
        await set_state(connection, old, "disabled", f"replaced by credential {credential_id}", now)


@dataclass(frozen=True, slots=True)
class StoredCredential:
    """A key as the fetcher needs it; the secret is still sealed."""

    credential_id: int
    provider_id: int
    timing_partner_id: int
    fingerprint: str
    state: str
    state_reason: str | None
    principal: str
    sealed_secret: bytes
    form: str
    replaced_by: int | None  # the key that has taken its place

    @property
    def row_name(self) -> str:
        """What its secret is bound to."""
        return row_name(self.credential_id, self.provider_id, self.timing_partner_id, self.principal)

    def open(self, sealer: Sealer) -> Credential:
        """The key, opened for a call; raises Never when it was sealed otherwise."""
        return Credential(self.principal, sealer.open(self.sealed_secret, self.row_name), self.form)


async def load_credential(connection: Connection, credential_id: int) -> StoredCredential | None:
    """A sealed key by its number; None when there is none (or it was not sealed yet)."""
    row = await connection.fetchrow(
        """
        SELECT c.credential_id, k.provider_id, k.timing_partner_id, c.fingerprint, c.state, c.state_reason, k.principal,
               c.sealed_secret, coalesce(k.credential_type, 'v1') AS form, CASE WHEN c.state = 'disabled' THEN (
                   SELECT max(n.credential_id) FROM credentials n WHERE n.replaces = c.credential_id) END AS replaced_by
        FROM credentials c
        JOIN public.partner_provider_credentials k ON k.partner_provider_credential_id = c.credential_id
        WHERE c.credential_id = $1
        """,
        credential_id,
    )
    return StoredCredential(**dict(row)) if row else None


async def judge_key(
    connection: Connection, used: StoredCredential, state: str, reason: str | None, now: datetime
) -> bool:
    """Record what a call with a key proved: active or refused; False when it says nothing any more.

    What was entered anew, or disabled, while the call was under way stays as it is.
    """
    tag = await connection.execute(
        "UPDATE credentials SET state = $2, state_reason = $3, state_at = $4 WHERE credential_id = $1"
        " AND sealed_secret = $5 AND state <> 'disabled' AND (state, state_reason) IS DISTINCT FROM ($2, $3)",
        used.credential_id,
        state,
        reason,
        now,
        used.sealed_secret,
    )
    return tag == "UPDATE 1"


async def set_state(connection: Connection, credential_id: int, state: str, reason: str | None, now: datetime) -> None:
    """Record what a person decided of a key, whatever it was before."""
    await connection.execute(
        "UPDATE credentials SET state = $2, state_reason = $3, state_at = $4"
        " WHERE credential_id = $1 AND (state, state_reason) IS DISTINCT FROM ($2, $3)",
        credential_id,
        state,
        reason,
        now,
    )
