-- Race morning, foreseen: when each event is over, cadences of some partners and races, what was promised, and which hours
-- do not fit a key's budget.

-- One truth for "is it over": the gun or the end, whichever is later; a virtual event without an end lives on while its
-- registration does. (shared/domain/schedule.py says the same of a span.)
ALTER TABLE hub.events ADD COLUMN last_moment_at timestamptz GENERATED ALWAYS AS (
    greatest(starts_at, ends_at, CASE WHEN ends_at IS NULL AND event_type ILIKE '%virtual%' THEN registration_closes_at END)
) STORED;

-- Settings of the schedule for one partner, or for one of its races: the names of the environment's settings without HUB_,
-- in lower case. The race's hold before the partner's, the partner's before the environment's.
CREATE TABLE hub.cadences (
    timing_partner_id integer NOT NULL,
    race_id text NOT NULL DEFAULT '',        -- '': all races of the partner
    settings jsonb NOT NULL CHECK (jsonb_typeof(settings) = 'object'),
    PRIMARY KEY (timing_partner_id, race_id)
);

-- What a race was promised when it was last looked at: the metrics' view of it.
ALTER TABLE hub.race_sync
    ADD COLUMN pace text,                    -- raceday, near, routine, long, tail
    ADD COLUMN pace_since timestamptz,       -- a promise counts from its pace's beginning at the earliest
    ADD COLUMN promised_seconds real;        -- how old what is known of it may be

-- The hours of a key with race-day work, as far as they are foreseen. Where they do not fit, every race-day race of the key
-- is asked for each interval_seconds instead of each minute; announced_at says since when that is known.
CREATE TABLE hub.key_hours (
    provider_id integer NOT NULL,
    fingerprint text NOT NULL,
    hour timestamptz NOT NULL,
    raceday_races integer NOT NULL,          -- most at once
    raceday_calls integer NOT NULL,          -- what they would cost unstretched
    other_calls integer NOT NULL,
    usable_calls integer NOT NULL,           -- limit, less the reserve, less what somebody else uses
    interval_seconds integer,                -- null: it fits
    announced_at timestamptz,
    planned_at timestamptz NOT NULL,
    PRIMARY KEY (provider_id, fingerprint, hour)
);

-- Somebody else's calls with the same key, as the provider let us see them last; an hour later they count no more.
ALTER TABLE hub.provider_keys
    ADD COLUMN others_calls integer NOT NULL DEFAULT 0,
    ADD COLUMN others_seen_at timestamptz;
