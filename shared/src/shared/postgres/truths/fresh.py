"""Every active race is fetched within its promise."""

from shared.postgres.truths.checking import Truth

TRUTH = Truth(
    "fresh",
    "A race is older than it was promised: see `hub status` for why, and ask for it with `hub sync --race R`.",
    """
    SELECT format('race %s of partner %s', s.race_id, s.timing_partner_id) FROM race_sync s
    JOIN credentials c USING (credential_id) JOIN public.timing_partners p ON p.timing_partner_id = s.timing_partner_id
    WHERE s.state = 'active' AND s.pace IS NOT NULL AND c.state IN ('new', 'active')
      AND coalesce(p.api_access_enabled, true) AND extract(epoch FROM
        $1::timestamptz - greatest(s.last_confirmed_at, s.pace_since)) > s.promised_seconds
    ORDER BY s.timing_partner_id, s.race_id
    """,
)
