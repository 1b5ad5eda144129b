-- A backfill is one row of what is wanted; what is missing stands in the tables, and ordinary runs of the lowest class,
-- a few at a time, bring it.
CREATE TABLE hub.backfills (
    backfill_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    timing_partner_id integer NOT NULL,
    state text NOT NULL
        CHECK (state IN ('planned', 'running', 'paused', 'finished', 'incomplete', 'cancelled')),
    created_at timestamptz NOT NULL,         -- runs with reason backfill that were asked for since are its runs
    listed_at timestamptz,                   -- every race and event of the past is known, or was asked for in vain
    started_at timestamptz,
    fed_at timestamptz,                      -- when it last asked for something: whoever waited longest goes first
    ended_at timestamptz
);
CREATE UNIQUE INDEX backfills_open ON hub.backfills (timing_partner_id) WHERE state IN ('planned', 'running', 'paused');

ALTER TABLE hub.race_sync ADD COLUMN history_at timestamptz; -- when every event that it ever had was asked for

CREATE INDEX sync_runs_backfill ON hub.sync_runs (timing_partner_id, requested_at) WHERE reason = 'backfill';
