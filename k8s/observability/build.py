"""Write the dashboards, and the alert rules as the Prometheus Operator wants them.

`python k8s/observability/build.py`; what is written is committed; a test builds it again and compares.
"""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def panel(
    title: str,
    expressions: dict[str, str],
    *,
    unit: str = "short",
    kind: str = "timeseries",
    said: str = "",
    red: float | None = None,
    width: int = 12,
) -> dict[str, Any]:
    """One panel: its legends with their expressions, and from which value on it is red."""
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if red is not None:
        steps.append({"color": "red", "value": red})
    return {
        "title": title,
        "description": said,
        "type": kind,
        "datasource": {"type": "prometheus", "uid": "prometheus"},
        "gridPos": {"w": width, "h": 5 if kind == "stat" else 8},
        "fieldConfig": {
            "defaults": {"unit": unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "targets": [
            {"refId": chr(65 + number), "expr": expression, "legendFormat": legend}
            for number, (legend, expression) in enumerate(expressions.items())
        ],
    }


def dashboard(uid: str, title: str, panels: list[dict[str, Any]]) -> dict[str, Any]:
    """Panels from left to right, a new row where the next one does not fit."""
    x = y = height = 0
    for number, each in enumerate(panels, start=1):
        place = each["gridPos"]
        if x + place["w"] > 24:
            x, y, height = 0, y + height, 0
        each["id"] = number
        place |= {"x": x, "y": y}
        x, height = x + place["w"], max(height, place["h"])
    return {
        "uid": uid,
        "title": title,
        "tags": ["project88hub"],
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "schemaVersion": 39,
        "panels": panels,
    }


RACE_MORNING = [
    panel(
        "Race-day races behind their promise",
        {"races": 'max(hub_races_behind{pace="raceday"}) or vector(0)'},
        kind="stat",
        red=1,
        width=6,
        said="Runbook: RaceDayLate",
    ),
    panel(
        "Other races behind",
        {"races": 'sum(max by (provider, pace) (hub_races_behind{pace!="raceday"})) or vector(0)'},
        kind="stat",
        red=1,
        width=6,
        said="Runbook: RacesLate",
    ),
    panel(
        "Oldest race-day race",
        {"age": 'max(hub_freshness_worst_seconds{pace="raceday"}) or vector(0)'},
        kind="stat",
        unit="s",
        red=150,
        width=6,
        said="0: no race is within four hours of its start",
    ),
    panel(
        "Services",
        {"{{service}}": 'sum by (service) (up{job="hub"})'},
        kind="stat",
        width=6,
        said="Runbook: ServiceMissing",
    ),
    panel(
        "Age of what is known, the worst race of each pace",
        {"{{pace}}": "max by (pace) (hub_freshness_worst_seconds)"},
        unit="s",
    ),
    panel("Races behind, by pace", {"{{pace}}": "max by (pace) (hub_races_behind)"}),
    panel(
        "Share of races' time with a broken promise",
        {
            "{{pace}}": 'sum by (pace) (rate(hub_promise_seconds_total{outcome="broken"}[10m]))'
            " / sum by (pace) (rate(hub_promise_seconds_total[10m]))"
        },
        unit="percentunit",
        said="What a promise may burn is a hundredth. Runbook: PromiseBurning",
    ),
    panel(
        "From the provider's change to the bib event",
        {
            "half": "histogram_quantile(0.5, sum by (le) (rate(hub_bib_latency_seconds_bucket[5m])))",
            "95 %": "histogram_quantile(0.95, sum by (le) (rate(hub_bib_latency_seconds_bucket[5m])))",
        },
        unit="s",
        said="Bibs of races far from their start come at their slower pace, and count here too.",
    ),
    panel("Bib events a minute", {"{{kind}}": "sum by (kind) (rate(hub_bib_events_total[5m])) * 60"}),
    panel(
        "Runs asked for a minute, by class",
        {"{{sync_class}}": "sum by (sync_class) (rate(hub_runs_requested_total[5m])) * 60"},
    ),
    panel(
        "Follow-ups of bib changes a minute",
        {"{{provider}}": "sum by (provider) (rate(hub_follow_ups_total[5m])) * 60"},
    ),
]

BUDGET = [
    panel(
        "Calls spent in the rolling hour, by key",
        {"{{key}}": "max by (provider, key) (hub_budget_spent_calls)"},
        width=24,
    ),
    panel(
        "Share of the budget spent",
        {"{{key}}": "max by (key) (hub_budget_spent_calls) / max by (key) (hub_budget_limit_calls)"},
        unit="percentunit",
        red=0.9,
        said="From 0.9 on only race-day work and operators may call. Runbook: BudgetTight",
    ),
    panel(
        "Hours of the next 14 days that do not fit, by key",
        {"{{key}}": "max by (provider, key) (hub_budget_hours_over)"},
        said="Days ahead, from the schedule: hub budget. Runbook: MorningDoesNotFit",
    ),
    panel(
        "Forecast for half an hour ahead, by key",
        {"{{key}}": "max by (provider, key) (predict_linear(hub_budget_spent_calls[15m], 1800))"},
        said="The last quarter of an hour, prolonged.",
    ),
    panel(
        "Calls a minute, by endpoint", {"{{endpoint}}": "sum by (endpoint) (rate(hub_provider_calls_total[5m])) * 60"}
    ),
    panel(
        "Calls a minute that failed, by reason",
        {"{{outcome}}": 'sum by (outcome) (rate(hub_provider_calls_total{outcome!="ok"}[5m])) * 60'},
        said="Runbook: ProviderFailing, KeyRefused",
    ),
    panel(
        "Runs put back a minute, by reason", {"{{reason}}": "sum by (reason) (rate(hub_runs_postponed_total[5m])) * 60"}
    ),
    panel(
        "Duration of a call",
        {
            "half": "histogram_quantile(0.5, sum by (le) (rate(hub_provider_call_seconds_bucket[5m])))",
            "95 %": "histogram_quantile(0.95, sum by (le) (rate(hub_provider_call_seconds_bucket[5m])))",
        },
        unit="s",
    ),
    panel(
        "Waiting for a call in flight to end",
        {"95 %": "histogram_quantile(0.95, sum by (le) (rate(hub_slot_wait_seconds_bucket[5m])))"},
        unit="s",
    ),
]

PIPELINE = [
    panel(
        "Dead letters, open",
        {"messages": 'sum(max by (reason) (hub_open_items{kind="dead_letter"})) or vector(0)'},
        kind="stat",
        red=1,
        width=6,
        said="Runbook: DeadLetters",
    ),
    panel(
        "In quarantine",
        {"rows": 'sum(max by (reason) (hub_open_items{kind="quarantine"})) or vector(0)'},
        kind="stat",
        red=1,
        width=6,
        said="Runbook: QuarantineOpen",
    ),
    panel(
        "Removals held",
        {"races": 'max(hub_open_items{kind="held_removal"}) or vector(0)'},
        kind="stat",
        red=1,
        width=6,
        said="Runbook: RemovalsHeld",
    ),
    panel(
        "Runs that failed in an hour",
        {"runs": 'sum(increase(hub_runs_finished_total{outcome!="completed"}[1h])) or vector(0)'},
        kind="stat",
        red=1,
        width=6,
        said="hub history --failed",
    ),
    panel(
        "Messages waiting, by queue",
        {"{{queue}}": "sum by (queue) (rabbitmq_detailed_queue_messages_ready)"},
        said="Said by RabbitMQ.",
    ),
    panel(
        "Messages in hand, by queue",
        {"{{queue}}": "sum by (queue) (rabbitmq_detailed_queue_messages_unacked)"},
        said="Said by RabbitMQ.",
    ),
    panel(
        "Messages handled a minute, by queue",
        {"{{queue}}": "sum by (queue) (rate(hub_messages_handled_total[5m])) * 60"},
    ),
    panel(
        "Messages not handled well a minute",
        {"{{queue}}": 'sum by (queue) (rate(hub_messages_handled_total{outcome!="done"}[5m])) * 60'},
    ),
    panel("Runs that ended a minute", {"{{outcome}}": "sum by (outcome) (rate(hub_runs_finished_total[5m])) * 60"}),
    panel("Records fetched a second", {"{{kind}}": "sum by (kind) (rate(hub_records_fetched_total[5m]))"}),
    panel("Rows a second, by what became of them", {"{{outcome}}": "sum by (outcome) (rate(hub_rows_total[5m]))"}),
    panel(
        "Duration of a batch",
        {
            "half": "histogram_quantile(0.5, sum by (le) (rate(hub_batch_seconds_bucket[5m])))",
            "95 %": "histogram_quantile(0.95, sum by (le) (rate(hub_batch_seconds_bucket[5m])))",
        },
        unit="s",
    ),
    panel(
        "Outbox: messages published a minute",
        {"{{type}}": "sum by (type) (rate(hub_outbox_published_total[5m])) * 60"},
    ),
    panel(
        "Outbox: age of the oldest message that waits",
        {"age": "max(hub_outbox_oldest_seconds)"},
        unit="s",
        red=180,
        said="Runbook: OutboxStuck",
    ),
    panel(
        "One look at what is due",
        {"95 %": "histogram_quantile(0.95, sum by (le) (rate(hub_scheduler_tick_seconds_bucket[5m])))"},
        unit="s",
    ),
    panel(
        "What breaks a self-check",
        {"{{check}}": "max by (check) (hub_check_broken) > 0"},
        said="Runbook: CheckBroken",
    ),
]


def dashboards() -> dict[str, dict[str, Any]]:
    """Each dashboard by its file's name."""
    return {
        "race-morning.json": dashboard("hub-race-morning", "Race morning", RACE_MORNING),
        "budget.json": dashboard("hub-budget", "Budget", BUDGET),
        "pipeline.json": dashboard("hub-pipeline", "Pipeline", PIPELINE),
    }


def prometheus_rule() -> str:
    """The rules of compose's Prometheus as a PrometheusRule: one text, indented."""
    rules = (HERE / "prometheus" / "rules" / "hub.yml").read_text()
    groups = rules[rules.index("groups:") :]
    head = "# Written by build.py from prometheus/rules/hub.yml.\napiVersion: monitoring.coreos.com/v1\n"
    indented = "".join(f"  {line}\n" if line else "\n" for line in groups.splitlines())
    return f"{head}kind: PrometheusRule\nmetadata:\n  name: hub\nspec:\n{indented}"


def files() -> dict[Path, str]:
    """Everything that is written, by its path."""
    folder = HERE / "grafana" / "dashboards"
    written = {folder / name: json.dumps(each, indent=1) + "\n" for name, each in dashboards().items()}
    return {**written, HERE / "prometheusrule.yaml": prometheus_rule()}


if __name__ == "__main__":
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
