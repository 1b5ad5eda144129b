"""Databases of the former system, generated in both dialects, with everything odd that was seen in the field.

By hand, in the size of a real one: ``python -m tests.legacy postgresql://… --dialect flat --people 260000``.
Everybody is invented; every secret begins with ``s3cret``.
"""

import argparse
import asyncio
from dataclasses import dataclass
from typing import Any

import asyncpg

Plain = "asyncpg.Connection[Any]"

#: Who and what there is, for both dialects: temporary tables that the statements below copy from.
WORLD = """
CREATE TEMPORARY TABLE w_races AS
SELECT 80000 + n AS race_id, 1 + n % 13 AS partner, 'Race ' || n AS name,
    (ARRAY['America/New_York', 'America/Chicago', 'America/Denver', 'America/Phoenix', 'Pacific/Honolulu'])[1 + n % 5]
        AS timezone
FROM generate_series(1, {races}) AS n;
CREATE TEMPORARY TABLE w_events AS
SELECT 900000 + n AS event_id, r.race_id, r.partner, 'Event ' || n AS name,
    timestamp '2027-05-01 08:00' + (n % 300) * interval '1 day' AS starts
FROM generate_series(1, {events}) AS n JOIN w_races r ON r.race_id = 80001 + n % {races};
CREATE TEMPORARY TABLE w_people AS
SELECT 7000000 + n AS registration_id, e.event_id, e.race_id, e.partner, 500000 + n AS user_id, 'First' || n AS first,
    'Last' || n % 997 AS last, 'runner' || n || '@example.com' AS email, 'F' AS gender, 20 + n % 50 AS age,
    CASE WHEN n % 3 > 0 THEN (n % 5000)::text END AS bib, timestamp '2026-01-01 12:00' + n % 90 * interval '1 hour'
        AS registered, timestamp '2026-02-01 00:00' + n % 90 * interval '1 hour' AS fetched
FROM generate_series(1, {people}) AS n JOIN w_events e ON e.event_id = 900001 + n % {events};
"""

