"""What a key opens: its proof waited for, and the races that it lists."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.ops import show
from shared.ops.desk import Desk
from shared.ops.following import LOOK_SECONDS
from shared.providers.registry import told

#: A proof takes a call or four; a key whose calls must wait for others takes longer.
PROOF_SECONDS = 60.0
#: Races named one by one, up to so many.
NAMED = 8


@dataclass(frozen=True, slots=True)
class Opening:
    """What became of a key's proof. ``accepted`` None: it is still to come."""

    accepted: bool | None
    reason: str | None
    races: Sequence[Any]  # race_id, name, events to come

    def describe(self) -> dict[str, object]:
        """As JSON."""
        return {"accepted": self.accepted, "reason": self.reason, "races": [dict(each) for each in self.races]}


async def opened(desk: Desk, credential_id: int) -> list[Any]:
    """The races that were found with a key, those with the most events to come first."""
    return await desk.database.fetch(
        """
        SELECT s.race_id, r.name, count(e.event_id) AS events_to_come
        FROM race_sync s JOIN races r USING (provider_id, timing_partner_id, race_id)
        LEFT JOIN events e ON (e.provider_id, e.timing_partner_id, e.race_id)
            = (s.provider_id, s.timing_partner_id, s.race_id) AND e.missing_at IS NULL AND e.starts_at > $2
        WHERE s.credential_id = $1 AND s.state IN ('active', 'over') GROUP BY 1, 2 ORDER BY 3 DESC, length(s.race_id), 1
        """,
        credential_id,
        desk.clock.now(),
    )


async def wait_for_proof(desk: Desk, credential_id: int, timeout: float = PROOF_SECONDS) -> Opening:
    """Wait until a new key was refused, or has listed its races."""
    began = desk.clock.now()
    while (desk.clock.now() - began).total_seconds() < timeout:
        row = await desk.database.fetchrow(
            "SELECT c.state, c.state_reason, c.last_discovered_at, k.provider_id FROM credentials c"
            " JOIN public.partner_provider_credentials k ON k.partner_provider_credential_id = c.credential_id"
            " WHERE c.credential_id = $1",
            credential_id,
        )
        if row is not None and row["state"] == "refused":
            return Opening(False, told(row["provider_id"], row["state_reason"]), [])
        if row is not None and row["state"] == "active" and row["last_discovered_at"] is not None:
            return Opening(True, row["state_reason"], await opened(desk, credential_id))
        await desk.clock.sleep(LOOK_SECONDS)
    return Opening(None, "it was not tried yet", [])


def in_words(opening: Opening, partner_id: int) -> str:
    """A sentence about what a key opens, without its subject."""
    if opening.accepted is None:
        return f"is not verified yet; see: hub partner list, or hub partner verify {partner_id}"
    if not opening.accepted:
        return f"was not accepted: {opening.reason}"
    if not opening.races:
        return "is accepted; it has no race yet"
    names = ", ".join(f"{each['race_id']} {show.clean(each['name'] or '').strip()}" for each in opening.races[:NAMED])
    more = f" and {len(opening.races) - NAMED} more" if len(opening.races) > NAMED else ""
    return f"is accepted; it opens {show.many(len(opening.races), 'race')}: {names}{more}"
