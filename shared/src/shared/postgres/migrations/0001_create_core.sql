-- The core: provider-neutral tables in the schema `hub`, so that they never meet a table that operators already have.
-- Keys are (provider, timing partner, the provider's id as text). No statement below asks for the present time in a
-- decision: instants are passed in. (Defaults with now() stand only where a person inserts by hand.)

CREATE SCHEMA IF NOT EXISTS hub;

-- ── Tenants and keys: the names operators know, in public ────────────────────────────────────────────────────────

CREATE TABLE public.timing_partners (
    timing_partner_id serial PRIMARY KEY,
    company_name varchar(255) NOT NULL,
    access_password text,
    contact_email text,
    api_access_enabled boolean DEFAULT true,
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now()
);

CREATE TABLE public.providers (
    provider_id integer PRIMARY KEY,
    name text NOT NULL,
    provider_type text,
    api_base_url text,
    rate_limit_per_hour integer DEFAULT 1000,
    created_at timestamptz DEFAULT now()
);
INSERT INTO public.providers (provider_id, name, provider_type, api_base_url) VALUES
    (1, 'Chronotrack', 'registration', NULL),
    (2, 'RunSignUp', 'registration', 'https://api.runsignup.com/rest'),
    (3, 'Race Roster', 'registration', NULL),
    (4, 'Haku', 'registration', NULL),
    (5, 'Race Record', 'registration', NULL);

-- Where operators insert a key, in clear; the system seals it when it first sees it and empties `secret`.
-- No unique key on the pair: several credentials a partner, and one key shared by two partners, both exist.
CREATE TABLE public.partner_provider_credentials (
    partner_provider_credential_id serial PRIMARY KEY,
    provider_id integer NOT NULL REFERENCES public.providers,
    timing_partner_id integer NOT NULL REFERENCES public.timing_partners,
    principal text NOT NULL,
    secret text,
    credential_type text,
    additional_config jsonb,
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now()
);

CREATE TABLE hub.credentials (
    credential_id integer PRIMARY KEY
        REFERENCES public.partner_provider_credentials (partner_provider_credential_id) ON DELETE CASCADE,
    sealed_secret bytea NOT NULL,
    fingerprint text NOT NULL,               -- of the principal; what budgets and rows name a key by
    state text NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'active', 'refused', 'disabled')),
    state_reason text,
    state_at timestamptz NOT NULL,
    discover_due_at timestamptz NOT NULL,    -- when the scheduler looks at it next
    last_discovered_at timestamptz           -- first call of the last complete discovery
);
CREATE INDEX credentials_due ON hub.credentials (discover_due_at) WHERE state IN ('new', 'active');

-- A budget belongs to a key, not to a row: two partners who share a key share it. Its row is the budget's lock.
CREATE TABLE hub.provider_keys (
    provider_id integer NOT NULL,
    fingerprint text NOT NULL,
    calls_per_hour integer,                  -- null: the provider's rate_limit_per_hour
    blocked_until timestamptz,               -- throttled or parked as slow
    block_reason text,
    slow_answers integer NOT NULL DEFAULT 0, -- in a row
    PRIMARY KEY (provider_id, fingerprint)
);

-- What the last hour's calls were: in no rolling hour more than the limit. A call counts from its reservation until
-- an hour after its end or time-out.
CREATE TABLE hub.calls (
    call_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider_id integer NOT NULL,
    fingerprint text NOT NULL,
    sync_class text NOT NULL,
    run_id uuid,
    reserved_at timestamptz NOT NULL,
    finished_at timestamptz,
    counts_until timestamptz NOT NULL,
    outcome text
);
CREATE INDEX calls_counting ON hub.calls (provider_id, fingerprint, counts_until);

-- Calls in flight per caller registration: slots are leases, longer than a call's total time-out.
CREATE TABLE hub.call_slots (
    caller text NOT NULL,
    slot integer NOT NULL,
    fingerprint text,
    call_id bigint,
    leased_until timestamptz NOT NULL,
    PRIMARY KEY (caller, slot)
);
-- Who waits for a slot: while another key waits, a key holds at most one.
CREATE TABLE hub.call_waiters (
    caller text NOT NULL,
    fingerprint text NOT NULL,
    waits_until timestamptz NOT NULL,
    PRIMARY KEY (caller, fingerprint)
);
-- The caller registration was refused: every call of every tenant would fail.
CREATE TABLE hub.provider_stops (
    provider_id integer PRIMARY KEY,
    stopped_at timestamptz NOT NULL,
    until timestamptz NOT NULL,
    reason text NOT NULL
);

