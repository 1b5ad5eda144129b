-- The names that operators and downstream tools know, as views over the core. They are read-only, they show what the
-- provider said in the shape that the old tables had, and whatever stands in a row, no view fails on it: what does not
-- fit the old type is null there, and whole in the core.
--
-- Instants are `timestamptz` (the old tables had local times without a zone), so that `WHERE start_time > NOW()` is
-- right in every session's time zone. Ids are `bigint` where the old tables had `integer`: core ids are text, and one
-- above 2147483647 must not break a reader of all the others. Text has any length.

-- ── What the views read with ─────────────────────────────────────────────────────────────────────────────────────

-- PostgreSQL 13 cannot ask whether a cast would fail; a pattern can. Where rows are many, a single expression, so that
-- the planner writes it into the statement.
CREATE FUNCTION hub.whole_number(value text) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT CASE WHEN value ~ '^[0-9]{1,18}$' THEN value::bigint END $$;
COMMENT ON FUNCTION hub.whole_number(text) IS 'An id of the core as a number; null when it is not one (or longer than 18 digits).';

CREATE FUNCTION hub.truth(value text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT CASE WHEN value IN ('T', 'true') THEN true WHEN value IN ('F', 'false') THEN false END $$;
COMMENT ON FUNCTION hub.truth(text) IS 'A provider''s T or F; null when it is neither.';

-- 02/30 is no day: adding days to the first of the month never fails, and then lands in another month.
CREATE FUNCTION hub.calendar_day(value text) RETURNS date
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$
    SELECT CASE WHEN date_part('month', day) = month THEN day END
    FROM (SELECT make_date(parts[1]::integer, parts[2]::integer, 1) + parts[3]::integer - 1 AS day,
                 parts[2]::integer AS month
          FROM (SELECT CASE
                  WHEN value ~ '^(0?[1-9]|1[0-2])/(0?[1-9]|[12][0-9]|3[01])/[12][0-9]{3}( |$)' THEN
                      ARRAY[substring(value FROM '/([0-9]{4})'), substring(value FROM '^([0-9]+)/'),
                            substring(value FROM '/([0-9]+)/')]
                  WHEN value ~ '^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])([ T]|$)' THEN
                      string_to_array(left(value, 10), '-')
                END AS parts) AS spelled) AS counted
$$;
COMMENT ON FUNCTION hub.calendar_day(text) IS 'A day spelled 05/22/2027 or 2027-05-22, with or without a time of day behind it; null when it is none.';

CREATE FUNCTION hub.with_keys(keys jsonb, value jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT keys || CASE WHEN jsonb_typeof(value) = 'object' THEN value ELSE '{}'::jsonb END $$;
COMMENT ON FUNCTION hub.with_keys(jsonb, jsonb) IS 'A JSON object in which some keys are always present, null when the value has none.';

-- ── RunSignUp ────────────────────────────────────────────────────────────────────────────────────────────────────

-- What left the provider's list is shown still, as it stood in the old tables: a race of last month leaves it too, and
-- one odd answer must not empty a screen. `missing_at` in the core says so.
CREATE VIEW public.runsignup_races AS
SELECT hub.whole_number(race_id) AS race_id,
       name,
       hub.calendar_day(details ->> 'last_date') AS last_date,
       hub.calendar_day(details ->> 'last_end_date') AS last_end_date,
       hub.calendar_day(details ->> 'next_date') AS next_date,
       hub.calendar_day(details ->> 'next_end_date') AS next_end_date,
       is_draft AS is_draft_race,
       is_private AS is_private_race,
       is_registration_open,
       created_at AS created,
       provider_modified_at AS last_modified,
       details ->> 'description' AS description,
       url,
       details ->> 'external_race_url' AS external_race_url,
       details ->> 'external_results_url' AS external_results_url,
       details ->> 'fb_page_id' AS fb_page_id,
       details ->> 'fb_event_id' AS fb_event_id,
       hub.with_keys('{"street": null, "city": null, "state": null, "zipcode": null, "country_code": null}', address)
           AS address,
       timezone,
       details ->> 'logo_url' AS logo_url,
       hub.truth(details ->> 'real_time_notifications_enabled') AS real_time_notifications_enabled,
       fetched_at AS fetched_date,
       credentials_used,
       timing_partner_id,
       first_seen_at AS created_at
FROM hub.races
WHERE provider_id = 2;
COMMENT ON VIEW public.runsignup_races IS
    'Races of RunSignUp, in the shape of the old table; the truth is hub.races. Races that left the provider''s list stay.';
COMMENT ON COLUMN public.runsignup_races.race_id IS 'bigint; null for an id that is not a number.';
COMMENT ON COLUMN public.runsignup_races.created IS 'When the race was made at RunSignUp; created_at is when it was first seen here.';
COMMENT ON COLUMN public.runsignup_races.fetched_date IS
    'When the call was sent that brought what stands here. A race found unchanged keeps it: for freshness see hub.race_sync.last_confirmed_at.';
COMMENT ON COLUMN public.runsignup_races.credentials_used IS 'A fingerprint of the key, never the key.';

CREATE VIEW public.runsignup_events AS
SELECT hub.whole_number(event_id) AS event_id,
       hub.whole_number(race_id) AS race_id,
       name,
       details ->> 'details' AS details,
       starts_at AS start_time,
       ends_at AS end_time,
       hub.calendar_day(details ->> 'age_calc_base_date') AS age_calc_base_date,
       registration_opens_at AS registration_opens,
       event_type,
       CASE WHEN abs(distance) < 99999999.99 THEN distance END::numeric(10, 2) AS distance,
       is_volunteer AS volunteer,
       hub.truth(details ->> 'require_dob') AS require_dob,
       hub.truth(details ->> 'require_phone') AS require_phone,
       details ->> 'giveaway' AS giveaway,
       fetched_at AS fetched_date,
       credentials_used,
       timing_partner_id,
       first_seen_at AS created_at
FROM hub.events
WHERE provider_id = 2;
COMMENT ON VIEW public.runsignup_events IS
    'Events of RunSignUp, in the shape of the old table; the truth is hub.events. Events that left the provider''s list stay.';
COMMENT ON COLUMN public.runsignup_events.event_id IS 'bigint; null for an id that is not a number.';
COMMENT ON COLUMN public.runsignup_events.start_time IS 'An instant: the start in the race''s own zone, made absolute.';
COMMENT ON COLUMN public.runsignup_events.distance IS 'The number alone, as the old table had it; its unit is hub.events.distance_unit.';
COMMENT ON COLUMN public.runsignup_events.fetched_date IS
    'When the call was sent that brought what stands here. An event found unchanged keeps it: for freshness see hub.race_sync.last_confirmed_at.';
COMMENT ON COLUMN public.runsignup_events.credentials_used IS 'A fingerprint of the key, never the key.';

CREATE VIEW public.runsignup_participants AS
SELECT id,
       hub.whole_number(race_id) AS race_id,
       hub.whole_number(event_id) AS event_id,
       hub.whole_number(registration_id) AS registration_id,
       hub.whole_number(user_id) AS user_id,
       first_name,
       middle_name,
       last_name,
       email,
       hub.with_keys('{"street": null, "city": null, "state": null, "zipcode": null, "country_code": null}', address)
           AS address,
       dob,
       gender,
       phone,
       profile_image_url,
       bib AS bib_num,
       chip AS chip_num,
       age,
       registered_at AS registration_date,
       hub.with_keys('{"team_id": null, "team_name": null, "team_type_id": null, "team_type": null, "team_gender": null,
           "team_bib_num": null}', team_info) AS team_info,
       hub.with_keys('{"race_fee": null, "offline_payment_amount": null, "processing_fee": null,
           "processing_fee_paid_by_user": null, "processing_fee_paid_by_race": null, "partner_fee": null,
           "affiliate_profit": null, "extra_fees": null, "amount_paid": null, "rsu_transaction_id": null,
           "transaction_id": null}', payment_info) AS payment_info,
       hub.with_keys('{"usatf_discount_amount_in_cents": null, "usatf_discount_additional_field": null,
           "giveaway": null, "giveaway_option_id": null, "fundraiser_id": null, "fundraiser_charity_id": null,
           "fundraiser_charity_name": null, "team_fundraiser_id": null, "multi_race_bundle_id": null,
           "multi_race_bundle": null, "signed_waiver_details": null, "imported": null}', additional_data)
           AS additional_data,
       fetched_at AS fetched_date,
       credentials_used,
       timing_partner_id,
       first_seen_at AS created_at,
       provider_modified_at AS last_modified
FROM hub.participants
WHERE provider_id = 2 AND removed_at IS NULL;
COMMENT ON VIEW public.runsignup_participants IS
    'Active registrations at RunSignUp, in the shape of the old table. Refunded, transferred and removed people are not here; hub.participants keeps them, with status, reason and time.';
COMMENT ON COLUMN public.runsignup_participants.id IS 'A serial of this database; the registration is identified by registration_id.';
COMMENT ON COLUMN public.runsignup_participants.race_id IS 'bigint; null for an id that is not a number.';
COMMENT ON COLUMN public.runsignup_participants.bib_num IS 'Text, as the provider has it; not unique.';
COMMENT ON COLUMN public.runsignup_participants.payment_info IS 'Numbers; null is not 0: a timer''s key may not see every amount.';
COMMENT ON COLUMN public.runsignup_participants.fetched_date IS
    'When the call was sent that brought what stands here. Somebody found unchanged keeps it: for freshness see hub.race_sync.last_confirmed_at.';
COMMENT ON COLUMN public.runsignup_participants.credentials_used IS 'A fingerprint of the key, never the key.';
COMMENT ON COLUMN public.runsignup_participants.last_modified IS 'When the registration last changed at RunSignUp.';

-- `WHERE race_id = 81042` compares numbers, and the core's indexes hold text. Measured with 50,000 people on PostgreSQL
-- 15: count(*) of a race takes 69 ms without this index and 0.2 ms with it, of an event likewise (the second column is
-- looked through in the index, which is 0.5 MB); COPY of new people costs the server a sixth more, 0.95 s of CPU instead
-- of 0.81. Displays ask all day, and a first load comes once: the index stays. A reader of hub.participants, or of unified_participants, compares text and needs none of it.
CREATE INDEX participants_by_number ON hub.participants (hub.whole_number(race_id), hub.whole_number(event_id))
    WHERE provider_id = 2 AND removed_at IS NULL;

-- ── Every provider ───────────────────────────────────────────────────────────────────────────────────────────────

-- The five fixed providers by the words that readers know; a later one by its name, in lower case without blanks.
CREATE FUNCTION hub.source_provider(provider_id integer, name text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$
    SELECT CASE provider_id
        WHEN 1 THEN 'chronotrack' WHEN 2 THEN 'runsignup' WHEN 3 THEN 'raceroster' WHEN 4 THEN 'haku'
        WHEN 5 THEN 'racerecord'
        ELSE coalesce(nullif(regexp_replace(lower(name), '[^a-z0-9]', '', 'g'), ''), 'provider' || provider_id::text)
    END
$$;
COMMENT ON FUNCTION hub.source_provider(integer, text) IS 'What the unified views call a provider.';

CREATE VIEW public.unified_participants AS
SELECT hub.source_provider(p.provider_id, v.name) AS source_provider,
       p.timing_partner_id,
       p.event_id::varchar AS event_id,
       p.first_name,
       p.last_name,
       p.email,
       p.gender,
       p.bib AS bib_number,
       p.address ->> 'city' AS city,
       p.address ->> 'state' AS state,
       p.age,
       p.registered_at AS registration_date,
       p.fetched_at AS fetched_date
FROM hub.participants p LEFT JOIN public.providers v USING (provider_id)
WHERE p.removed_at IS NULL;
COMMENT ON VIEW public.unified_participants IS 'Active registrations of every provider; the truth is hub.participants.';
COMMENT ON COLUMN public.unified_participants.source_provider IS 'chronotrack, runsignup, raceroster, haku, racerecord, …';

CREATE VIEW public.unified_events AS
SELECT hub.source_provider(e.provider_id, v.name) AS source_provider,
       e.timing_partner_id,
       e.event_id::varchar AS event_id,
       e.name AS event_name,
       e.starts_at AS event_date,
       e.fetched_at AS fetched_date
FROM hub.events e LEFT JOIN public.providers v USING (provider_id);
COMMENT ON VIEW public.unified_events IS 'Events of every provider; the truth is hub.events.';

CREATE VIEW public.unified_results AS
SELECT NULL::text AS source_provider,
       NULL::integer AS timing_partner_id,
       NULL::varchar AS event_id,
       NULL::text AS bib_number,
       NULL::text AS first_name,
       NULL::text AS last_name,
       NULL::text AS gender,
       NULL::integer AS age,
       NULL::interval AS results_time,
       NULL::interval AS results_gun_time,
       NULL::integer AS overall_place,
       NULL::timestamptz AS fetched_date
WHERE false;
COMMENT ON VIEW public.unified_results IS 'No results are synced: empty, in the shape that readers know.';

-- ── The history of syncs ─────────────────────────────────────────────────────────────────────────────────────────

-- Readers know a number for each sync; a run's own id is a uuid.
ALTER TABLE hub.sync_runs ADD COLUMN history_id bigint GENERATED BY DEFAULT AS IDENTITY;

-- One row a run that was taken up, so that sums over the counts are true. A run that never made a call, and waits or was
-- replaced by a stronger one, is not here.
--
--   status       completed; failed (failed or given up at its deadline); partial (replaced by another run after its first
--                call); running (until the last batch is applied, and while it waits for budget to go on)
--   event_id     the event, when the run was about one; several stand in it with commas between them, and as an array in
--                data_snapshot -> 'event_ids'; null when it was about a list of races
--   records      what was applied and what could not be: num_of_synced_records = records_processed = entries_success
--                (new, changed, unchanged, older than what is stored, removed, restored), entries_failed = quarantined
--   reason       why it was asked: first, schedule, follow_up, operator, backfill, injected
--   error_details  null unless something went wrong, so that IS NOT NULL finds what did
CREATE VIEW public.sync_history AS
SELECT r.history_id AS sync_history_id,
       r.timing_partner_id,
       r.provider_id,
       nullif(array_to_string(r.event_ids, ','), '')::varchar AS event_id,
       r.kind AS operation_type,
       'pull'::text AS sync_direction,
       coalesce(r.finished_at, r.started_at, r.requested_at) AS sync_time,
       CASE r.state WHEN 'completed' THEN 'completed' WHEN 'failed' THEN 'failed' WHEN 'expired' THEN 'failed'
           WHEN 'replaced' THEN 'partial' ELSE 'running' END AS status,
       r.added + r.updated + r.unchanged + r.stale + r.removed + r.restored AS num_of_synced_records,
       r.added + r.updated + r.unchanged + r.stale + r.removed + r.restored AS entries_success,
       r.quarantined AS entries_failed,
       CASE WHEN r.error_code IS NOT NULL OR r.error IS NOT NULL THEN
           jsonb_build_object('code', r.error_code, 'message', r.error) END AS error_details,
       jsonb_build_object('run_id', r.run_id, 'race_id', r.race_id, 'event_ids', r.event_ids, 'mode', r.mode,
           'class', r.sync_class, 'calls', r.calls, 'pages', r.pages, 'fetched', r.fetched, 'added', r.added,
           'updated', r.updated, 'unchanged', r.unchanged, 'stale', r.stale, 'removed', r.removed,
           'restored', r.restored, 'quarantined', r.quarantined, 'cursor', r.cursor_at) AS data_snapshot,
       round(date_part('epoch', r.finished_at - coalesce(r.started_at, r.requested_at)))::integer AS duration_seconds,
       NULL::text AS callback_url,
       r.reason,
       v.name AS provider_name,
       r.mode AS sync_type,
       r.added + r.updated + r.unchanged + r.stale + r.removed + r.restored AS records_processed,
       r.started_at,
       r.finished_at AS completed_at,
       r.error AS error_message
FROM hub.sync_runs r LEFT JOIN public.providers v USING (provider_id)
WHERE r.started_at IS NOT NULL OR r.state IN ('running', 'fetched', 'completed', 'failed', 'expired');
COMMENT ON VIEW public.sync_history IS
    'Sync runs that were taken up, finished or running, one row each; the truth is hub.sync_runs. status: completed, failed, partial, running.';
COMMENT ON COLUMN public.sync_history.event_id IS
    'The event of the run; several with commas between them (data_snapshot -> ''event_ids'' has them as an array).';
COMMENT ON COLUMN public.sync_history.operation_type IS 'discover, race, bib, verify or replay.';
COMMENT ON COLUMN public.sync_history.sync_time IS 'When it ended; while it runs, when it began.';
COMMENT ON COLUMN public.sync_history.num_of_synced_records IS
    'Rows applied, those that were unchanged included; the same as entries_success and records_processed.';
COMMENT ON COLUMN public.sync_history.entries_failed IS 'Rows in quarantine: they alone were not stored.';
COMMENT ON COLUMN public.sync_history.sync_type IS 'full or incremental.';

-- The last day, the last ten: what everybody asks of a history.
CREATE INDEX sync_runs_taken_up ON hub.sync_runs ((coalesce(finished_at, started_at, requested_at)))
    WHERE started_at IS NOT NULL OR state IN ('running', 'fetched', 'completed', 'failed', 'expired');
