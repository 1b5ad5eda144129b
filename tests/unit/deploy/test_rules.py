"""Alert rules refer only to metrics that exist, and do what their own tests say."""

import re
from pathlib import Path

from tests.unit.deploy.catalogue import FOREIGN, exported, named

RULES = Path(__file__).parents[3] / "k8s" / "observability" / "prometheus" / "rules"


def test_alerts_name_only_metrics_of_the_catalogue() -> None:
    text = (RULES / "hub.yml").read_text()
    assert named(text) - exported() - FOREIGN == set()


def test_each_alert_has_a_test_of_its_own() -> None:
    alerts = re.findall(r"- alert: (\w+)", (RULES / "hub.yml").read_text())
    tested = re.findall(r"alertname: (\w+)", (RULES / "hub.test.yml").read_text())
    assert set(alerts) == set(tested)
