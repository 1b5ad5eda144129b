-- The history that an adopted database brings along: as it stood, beside the runs of this system. On any other database
-- the table is empty.

CREATE TABLE hub.adopted_history (
    sync_history_id bigint,
    timing_partner_id integer,
    provider_id integer,
    event_id text,
    operation_type text,
    sync_direction text,
    sync_time timestamptz,
    status text,
    num_of_synced_records integer,
    entries_success integer,
    entries_failed integer,
    error_details jsonb,
    data_snapshot jsonb,
    duration_seconds integer,
    callback_url text,
    reason text,
    provider_name text,
    sync_type text,
    records_processed integer,
    started_at timestamptz,
    completed_at timestamptz,
    error_message text
);
CREATE INDEX adopted_history_time ON hub.adopted_history (sync_time);

-- The view as it was, and the old rows below it. Condition and join stand outside: only so are both halves read by their
-- indexes on time, newest first.
CREATE OR REPLACE VIEW public.sync_history AS
SELECT sync_history_id, timing_partner_id, provider_id, event_id, operation_type, sync_direction, sync_time, status,
       num_of_synced_records, entries_success, entries_failed, error_details, data_snapshot, duration_seconds, callback_url,
       reason, coalesce(each.provider_name, v.name) AS provider_name, sync_type, records_processed, started_at,
       completed_at, error_message
FROM (
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
           NULL::text AS provider_name,
           r.mode AS sync_type,
           r.added + r.updated + r.unchanged + r.stale + r.removed + r.restored AS records_processed,
           r.started_at,
           r.finished_at AS completed_at,
           r.error AS error_message,
           r.started_at IS NOT NULL OR r.state IN ('running', 'fetched', 'completed', 'failed', 'expired') AS taken_up
    FROM hub.sync_runs r
    UNION ALL
    SELECT sync_history_id, timing_partner_id, provider_id, event_id::varchar, operation_type, sync_direction, sync_time,
           status, num_of_synced_records, entries_success, entries_failed, error_details, data_snapshot,
           duration_seconds, callback_url, reason, provider_name, sync_type, records_processed, started_at,
           completed_at, error_message, true
    FROM hub.adopted_history
) AS each LEFT JOIN public.providers v USING (provider_id)
WHERE taken_up;
COMMENT ON VIEW public.sync_history IS
    'Sync runs that were taken up, finished or running, one row each; the truth is hub.sync_runs, and hub.adopted_history for what an adopted database brought along. status: completed, failed, partial, running (adopted rows: as they stood).';
