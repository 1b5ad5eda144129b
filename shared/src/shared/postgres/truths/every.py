"""All truths, in the order in which an operator should care."""

from shared.postgres.truths import (
    cursors,
    feed_is_whole,
    fresh,
    one_owner,
    outbox_drains,
    people_have_events,
    runs_end,
    secrets_are_sealed,
)

TRUTHS = (
    fresh.TRUTH,
    runs_end.TRUTH,
    outbox_drains.TRUTH,
    feed_is_whole.TRUTH,
    cursors.TRUTH,
    people_have_events.TRUTH,
    one_owner.TRUTH,
    secrets_are_sealed.TRUTH,
)
