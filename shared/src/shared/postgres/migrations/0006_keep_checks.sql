-- What the self-checks found when they looked last; a row each, written over.
CREATE TABLE hub.checks (
    name text PRIMARY KEY,
    means text NOT NULL,                     -- what a failure means, and what to do
    checked_at timestamptz NOT NULL,
    broken integer NOT NULL,
    examples text[] NOT NULL                 -- ids of the first of them, never a person
);
