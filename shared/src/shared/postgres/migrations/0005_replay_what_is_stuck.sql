-- What is stuck, under one name, and doing it again: a replay is a frozen selection of items, sent at a bounded rate,
-- the first one alone. Dead letters, quarantined records, held removals, archived batches and former runs differ in
-- what an item points at, not in how it is paced, watched and cancelled.

-- Open items of every shelf in the same columns. `fingerprint` is that of the cause: equal for all that failed alike.
CREATE VIEW hub.stuck AS
SELECT 'dead-letters' AS shelf, d.item_id, d.type, r.provider_id, r.timing_partner_id AS partner_id, r.race_id, d.reason,
       d.fingerprint, d.first_seen_at AS first_at, d.dead_at AS last_at, d.attempts AS times
FROM hub.dead_letters d LEFT JOIN hub.sync_runs r
    ON r.run_id = CASE WHEN d.correlation_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN d.correlation_id::uuid END
WHERE d.resolved_at IS NULL
UNION ALL
SELECT 'quarantine', item_id, type, provider_id, timing_partner_id, nullif(race_id, ''), reason,
       left(md5(provider_id || ' ' || type || ' ' || reason), 12), first_seen_at, last_seen_at, times
FROM hub.quarantine WHERE resolved_at IS NULL
UNION ALL
SELECT 'removals', item_id, 'removal', provider_id, timing_partner_id, race_id,
       cardinality(registration_ids) || ' of ' || active || ' missing', left(md5('removal'), 12), held_at, held_at, 1
FROM hub.held_removals WHERE resolved_at IS NULL;

CREATE TABLE hub.replays (
    replay_id uuid PRIMARY KEY,
    what text NOT NULL CHECK (what IN ('records', 'runs', 'quarantine', 'dead-letters', 'removals')),
    reason text NOT NULL CHECK (reason IN ('operator', 'mapping')),
    dry_run boolean NOT NULL DEFAULT false,
    state text NOT NULL CHECK (state IN ('canary', 'running', 'done', 'stopped', 'cancelled')),
    rate real NOT NULL CHECK (rate > 0),     -- items a second at the most
    mapping_version integer,                 -- of the provider's mapping, when a new one is the reason
    asked_at timestamptz NOT NULL,
    paced_at timestamptz NOT NULL,           -- up to when the rate is used
    finished_at timestamptz,
    stop_reason text
);
CREATE INDEX replays_open ON hub.replays (asked_at) WHERE finished_at IS NULL;

CREATE TABLE hub.replay_items (
    replay_id uuid NOT NULL REFERENCES hub.replays ON DELETE CASCADE,
    ordinal integer NOT NULL,
    provider_id integer,                     -- whose rows it touches: null for a message, which brings its own order
    timing_partner_id integer,
    race_id text,
    item_id bigint,                          -- what was stuck
    source_run_id uuid,                      -- the archived batch, or the run that is asked for again
    source_attempt integer,
    source_sequence integer,
    run_id uuid,                             -- the batch, or the run, that proves it: applied, or complete
    attempt integer,
    sequence integer,
    message_id uuid,                         -- as which it was sent
    sent_at timestamptz,
    finished_at timestamptz,
    outcome text CHECK (outcome IN ('done', 'again', 'failed', 'skipped')),
    reason text,
    counts jsonb,                            -- of a dry run: registrations that would change, by kind
    PRIMARY KEY (replay_id, ordinal)
);
CREATE INDEX replay_items_open ON hub.replay_items (replay_id, ordinal) WHERE finished_at IS NULL;
CREATE INDEX replay_items_sent ON hub.replay_items (message_id) WHERE finished_at IS NULL;

-- Items of a race that a later record may settle; how many of each reason there are.
CREATE INDEX quarantine_of_race ON hub.quarantine (timing_partner_id, race_id) WHERE resolved_at IS NULL;
CREATE INDEX raw_batches_of_race ON hub.raw_batches (timing_partner_id, race_id, fetched_at);

-- What a diff tells, in one word: added, updated and restored as they are; one who is gone by the reason, as the
-- provider told it (removed, transferred, deferred, cleared, refunded, ...), or `absent`: a full pass lacked them.
CREATE OR REPLACE VIEW hub.change_feed AS
SELECT b.feed_first + c.ordinal AS feed_id, c.kind, c.provider_id, c.timing_partner_id, b.race_id, c.event_id,
       c.registration_id, c.fields, c.touches_bib, b.run_id, b.reason, b.written_at, b.batch_id, c.ordinal,
       CASE WHEN c.kind = 'removed' THEN coalesce(c.fields -> 'removed_reason' ->> 1, c.kind) ELSE c.kind END AS event
FROM hub.change_batches b JOIN hub.changes c USING (batch_id)
WHERE b.feed_first IS NOT NULL;