#: JSON in columns, times without a zone, five providers with their fixed numbers and one more.
NESTED = """
CREATE TABLE timing_partners (timing_partner_id serial PRIMARY KEY, company_name varchar(255) NOT NULL,
    access_password varchar(255), contact_email varchar(255), api_access_enabled boolean, webhook text,
    created_at timestamp DEFAULT now(), updated_at timestamp DEFAULT now());
CREATE TABLE users (user_id serial PRIMARY KEY, email varchar(255),
    timing_partner_id integer REFERENCES timing_partners ON DELETE CASCADE);
CREATE TABLE providers (provider_id serial PRIMARY KEY, name varchar(100) NOT NULL UNIQUE, provider_type varchar(50),
    api_base_url varchar(255), rate_limit_per_hour integer DEFAULT 1000, created_at timestamp DEFAULT now());
CREATE TABLE partner_provider_credentials (partner_provider_credential_id serial PRIMARY KEY,
    provider_id integer REFERENCES providers, timing_partner_id integer REFERENCES timing_partners,
    principal varchar(255), secret varchar(255), credential_type varchar(50), additional_config jsonb,
    created_at timestamp DEFAULT now(), updated_at timestamp DEFAULT now());
CREATE TABLE sync_history (sync_history_id serial PRIMARY KEY, timing_partner_id integer REFERENCES timing_partners,
    provider_id integer REFERENCES providers, event_id varchar(100), operation_type varchar(50),
    sync_direction varchar(50), sync_time timestamp DEFAULT now(), status varchar(20),
    num_of_synced_records integer DEFAULT 0, entries_success integer DEFAULT 0, entries_failed integer DEFAULT 0,
    error_details jsonb, data_snapshot jsonb, duration_seconds integer, callback_url varchar(255), reason text);
CREATE TABLE runsignup_races (race_id integer PRIMARY KEY, name text, last_date timestamp, last_end_date timestamp,
    next_date timestamp, next_end_date timestamp, is_draft_race boolean, is_private_race boolean,
    is_registration_open boolean, created timestamp, last_modified timestamp, description text, url varchar(255),
    external_race_url varchar(255), external_results_url varchar(255), fb_page_id varchar(50), fb_event_id varchar(50),
    address jsonb, timezone varchar(50), logo_url varchar(255), real_time_notifications_enabled boolean,
    fetched_date timestamp DEFAULT now(), credentials_used varchar(255),
    timing_partner_id integer REFERENCES timing_partners, created_at timestamp DEFAULT now());
CREATE TABLE runsignup_events (event_id integer PRIMARY KEY, race_id integer REFERENCES runsignup_races, name text,
    details text, start_time timestamp, end_time timestamp, age_calc_base_date date, registration_opens timestamp,
    event_type varchar(50), distance numeric(10,2), volunteer boolean, require_dob boolean, require_phone boolean,
    giveaway text, fetched_date timestamp DEFAULT now(), credentials_used varchar(255),
    timing_partner_id integer REFERENCES timing_partners, created_at timestamp DEFAULT now());
CREATE TABLE runsignup_participants (id serial PRIMARY KEY, race_id integer, event_id integer, registration_id integer,
    user_id integer, first_name varchar(100), middle_name varchar(100), last_name varchar(100), email varchar(255),
    address jsonb, dob date, gender varchar(20), phone varchar(20), profile_image_url varchar(255),
    bib_num varchar(20), chip_num varchar(20), age integer, registration_date timestamp, team_info jsonb,
    payment_info jsonb, additional_data jsonb, fetched_date timestamp DEFAULT now(), credentials_used varchar(255),
    timing_partner_id integer REFERENCES timing_partners, created_at timestamp DEFAULT now(), last_modified timestamp);
CREATE TABLE ct_participants (entry_id varchar(100) PRIMARY KEY, event_id varchar(100), athlete_first_name varchar(100),
    entry_bib varchar(20), timing_partner_id integer REFERENCES timing_partners);
"""
NESTED_ROWS = """
INSERT INTO timing_partners (timing_partner_id, company_name, access_password, webhook)
    SELECT n, 'Timing ' || n, 'open' || n, 'https://example.com/' || n FROM generate_series(1, 13) AS n;
SELECT setval('timing_partners_timing_partner_id_seq', 13);
INSERT INTO users (email, timing_partner_id) SELECT 'user' || n || '@example.com', n FROM generate_series(1, 13) AS n;
INSERT INTO providers (provider_id, name) VALUES (1, 'Chronotrack'), (2, 'RunSignUp'), (3, 'Race Roster'), (4, 'Haku'),
    (5, 'Race Record'), (6, 'Copernico');
INSERT INTO partner_provider_credentials (provider_id, timing_partner_id, principal, secret, credential_type)
    SELECT 2, n, 'key-' || n, 's3cret-of-' || n, 'api_key' FROM generate_series(1, 13) AS n
    UNION ALL SELECT 2, 2, 'key-1', 's3cret-of-1', 'api_key' UNION ALL SELECT 6, 1, 'cop', 's3cret-cop', 'basic';
INSERT INTO runsignup_races (race_id, name, next_date, is_draft_race, created, last_modified, url, address, timezone,
    fetched_date, credentials_used, timing_partner_id)
    SELECT race_id, name, '2027-05-01', false, '2026-01-01', '2026-01-15', 'https://example.com/' || race_id,
        '{{"city": "Springfield", "state": "IL"}}', timezone, '2026-02-01', 'key-' || partner, partner FROM w_races;
INSERT INTO runsignup_events (event_id, race_id, name, start_time, end_time, age_calc_base_date, event_type, distance,
    volunteer, require_dob, giveaway, fetched_date, credentials_used, timing_partner_id)
    SELECT event_id, race_id, name, starts, starts + interval '4 hours', starts::date, 'running_race', 6.2, false, true,
        'shirt', '2026-02-01', 'key-' || partner, partner FROM w_events;
INSERT INTO runsignup_participants (race_id, event_id, registration_id, user_id, first_name, last_name, email, address,
    dob, gender, phone, bib_num, age, registration_date, team_info, payment_info, additional_data, fetched_date,
    credentials_used, timing_partner_id, created_at, last_modified)
    SELECT race_id, event_id, registration_id, user_id, first, last, email,
        '{{"street": "1 Main St", "city": "Springfield", "state": "IL", "zipcode": "62701", "country_code": "US"}}',
        '1990-05-01', gender, '555-0100', bib, age, registered,
        '{{"team_id": null, "team_name": null, "team_type_id": null, "team_type": null, "team_gender": null,
           "team_bib_num": null}}', jsonb_build_object('race_fee', 40.0, 'amount_paid', 42.5, 'extra_fees', 0.0),
        '{{"giveaway": "shirt", "imported": false}}', fetched, 'key-' || partner, partner, fetched, fetched
    FROM w_people ORDER BY registration_id;
INSERT INTO runsignup_participants (race_id, event_id, registration_id, first_name, last_name, bib_num, fetched_date,
    credentials_used, timing_partner_id, created_at, last_modified) -- once more, as two programs at once left them
    SELECT race_id, event_id, registration_id, first, last, 'D' || bib, fetched + interval '1 day', 'key-' || partner,
        partner, fetched + interval '1 day', fetched + interval '1 day' FROM w_people WHERE registration_id % 100 = 1;
INSERT INTO runsignup_participants (race_id, event_id, first_name, timing_partner_id) -- ghosts
    SELECT 80001, 900001, 'Ghost' || n, 2 FROM generate_series(1, 7) AS n;
UPDATE runsignup_participants SET timing_partner_id = NULL WHERE registration_id % 1000 = 2; -- told by their key
INSERT INTO ct_participants SELECT n::text, 'ct-1', 'Athlete' || n, n::text, 1 FROM generate_series(1, 50) AS n;
INSERT INTO sync_history (timing_partner_id, provider_id, event_id, operation_type, sync_direction, sync_time, status,
    num_of_synced_records, entries_success, duration_seconds, reason)
    SELECT 1 + n % 13, 2, (900000 + n)::text, 'participants', 'pull', timestamp '2026-02-01' + n * interval '1 minute',
        'success', n, n, 5, 'scheduled' FROM generate_series(1, {events}) AS n;
INSERT INTO sync_history (timing_partner_id, provider_id, status, entries_failed, error_details, reason) VALUES
    (3, 2, 'failed', 1, '{{"url": "https://example.com/rest?api_key=key-3&api_secret=s3cret-of-3"}}',
     'GET api_secret=s3cret-of-3 failed');
CREATE VIEW unified_participants AS
    SELECT 'runsignup' AS source_provider, timing_partner_id, event_id::varchar, first_name, last_name, email, gender,
        bib_num AS bib_number, address ->> 'city' AS city, address ->> 'state' AS state, age, registration_date,
        fetched_date FROM runsignup_participants
    UNION ALL SELECT 'chronotrack', timing_partner_id, event_id, athlete_first_name, NULL, NULL, NULL, entry_bib, NULL,
        NULL, NULL, NULL, NULL FROM ct_participants;
CREATE VIEW unified_events AS SELECT 'runsignup' AS source_provider, timing_partner_id, event_id::varchar,
    name AS event_name, start_time AS event_date, fetched_date FROM runsignup_events;
CREATE SCHEMA reporting;
CREATE VIEW reporting.big_events AS SELECT e.event_id, e.name, count(*) AS people
    FROM runsignup_events e JOIN runsignup_participants USING (event_id) GROUP BY 1, 2;
CREATE MATERIALIZED VIEW reporting.races AS SELECT race_id, name FROM runsignup_races;
CREATE UNIQUE INDEX races_by_id ON reporting.races (race_id);
"""

