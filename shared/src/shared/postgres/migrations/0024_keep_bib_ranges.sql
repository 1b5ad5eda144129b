-- Which bibs an event gives out, where the provider tells: whoever wears another one is listed by `hub bibs --conflicts`.
ALTER TABLE hub.events ADD COLUMN bib_ranges jsonb; -- [[first, last], ...]; empty: any bib; null: not asked yet
COMMENT ON COLUMN hub.events.bib_ranges IS
    'Bibs that the event gives out, [[first, last], ...]; empty: any; null: not asked yet, or not told.';
