"""Alerts and dashboards under Prometheus' own tool. Run by `make k8s`: it needs promtool."""

import json
import subprocess
from pathlib import Path

from tests.unit.deploy.test_dashboards import EXPRESSIONS

RULES = Path(__file__).parent / "observability" / "prometheus" / "rules"


def promtool(*arguments: str, folder: Path) -> None:
    """Run promtool; its complaints are the test's."""
    done = subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_fires_and_clears() -> None:
    promtool("test", "rules", "hub.test.yml", folder=RULES)


def test_every_expression_of_a_dashboard_parses(tmp_path: Path) -> None:
    rules = [{"record": f"e:{number}", "expr": each} for number, each in enumerate(EXPRESSIONS)]
    (tmp_path / "rules.json").write_text(json.dumps({"groups": [{"name": "dashboards", "rules": rules}]}))
    promtool("check", "rules", "rules.json", folder=tmp_path)