-- ── What the provider has ────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE hub.races (
    provider_id integer NOT NULL,
    timing_partner_id integer NOT NULL,
    race_id text NOT NULL,
    name text,
    timezone text,
    url text,
    is_draft boolean,
    is_private boolean,
    is_registration_open boolean,
    created_at timestamptz,
    provider_modified_at timestamptz,
    address jsonb,
    details jsonb,
    notes text,
    credentials_used text,                   -- a fingerprint, never a key
    fetched_at timestamptz NOT NULL,
    first_seen_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    missing_at timestamptz,                  -- left the provider's list: kept, no longer polled
    PRIMARY KEY (provider_id, timing_partner_id, race_id)
);

CREATE TABLE hub.events (
    provider_id integer NOT NULL,
    timing_partner_id integer NOT NULL,
    event_id text NOT NULL,
    race_id text NOT NULL,
    name text,
    event_type text,
    edition_id text,
    starts_at timestamptz,
    ends_at timestamptz,
    registration_opens_at timestamptz,
    registration_closes_at timestamptz,
    distance numeric(12, 3),
    distance_unit text,
    is_volunteer boolean NOT NULL,
    sub_event_ids text[] NOT NULL,
    details jsonb,
    notes text,
    credentials_used text,
    fetched_at timestamptz NOT NULL,
    first_seen_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    missing_at timestamptz,
    cursor_at timestamptz,                   -- where the next incremental sync starts; null: a full pass is needed
    removals_cursor_at timestamptz,          -- the same for the list of removed people, which is not asked every round
    PRIMARY KEY (provider_id, timing_partner_id, event_id)
);
CREATE INDEX events_of_race ON hub.events (provider_id, timing_partner_id, race_id);

CREATE TABLE hub.participants (
    provider_id integer NOT NULL,
    timing_partner_id integer NOT NULL,
    registration_id text NOT NULL,
    race_id text NOT NULL,
    event_id text NOT NULL,
    user_id text,
    first_name text,
    middle_name text,
    last_name text,
    email text,
    dob date,
    gender text,
    phone text,
    profile_image_url text,
    address jsonb,
    bib text,
    chip text,
    age integer,
    registered_at timestamptz,
    team_info jsonb,
    payment_info jsonb,
    additional_data jsonb,
    provider_modified_at timestamptz,
    notes text,
    content_hash bytea NOT NULL,
    credentials_used text,
    fetched_at timestamptz NOT NULL,         -- when the call that brought these fields was sent
    presence_at timestamptz NOT NULL,        -- the same for what is known of being there or gone
    first_seen_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    removed_at timestamptz,                  -- null: active. Nobody is ever deleted
    removed_reason text,
    new_registration_id text,
    id bigint GENERATED BY DEFAULT AS IDENTITY, -- the serial that readers of the old tables know
    PRIMARY KEY (provider_id, timing_partner_id, registration_id)
);
-- A race's active people: the end of a full pass, counts, lists.
CREATE INDEX participants_of_race ON hub.participants (timing_partner_id, race_id, event_id) WHERE removed_at IS NULL;
-- Who wears this bib: duplicates, look-ups, bib lists.
-- (Its beginning only: a bib is text of any length, an index entry is not.)
CREATE INDEX participants_bib ON hub.participants (timing_partner_id, race_id, left(bib, 100))
    WHERE bib IS NOT NULL AND removed_at IS NULL;

-- ── Asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

-- One row a race: its schedule, and the lock that every transaction of the race takes first.
CREATE TABLE hub.race_sync (
    provider_id integer NOT NULL,
    timing_partner_id integer NOT NULL,
    race_id text NOT NULL,
    credential_id integer NOT NULL,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'refused', 'missing', 'over')),
    state_reason text,
    next_due_at timestamptz NOT NULL,        -- when the scheduler looks at it next
    last_asked_at timestamptz,
    last_confirmed_at timestamptz,           -- first call of the last complete run: the provider's state was seen then
    last_full_at timestamptz,
    failures integer NOT NULL DEFAULT 0,     -- in a row
    round integer NOT NULL DEFAULT 0,
    PRIMARY KEY (provider_id, timing_partner_id, race_id)
) WITH (fillfactor = 50);
CREATE INDEX race_sync_due ON hub.race_sync (next_due_at) WHERE state = 'active';

