"""The overlays render, and every pod of ours is closed, probed and bounded. Run by `make k8s`: it needs kubectl."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SERVICES = {"scheduler", "fetcher", "writer", "bib-watcher"}


@cache
def documents(overlay: str) -> tuple[str, ...]:
    """An overlay's objects, as text."""
    command = ["kubectl", "kustomize", str(ROOT / "k8s" / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return tuple(done.stdout.split("\n---\n"))


def of_kind(overlay: str, *kinds: str) -> dict[str, str]:
    """Objects by name."""
    found = {}
    for each in documents(overlay):
        kind, name = re.search(r"^kind: (\w+)$", each, re.MULTILINE), re.search(r"^  name: (\S+)$", each, re.MULTILINE)
        assert kind is not None
        assert name is not None
        if kind[1] in kinds:
            found[name[1]] = each
    return found


@pytest.mark.parametrize("overlay", ["local", "production"])
def test_each_service_has_a_deployment_a_budget_for_disruptions_and_an_account(overlay: str) -> None:
    assert set(of_kind(overlay, "Deployment")) == SERVICES | {"operator"}
    assert set(of_kind(overlay, "PodDisruptionBudget")) == SERVICES
    assert set(of_kind(overlay, "ServiceAccount")) == SERVICES | {"migrate", "operator"}


@pytest.mark.parametrize("overlay", ["local", "production"])
def test_every_container_of_ours_is_closed_and_bounded(overlay: str) -> None:
    for name, each in of_kind(overlay, "Deployment", "Job").items():
        containers = len(re.findall(r"^\s+image: ", each, re.MULTILINE))
        for what in ("readOnlyRootFilesystem: true", "allowPrivilegeEscalation: false", "limits:", "requests:"):
            assert each.count(what) == containers, f"{name}: {what}"
        assert "runAsNonRoot: true" in each
        assert "type: RuntimeDefault" in each


def test_every_service_is_probed_and_waits_for_the_schema() -> None:
    deployments = of_kind("production", "Deployment")
    for each in SERVICES:
        for what in ("startupProbe:", "livenessProbe:", "readinessProbe:", "path: /ready", "hub migrate --check"):
            assert what in deployments[each]


def test_in_the_local_overlay_each_service_has_a_role_of_its_own_that_the_migration_makes() -> None:
    text = (ROOT / "k8s" / "overlays" / "local" / "kustomization.yaml").read_text()
    roles = {f"hub_{each.replace('-', '_')}" for each in SERVICES}
    assert set(re.findall(r"postgresql://(hub_\w+):", text)) == roles
    assert set(re.findall(r"(hub_\w+)=", text)) == roles


def test_production_brings_no_secret_and_each_service_refers_to_its_own() -> None:
    assert of_kind("production", "Secret") == {}
    for name, each in of_kind("production", "Deployment", "Job").items():
        assert set(re.findall(r"secretRef:\s+name: (\S+)", each)) == {name}


def test_no_pod_may_speak_to_anybody_unless_a_policy_says_so() -> None:
    policies = of_kind("production", "NetworkPolicy")
    assert "podSelector: {}" in policies["nobody"]
    assert {name for name, each in policies.items() if "port: 443" in each} == {"providers"}
