"""Which metrics exist, and which an expression names."""

import re

from prometheus_client.metrics import MetricWrapperBase

from shared.telemetry import metrics

#: What Prometheus and RabbitMQ say of themselves.
FOREIGN = {
    "up", "rabbitmq_detailed_queue_messages_ready", "rabbitmq_detailed_queue_messages_unacked",
    "rabbitmq_detailed_queue_consumers",
}  # fmt: skip


def exported() -> set[str]:
    """The catalogue's names as Prometheus sees them."""
    names = set()
    for each in vars(metrics).values():
        if isinstance(each, MetricWrapperBase):
            for family in each.describe():
                suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
                names |= {family.name + suffix for suffix in suffixes}
    return names


def named(expressions: str) -> set[str]:
    """Metric names in PromQL: our prefix, or RabbitMQ's."""
    return set(re.findall(r"\b(?:hub|rabbitmq)_[a-z_]+\b", expressions))
