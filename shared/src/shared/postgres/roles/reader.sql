-- A role for downstream systems: reads people, races, bibs, history and the change feed; writes nothing, sees no key.
-- Run by whoever may create roles (not by the migrations: an operator's user often may not), as often as you like,
-- in each of the hub's databases:   psql "$HUB_DATABASE_URL" -f reader.sql
-- Then: CREATE ROLE display LOGIN PASSWORD '…' IN ROLE hub_reader;

DO $$ BEGIN
    CREATE ROLE hub_reader NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; -- roles belong to the cluster: another database's hub made it
END $$;

GRANT USAGE ON SCHEMA hub, public TO hub_reader;
GRANT SELECT ON hub.races, hub.events, hub.participants, hub.sync_runs, hub.change_batches, hub.changes, hub.change_feed,
    hub.bib_history, hub.checks, public.providers TO hub_reader;
GRANT SELECT ON public.runsignup_races, public.runsignup_events, public.runsignup_participants,
    public.unified_participants, public.unified_events, public.unified_results, public.sync_history TO hub_reader;
-- Partners by name, without their former system's password.
GRANT SELECT (timing_partner_id, company_name, api_access_enabled, created_at, updated_at)
    ON public.timing_partners TO hub_reader;
