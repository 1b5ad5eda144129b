"""What a backfill is about, in SQL: past events of which nobody was ever loaded."""

#: Formatted with the placeholders of the partner, the present instant, and how long after its last moment an event is
#: still the fresh's own.
MISSING = """
    SELECT e.provider_id, e.timing_partner_id, e.race_id, e.event_id FROM events e
    WHERE e.timing_partner_id = {partner} AND e.missing_at IS NULL AND e.cursor_at IS NULL
      AND coalesce(e.last_moment_at, {now}) <= {now}::timestamptz - {tail}::interval
"""
