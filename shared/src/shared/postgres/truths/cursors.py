"""A cursor never moves back: an event's stands no earlier than any run of the last day left it."""

from shared.postgres.truths.checking import Truth

TRUTH = Truth(
    "cursors",
    "A cursor moved back: nothing is lost, but changes are asked for again; somebody wrote to hub.events by hand, or it"
    " is a defect of ours.",
    """
    SELECT format('event %s of partner %s', e.event_id, e.timing_partner_id) FROM events e
    JOIN LATERAL (
        SELECT max(r.cursor_at) AS cursor_at FROM sync_runs r
        WHERE r.timing_partner_id = e.timing_partner_id AND r.race_id = e.race_id AND r.provider_id = e.provider_id
          AND r.requested_at > $1::timestamptz - interval '1 day' AND r.kind = 'race' AND r.state = 'completed'
          AND e.event_id = ANY(r.event_ids)
    ) AS left_at ON left_at.cursor_at > coalesce(e.cursor_at, 'epoch')
    ORDER BY 1
    """,
)
