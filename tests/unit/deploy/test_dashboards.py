"""Dashboards are what build.py writes, name only metrics that exist, and every expression is PromQL."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

from tests.unit.deploy.catalogue import FOREIGN, exported, named

OBSERVABILITY = Path(__file__).parents[3] / "k8s" / "observability"


def build() -> Any:
    spec = importlib.util.spec_from_file_location("build", OBSERVABILITY / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BUILD = build()
EXPRESSIONS = sorted(
    target["expr"]
    for each in BUILD.dashboards().values()
    for panel in each["panels"]
    for target in panel["targets"]
)  # fmt: skip


def test_what_is_committed_is_what_is_built() -> None:
    """If not: python k8s/observability/build.py"""
    assert [path.name for path, text in BUILD.files().items() if path.read_text() != text] == []


def test_dashboards_name_only_metrics_of_the_catalogue() -> None:
    assert named(" ".join(EXPRESSIONS)) - exported() - FOREIGN == set()


def test_every_panel_refers_to_alerts_that_exist() -> None:
    rules = (OBSERVABILITY / "prometheus" / "rules" / "hub.yml").read_text()
    said = json.dumps(BUILD.dashboards())
    alerts = {name for each in re.findall(r"Runbook: ([A-Za-z, ]+)", said) for name in each.split(", ")}
    assert alerts <= set(re.findall(r"- alert: (\w+)", rules))


def test_legends_name_labels_that_their_expression_keeps() -> None:
    wrong = []
    for each in BUILD.dashboards().values():
        for target in (target for panel in each["panels"] for target in panel["targets"]):
            kept = {
                label.strip() for group in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in group.split(",")
            }
            wrong += [target for label in re.findall(r"{{(\w+)}}", target["legendFormat"]) if label not in kept]
    assert wrong == []


def test_panels_do_not_overlap() -> None:
    for each in BUILD.dashboards().values():
        places = [panel["gridPos"] for panel in each["panels"]]
        cells = [(p["x"] + dx, p["y"] + dy) for p in places for dx in range(p["w"]) for dy in range(p["h"])]
        assert len(cells) == len(set(cells))
        assert max(x for x, _ in cells) < 24
