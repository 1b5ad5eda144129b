"""The change feed's numbers follow one another, and what is committed is numbered."""

from shared.postgres.truths.checking import Truth

TRUTH = Truth(
    "feed_is_whole",
    "The change feed has a gap, or diffs without a number: whoever reads it may miss something; readers should wait"
    " until the relay (in any service) runs again, and a gap is a defect of ours.",
    """
    WITH newest AS (
        SELECT batch_id, feed_first, size FROM change_batches WHERE feed_first IS NOT NULL
        ORDER BY feed_first DESC LIMIT 2000
    ), chain AS (SELECT *, lead(feed_first) OVER (ORDER BY feed_first) AS next FROM newest)
    SELECT format('gap behind %s', feed_first + size - 1) FROM chain WHERE next <> feed_first + size
    UNION ALL
    SELECT format('batch %s is not numbered', batch_id) FROM change_batches
    WHERE feed_first IS NULL AND written_at < $1::timestamptz - interval '5 minutes'
    """,
)