CREATE TABLE hub.sync_runs (
    run_id uuid PRIMARY KEY,
    subject text NOT NULL,                   -- what at most one outstanding run may be about
    kind text NOT NULL,
    provider_id integer NOT NULL,
    timing_partner_id integer NOT NULL,
    credential_id integer NOT NULL,
    race_id text,
    event_ids text[] NOT NULL DEFAULT '{}',
    mode text NOT NULL,
    removals boolean NOT NULL DEFAULT false,
    modified_after timestamptz,
    removed_after timestamptz,
    bib text,
    sync_class text NOT NULL,
    reason text NOT NULL,
    state text NOT NULL,
    requested_at timestamptz NOT NULL,
    sent_at timestamptz,                     -- when its message was last put into the outbox
    not_before timestamptz,                  -- queued until then (no budget)
    replaced_by uuid,
    deadline_seconds integer NOT NULL,
    deadline_at timestamptz,                 -- from the first call on
    attempt integer NOT NULL DEFAULT 0,
    leased_until timestamptz,
    progress jsonb NOT NULL DEFAULT '{}',    -- where the next attempt goes on
    ranges jsonb,                            -- (attempt, first, last sequence) of the whole pass, once known
    batches integer,                         -- how many they are
    applied integer NOT NULL DEFAULT 0,      -- how many of them are applied, counted when the ranges are known
    started_at timestamptz,                  -- first call
    finished_at timestamptz,
    pages integer NOT NULL DEFAULT 0,
    calls integer NOT NULL DEFAULT 0,
    fetched integer NOT NULL DEFAULT 0,
    added integer NOT NULL DEFAULT 0,
    updated integer NOT NULL DEFAULT 0,
    unchanged integer NOT NULL DEFAULT 0,
    stale integer NOT NULL DEFAULT 0,
    removed integer NOT NULL DEFAULT 0,
    restored integer NOT NULL DEFAULT 0,
    quarantined integer NOT NULL DEFAULT 0,
    cursor_at timestamptz,
    error_code text,
    error text
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX sync_runs_outstanding ON hub.sync_runs (subject) WHERE state IN ('requested', 'running', 'fetched');
CREATE UNIQUE INDEX sync_runs_queued ON hub.sync_runs (subject) WHERE state = 'queued';
CREATE INDEX sync_runs_open ON hub.sync_runs (requested_at)
    WHERE state IN ('queued', 'requested', 'running', 'fetched');
CREATE INDEX sync_runs_history ON hub.sync_runs (requested_at);
CREATE INDEX sync_runs_of_race ON hub.sync_runs (timing_partner_id, race_id, requested_at);

-- ── Applying ─────────────────────────────────────────────────────────────────────────────────────────────────────

-- The inbox: a batch is (run, attempt, sequence) and applied once.
CREATE TABLE hub.applied_batches (
    run_id uuid NOT NULL,
    attempt integer NOT NULL,
    sequence integer NOT NULL,
    type text NOT NULL,
    applied_at timestamptz NOT NULL,
    seen_ids text[],                         -- who was in a full pass's batch, until the pass is complete
    unreadable integer NOT NULL DEFAULT 0,   -- rows whose id could not be read: they forbid removals
    PRIMARY KEY (run_id, attempt, sequence)
);

-- Raw records, kept for replay at no call; compressed by us, so the database need not try.
CREATE TABLE hub.raw_batches (
    run_id uuid NOT NULL,
    attempt integer NOT NULL,
    sequence integer NOT NULL,
    type text NOT NULL,
    provider_id integer NOT NULL,
    timing_partner_id integer NOT NULL,
    race_id text,
    fetched_at timestamptz NOT NULL,
    records integer NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (run_id, attempt, sequence)
);
ALTER TABLE hub.raw_batches ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX raw_batches_age ON hub.raw_batches (fetched_at);

CREATE TABLE hub.quarantine (
    item_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider_id integer NOT NULL,
    timing_partner_id integer NOT NULL,
    race_id text,
    registration_id text,                    -- when its id could be read
    run_id uuid NOT NULL,
    type text NOT NULL,
    reason text NOT NULL,
    fingerprint text NOT NULL,               -- the same row again is not a second item
    mapping_version integer NOT NULL,
    fetched_at timestamptz NOT NULL,
    raw bytea NOT NULL,                      -- the record as JSON bytes: it may hold what jsonb cannot
    first_seen_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    times integer NOT NULL DEFAULT 1,
    resolved_at timestamptz,
    resolution text
);
CREATE UNIQUE INDEX quarantine_open ON hub.quarantine (provider_id, timing_partner_id, fingerprint)
    WHERE resolved_at IS NULL;

-- ── Telling ──────────────────────────────────────────────────────────────────────────────────────────────────────

-- State and message leave together: written in the transaction that changes rows, published by the relay.
CREATE TABLE hub.outbox (
    outbox_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id uuid NOT NULL,
    type text NOT NULL,
    routing_key text NOT NULL,
    correlation_id uuid,
    body bytea NOT NULL,
    batch_id bigint,                         -- a batch of diffs: published once it is numbered
    created_at timestamptz NOT NULL
);

-- The change feed. A transaction's diffs are one batch; the relay, one at a time, numbers committed batches, so that
-- numbers have no gaps and follow the order of commits. A diff's number is feed_first + ordinal.
CREATE TABLE hub.change_batches (
    batch_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    feed_first bigint UNIQUE,
    size integer NOT NULL,
    run_id uuid NOT NULL,
    reason text NOT NULL,
    provider_id integer NOT NULL,
    timing_partner_id integer NOT NULL,
    race_id text NOT NULL,
    written_at timestamptz NOT NULL
);
CREATE INDEX change_batches_unnumbered ON hub.change_batches (batch_id) WHERE feed_first IS NULL;

CREATE TABLE hub.changes (
    batch_id bigint NOT NULL,
    ordinal integer NOT NULL,
    provider_id integer NOT NULL,
    timing_partner_id integer NOT NULL,
    registration_id text NOT NULL,
    event_id text NOT NULL,
    kind text NOT NULL,                      -- added, updated, removed, restored
    touches_bib boolean NOT NULL,
    fields jsonb NOT NULL,                   -- field: [before, after]
    PRIMARY KEY (batch_id, ordinal)
);
CREATE INDEX changes_of_participant ON hub.changes (timing_partner_id, registration_id);

-- How far a reader of the feed has come.
CREATE TABLE hub.feed_positions (
    reader text PRIMARY KEY,
    feed_id bigint NOT NULL
);

CREATE VIEW hub.change_feed AS
SELECT b.feed_first + c.ordinal AS feed_id, c.kind, c.provider_id, c.timing_partner_id, b.race_id, c.event_id,
       c.registration_id, c.fields, c.touches_bib, b.run_id, b.reason, b.written_at, b.batch_id, c.ordinal
FROM hub.change_batches b JOIN hub.changes c USING (batch_id)
WHERE b.feed_first IS NOT NULL;

-- ── Bibs ─────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE hub.bib_history (
    bib_event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider_id integer NOT NULL,
    timing_partner_id integer NOT NULL,
    race_id text NOT NULL,
    event_id text NOT NULL,
    registration_id text NOT NULL,
    kind text NOT NULL,                      -- given, changed, swapped, cleared, duplicate
    before text,
    after text,
    other_registration_id text,
    feed_id bigint NOT NULL,
    run_id uuid NOT NULL,
    reason text NOT NULL,
    provider_modified_at timestamptz,
    detected_at timestamptz NOT NULL,
    UNIQUE (feed_id, kind)
);
CREATE INDEX bib_history_of_race ON hub.bib_history (timing_partner_id, race_id, bib_event_id);
CREATE INDEX bib_history_of_participant ON hub.bib_history (timing_partner_id, registration_id);

-- ── Being stuck, and being alive ─────────────────────────────────────────────────────────────────────────────────

CREATE TABLE hub.dead_letters (
    item_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id text NOT NULL,
    type text NOT NULL,
    queue text NOT NULL,
    routing_key text NOT NULL,
    correlation_id text,
    reason text NOT NULL,
    fingerprint text NOT NULL,               -- of its cause: type, queue and reason
    attempts integer NOT NULL,
    first_seen_at timestamptz NOT NULL,
    dead_at timestamptz NOT NULL,
    body bytea NOT NULL,
    resolved_at timestamptz,
    resolution text,
    UNIQUE (message_id, queue, dead_at)      -- delivered twice, kept once
);
CREATE INDEX dead_letters_open ON hub.dead_letters (item_id) WHERE resolved_at IS NULL;

CREATE TABLE hub.service_beats (
    service text NOT NULL,
    instance uuid NOT NULL,
    started_at timestamptz NOT NULL,
    beat_at timestamptz NOT NULL,
    PRIMARY KEY (service, instance)
);

-- A full pass that would have removed too many: nothing was removed, an operator decides.
CREATE TABLE hub.held_removals (
    item_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider_id integer NOT NULL,
    timing_partner_id integer NOT NULL,
    race_id text NOT NULL,
    run_id uuid NOT NULL,
    registration_ids text[] NOT NULL,
    active integer NOT NULL,                 -- people of the race before
    first_call_at timestamptz NOT NULL,      -- of the pass that did not contain them
    held_at timestamptz NOT NULL,
    resolved_at timestamptz,
    resolution text
);
CREATE UNIQUE INDEX held_removals_open ON hub.held_removals (provider_id, timing_partner_id, race_id)
    WHERE resolved_at IS NULL;
