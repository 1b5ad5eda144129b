"""No active participant is without their event, or in another race's."""

from shared.postgres.truths.checking import Truth

TRUTH = Truth(
    "people_have_events",
    "Somebody is registered for an event that is not stored, or that is another race's: a list of races was not"
    " applied; ask again with `hub sync`.",
    """
    SELECT format('registration %s of partner %s', p.registration_id, p.timing_partner_id) FROM participants p
    LEFT JOIN events e USING (provider_id, timing_partner_id, event_id)
    WHERE p.removed_at IS NULL AND e.race_id IS DISTINCT FROM p.race_id AND p.first_seen_at <= $1 ORDER BY 1
    """,
)
