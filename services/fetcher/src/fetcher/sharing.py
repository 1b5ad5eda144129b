"""Somebody else uses our key: noticed by what the provider says, and less of the budget used for an hour."""

from dataclasses import dataclass
from datetime import datetime

import structlog

from shared.domain.budget import HOUR, others_when_throttled, others_when_told, usable_limit
from shared.postgres import Connection

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Use:
    """How much of a key's hour there is, and how much of it is spent: calls."""

    limit: int  # the provider's
    usable: int  # of it, ours
    counting: int  # that we made and that still count


async def read_use(connection: Connection, provider_id: int, fingerprint: str, now: datetime) -> Use:
    """A key's use, its row locked."""
    key = await connection.fetchrow(
        """
        SELECT coalesce(k.calls_per_hour, p.rate_limit_per_hour, 1000) AS allowed, others_calls, others_seen_at,
            (SELECT count(*) FROM calls c WHERE (c.provider_id, c.fingerprint) = (k.provider_id, k.fingerprint)
                AND c.counts_until > $3) AS counting
        FROM provider_keys k JOIN public.providers p USING (provider_id)
        WHERE k.provider_id = $1 AND k.fingerprint = $2 FOR UPDATE OF k
        """,
        provider_id,
        fingerprint,
        now,
    )
    assert key is not None, "a sealed credential has its key's row"
    usable = usable_limit(key["allowed"], key["others_calls"], key["others_seen_at"], now)
    return Use(key["allowed"], usable, key["counting"])


async def heed(
    connection: Connection, provider_id: int, fingerprint: str, now: datetime, quota: tuple[int, int] | None
) -> None:
    """Take over what a throttle (no ``quota``) or the provider's own count (limit, remaining) says of others' calls.

    The key's row holds it, so that every replica, the forecast and the promises reckon with the same.
    """
    use = await read_use(connection, provider_id, fingerprint, now)
    limit = use.limit
    if quota is None:
        others = others_when_throttled(use.usable, limit, use.counting)
    elif quota[0] == limit:
        others = others_when_told(limit, quota[1], use.counting)
        if others <= max(limit - use.usable, limit // 50):
            return  # no more than is known already, or the rounding of two clocks
    else:
        return  # another quantity than ours: a minute's, perhaps
    await connection.execute(
        "UPDATE provider_keys SET others_calls = $3, others_seen_at = $4 WHERE (provider_id, fingerprint) = ($1, $2)",
        provider_id,
        fingerprint,
        others,
        now,
    )
    log.warning(
        "Somebody else seems to use this key: less of its budget is used, for an hour.",
        action="budget_shared",
        key=fingerprint,
        ours=use.counting,
        others=others,
        usable=limit - others,
        until=(now + HOUR).isoformat(),
    )
