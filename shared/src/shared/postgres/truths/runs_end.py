"""Every run ends: by its deadline, or because its request is sent again."""

from shared.postgres.truths.checking import Truth

TRUTH = Truth(
    "runs_end",
    "A run goes on past its deadline, or has waited an hour for its turn: no scheduler is at work, or it cannot write.",
    """
    SELECT format('run %s', run_id) FROM sync_runs
    WHERE state IN ('requested', 'running', 'fetched') AND deadline_at < $1::timestamptz - interval '5 minutes'
       OR state = 'queued' AND coalesce(not_before, requested_at) < $1::timestamptz - interval '1 hour'
        AND NOT EXISTS (SELECT 1 FROM sync_runs o WHERE o.subject = sync_runs.subject
            AND o.state IN ('requested', 'running', 'fetched'))
    ORDER BY requested_at
    """,
)