#: A column a key, much of it text; providers counted as they came, so that 2 is another one.
FLAT = """
CREATE TABLE timing_partners (timing_partner_id serial PRIMARY KEY, company_name text, contact_email text,
    api_access_enabled boolean, created_at timestamp DEFAULT now());
CREATE TABLE providers (id serial PRIMARY KEY, provider_name varchar(100) UNIQUE, provider_type varchar(50),
    api_base_url varchar(255), rate_limit_per_hour integer, created_at timestamp DEFAULT now());
CREATE TABLE partner_provider_credentials (partner_provider_credential_id serial PRIMARY KEY,
    provider_id integer REFERENCES providers, timing_partner_id integer REFERENCES timing_partners, principal text,
    secret text);
CREATE TABLE sync_queue (id serial PRIMARY KEY, timing_partner_id integer REFERENCES timing_partners,
    provider_id integer REFERENCES providers);
CREATE TABLE sync_history (id serial PRIMARY KEY, timing_partner_id integer REFERENCES timing_partners,
    provider_name varchar(100), sync_type varchar(50), status varchar(20), records_processed integer,
    started_at timestamp, completed_at timestamp, error_message text, created_at timestamp DEFAULT now());
CREATE TABLE runsignup_races (race_id integer, name text, next_date text, is_draft_race text, created text,
    last_modified text, url text, street text, street2 text, city text, state text, zipcode text, country_code text,
    timezone text, fetched_date text, credentials_used text, timing_partner_id integer);
CREATE TABLE runsignup_events (event_id integer, race_id integer, name text, start_time text, end_time text,
    age_calc_base_date text, event_type text, distance text, volunteer text, require_dob text, giveaway text,
    fetched_date text, credentials_used text, timing_partner_id integer);
CREATE TABLE runsignup_participants (race_id integer, event_id integer, registration_id integer, user_id integer,
    first_name text, middle_name text, last_name text, email text, street text, city text, state text, zipcode text,
    country_code text, dob text, gender text, phone text, profile_image_url text, rsu_transaction_id integer,
    transaction_id text, bib_num text, chip_num text, age integer, registration_date text, team_id integer,
    team_name text, team_type_id integer, team_type text, team_gender text, team_bib_num text, last_modified integer,
    imported text, race_fee numeric(10,2), amount_paid text, extra_fees text, giveaway text, fundraiser_id integer,
    fetched_date text, credentials_used text, timing_partner_id integer);

INSERT INTO timing_partners (timing_partner_id, company_name) SELECT n, 'Timing ' || n FROM generate_series(1, 13) AS n;
SELECT setval('timing_partners_timing_partner_id_seq', 13);
INSERT INTO providers (provider_name, rate_limit_per_hour) VALUES ('RunSignUp', 1000), ('ChronoTrack', 2000),
    ('Race Roster', 1000), ('Haku', 500), ('Copernico', 2000);
INSERT INTO sync_queue (timing_partner_id, provider_id) VALUES (1, 2);
INSERT INTO partner_provider_credentials (provider_id, timing_partner_id, principal, secret)
    SELECT 1, n, 'key-' || n, 's3cret-of-' || n FROM generate_series(1, 13) AS n
    UNION ALL SELECT 2, 1, 'ct', 's3cret-ct' UNION ALL SELECT 5, 1, 'cop', 's3cret-cop' UNION ALL SELECT 1, 4, '', '';
INSERT INTO runsignup_races (race_id, name, next_date, is_draft_race, created, last_modified, url, city, state,
    timezone, fetched_date, credentials_used, timing_partner_id)
    SELECT race_id, name, '5/1/2027', 'F', '1/1/2026 00:00', '1/15/2026 00:00', 'https://example.com/' || race_id,
        'Springfield', 'IL', timezone, '2026-02-01T00:00:00', 'key-' || partner, partner FROM w_races;
INSERT INTO runsignup_races SELECT * FROM runsignup_races WHERE race_id = 80001;
INSERT INTO runsignup_events (event_id, race_id, name, start_time, end_time, age_calc_base_date, event_type, distance,
    volunteer, require_dob, giveaway, fetched_date, credentials_used, timing_partner_id)
    SELECT event_id, race_id, name, to_char(starts, 'MM/DD/YYYY HH24:MI'),
        to_char(starts + interval '4 hours', 'MM/DD/YYYY HH24:MI'), to_char(starts, 'MM/DD/YYYY'), 'running_race',
        '6.2', 'F', 'T', 'shirt', '2026-02-01T00:00:00', 'key-' || partner, partner FROM w_events;
INSERT INTO runsignup_events (event_id, race_id, name, start_time, timing_partner_id) VALUES
    (NULL, 80001, 'Ghost', '5/1/2027 08:00', 1), (999999, 80001, 'Odd', 'at dawn', 1);
INSERT INTO runsignup_participants (race_id, event_id, registration_id, user_id, first_name, last_name, email, street,
    city, state, zipcode, country_code, dob, gender, phone, rsu_transaction_id, bib_num, age, registration_date,
    last_modified, imported, race_fee, amount_paid, extra_fees, giveaway, fetched_date, credentials_used,
    timing_partner_id)
    SELECT race_id, event_id, registration_id, user_id, first, last, email, '1 Main St', 'Springfield', 'IL', '62701',
        'US', '5/1/1990', gender, '555-0100', 123, coalesce(bib, ''), age, to_char(registered, 'MM/DD/YYYY HH24:MI'),
        extract(epoch FROM fetched AT TIME ZONE 'UTC')::integer, 'F', 40.0, '$42.50', '$0.00', 'shirt',
        to_char(fetched, 'YYYY-MM-DD"T"HH24:MI:SS'), CASE partner WHEN 3 THEN 's3cret-of-3' ELSE 'key-' || partner END,
        partner
    FROM w_people ORDER BY registration_id;
INSERT INTO runsignup_participants (race_id, event_id, registration_id, first_name, bib_num, last_modified,
    fetched_date, timing_partner_id)
    SELECT race_id, event_id, registration_id, first, 'D' || bib, 1, '2026-03-01T00:00:00', partner FROM w_people
    WHERE registration_id % 100 = 1;
INSERT INTO runsignup_participants (race_id, event_id, registration_id, first_name, timing_partner_id)
    SELECT 80001, 900001, NULLIF(n % 2, 1), 'Ghost' || n, 2 FROM generate_series(1, 7) AS n;
UPDATE runsignup_participants SET timing_partner_id = NULL, race_id = NULL WHERE registration_id % 1000 = 2;
INSERT INTO sync_history (timing_partner_id, provider_name, sync_type, status, records_processed, started_at,
    completed_at)
    SELECT 1 + n % 13, 'RunSignUp', 'participants', 'success', n, timestamp '2026-02-01' + n * interval '1 minute',
        timestamp '2026-02-01 00:00:05' + n * interval '1 minute' FROM generate_series(1, {events}) AS n;
INSERT INTO sync_history (timing_partner_id, provider_name, status, error_message, started_at) VALUES
    (3, 'RunSignUp', 'failed', 'GET /race?api_secret=s3cret-of-3 answered 500', '2026-02-01');
CREATE VIEW unified_participants AS
    SELECT 'runsignup'::text AS source_provider, timing_partner_id, event_id::varchar, first_name, last_name, email,
        gender, bib_num AS bib_number, city, state, age, registration_date, fetched_date FROM runsignup_participants;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER touched BEFORE UPDATE ON runsignup_events FOR EACH ROW EXECUTE FUNCTION touch();
CREATE VIEW cities AS SELECT city, sum(race_fee) AS fees, count(*) AS people FROM runsignup_participants GROUP BY city;
"""

DIALECTS = {"nested": NESTED + NESTED_ROWS, "flat": FLAT}


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is of each."""

    races: int = 6
    events: int = 20
    people: int = 2000


async def generate(url: str, dialect: str, size: Size = Size()) -> None:
    """Fill an empty database with the tables of one dialect."""
    connection: asyncpg.Connection[Any] = await asyncpg.connect(url)
    try:
        numbers = {"races": size.races, "events": size.events, "people": size.people}
        await connection.execute(WORLD.format(**numbers))
        await connection.execute(DIALECTS[dialect].format(**numbers))
    finally:
        await connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--dialect", choices=sorted(DIALECTS), default="nested")
    parser.add_argument("--people", type=int, default=260_000)
    words = parser.parse_args()
    asyncio.run(generate(words.url, words.dialect, Size(364, 5382, words.people)))


if __name__ == "__main__":
    main()
