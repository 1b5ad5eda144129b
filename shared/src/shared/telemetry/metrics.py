"""The whole catalogue of metrics: name, meaning, unit and labels in one place.

Labels are bounded: service, provider, class, kind, outcome, reason, queue; never an id, never a person. Dashboards and
alerts refer to names in this file, and a test checks that they do.
"""

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
LATENCY = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 75.0, 90.0, 120.0, 300.0, 900.0, 3600.0)

# Asking
runs_requested = Counter("hub_runs_requested", "Sync runs asked for", ["provider", "kind", "sync_class", "reason"])
runs_finished = Counter("hub_runs_finished", "Sync runs that ended", ["provider", "kind", "outcome"])
tick_seconds = Histogram("hub_scheduler_tick_seconds", "One look at what is due", buckets=SECONDS)

# Calling
calls = Counter("hub_provider_calls", "Calls to a provider", ["provider", "endpoint", "outcome"])
call_seconds = Histogram("hub_provider_call_seconds", "Duration of a call", ["provider"], buckets=SECONDS)
slot_wait_seconds = Histogram("hub_slot_wait_seconds", "Waiting for a call in flight to end", buckets=SECONDS)
postponed = Counter("hub_runs_postponed", "Runs put back, not failed", ["provider", "reason"])
records_fetched = Counter("hub_records_fetched", "Raw records received", ["provider", "kind"])
budget_spent = Gauge("hub_budget_spent_calls", "Calls that count in the rolling hour", ["provider", "key"])
budget_limit = Gauge("hub_budget_limit_calls", "Calls allowed in a rolling hour", ["provider", "key"])

# Writing
rows_written = Counter("hub_rows", "Participant rows by what became of them", ["provider", "outcome"])
batch_seconds = Histogram("hub_batch_seconds", "One batch, from delivery to commit", buckets=SECONDS)
batches_duplicate = Counter("hub_batches_duplicate", "Batches that had been applied already")
quarantined = Counter("hub_quarantined", "Rows put aside", ["provider", "reason"])
removals_held = Counter("hub_removals_held", "Full passes that would have removed too many people", ["provider"])

# Watching
bib_events = Counter("hub_bib_events", "Bib events", ["provider", "kind"])
bib_latency_seconds = Histogram(
    "hub_bib_latency_seconds", "From the provider's last_modified to the bib event", ["provider"], buckets=LATENCY
)
follow_ups = Counter("hub_follow_ups", "Follow-up syncs asked for", ["provider"])

# Moving
messages_handled = Counter("hub_messages_handled", "Messages by what became of them", ["queue", "outcome"])
dead_letters = Counter("hub_dead_letters", "Messages given up", ["queue", "reason"])
outbox_published = Counter("hub_outbox_published", "Messages relayed from the outbox", ["type"])
outbox_oldest = Gauge("hub_outbox_oldest_seconds", "Age of the oldest message that no broker has taken yet; 0: none")

# Being stuck
checks_broken = Gauge("hub_check_broken", "Things that break a truth, as checked last", ["check"])
open_items = Gauge("hub_open_items", "Items that wait for a person", ["kind", "reason"])

# Promises
freshness_seconds = Gauge("hub_freshness_worst_seconds", "Age of the longest unconfirmed race", ["provider", "pace"])
races_followed = Gauge("hub_races_followed", "Races that are promised a freshness", ["provider", "pace"])
races_behind = Gauge("hub_races_behind", "Races whose freshness promise is broken", ["provider", "pace"])
hours_over = Gauge(
    "hub_budget_hours_over", "Hours of the next 14 days whose race-day work does not fit", ["provider", "key"]
)
promise_seconds = Counter(
    "hub_promise_seconds", "Time of races, by whether their promise was kept or broken", ["provider", "pace", "outcome"]
)
