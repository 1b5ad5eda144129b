"""A registration belongs to one race: two partners may both see it, but not in different races."""

from shared.postgres.truths.checking import Truth

TRUTH = Truth(
    "one_owner",
    "One registration is active in two races: it was transferred and one of them was not asked since; ask for both.",
    """
    SELECT format('registration %s in races %s', registration_id, string_agg(DISTINCT race_id, ', '))
    FROM participants WHERE removed_at IS NULL AND first_seen_at <= $1
    GROUP BY provider_id, registration_id HAVING count(*) > 1 AND count(DISTINCT race_id) > 1 ORDER BY 1
    """,
)
