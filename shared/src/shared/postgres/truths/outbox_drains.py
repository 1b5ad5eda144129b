"""The outbox drains: what was committed is told within minutes."""

from shared.postgres.truths.checking import Truth

TRUTH = Truth(
    "outbox_drains",
    "Messages wait in the outbox: the broker does not take them, or no service is running; see `hub doctor`.",
    """
    SELECT format('message %s of type %s', message_id, type) FROM outbox
    WHERE created_at < $1::timestamptz - interval '5 minutes' ORDER BY outbox_id
    """,
)
