-- Whom the last complete full pass of a race was the first not to contain: gone when the next one lacks them too.
CREATE TABLE hub.missed (
    provider_id integer NOT NULL,
    timing_partner_id integer NOT NULL,
    race_id text NOT NULL,
    run_id uuid NOT NULL,
    registration_ids text[] NOT NULL,
    first_call_at timestamptz NOT NULL,      -- of that pass: whoever was seen since is not missed
    ask_again boolean NOT NULL,              -- the race's next round asks for everybody
    PRIMARY KEY (provider_id, timing_partner_id, race_id)
);
