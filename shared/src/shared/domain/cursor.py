"""Where the next incremental sync starts."""

from datetime import datetime, timedelta

#: How far each incremental sync reaches back behind what was seen; the vendor advises about ten seconds.
OVERLAP = timedelta(seconds=10)


def next_cursor(
    *,
    newest_seen: datetime | None,
    first_answer_at: datetime | None,
    first_page_newest: datetime | None,
    before: datetime | None,
    overlap: timedelta = OVERLAP,
) -> datetime | None:
    """The cursor after a complete pass: never behind ``before``, never past what the pass can vouch for.

    A long pass sees new rows late: while it pages through old ids, edits happen behind it. So the newest
    modification seen is trusted only up to the provider's clock at the first answer (its ``Date``), or, when
    it told no time, up to the newest of the first page. Nothing seen moves nothing, and neither does what came
    behind a first page that told neither (an empty one without a ``Date``).
    """
    bound = first_answer_at if first_answer_at is not None else first_page_newest
    if newest_seen is None or bound is None:
        return before
    candidate = min(newest_seen, bound) - overlap
    return candidate if before is None else max(before, candidate)
