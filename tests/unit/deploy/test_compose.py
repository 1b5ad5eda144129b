"""docker-compose.yml and its settings page say the same, and open nothing that should be closed."""

import re
from pathlib import Path

from pydantic_settings import BaseSettings

from fetcher.settings import FetcherSettings
from scheduler.settings import SchedulerSettings
from shared.ops.schema import RoleSettings
from shared.postgres.roles import ROLES
from shared.settings import Settings

ROOT = Path(__file__).parents[3]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
EXAMPLE = (ROOT / "docker-compose.env.example").read_text()
BLOCKS = dict(re.findall(r"^  ([a-z-]+):.*\n((?:    .*\n|\n)+)", COMPOSE.partition("\nservices:")[2], re.MULTILINE))


def test_every_variable_of_the_file_is_explained_and_every_explained_one_used() -> None:
    used = set(re.findall(r"\$\{([A-Z_]+)", COMPOSE))
    explained = set(re.findall(r"^(?:# )?([A-Z_]+)=", EXAMPLE, re.MULTILINE))
    assert explained == used | {"COMPOSE_PROFILES"}


def test_no_password_has_a_default() -> None:
    assert re.findall(r"(\S*(?:PASSWORD|SECRET|KEY)):-[^}]", COMPOSE) == []
    assert re.findall(r"^\w*(?:PASSWORD|SECRET|KEY)=\S", EXAMPLE, re.MULTILINE) == []


def test_the_secret_key_is_given_to_nobody_who_opens_no_partners_key() -> None:
    assert "*key" not in BLOCKS["writer"] + BLOCKS["bib-watcher"]
    assert COMPOSE.count("${HUB_SECRET_KEY") == 1
    assert "HUB_SECRET_KEY" in COMPOSE.partition("x-key: &key\n")[2].partition("\n\n")[0]
    local = (ROOT / "k8s" / "overlays" / "local" / "kustomization.yaml").read_text()
    literals = dict(re.findall(r"name: ([a-z-]+)[,\n]\s+literals:(.+?(?=\n  -|$))", local, re.DOTALL))
    given = {name for name, each in literals.items() if "*key" in each or "&key" in each}
    assert given == {"scheduler", "fetcher", "operator"}


def test_nothing_but_grafana_is_published_beyond_this_host() -> None:
    published = {name: re.findall(r'ports: \["([^"]+)"\]', block) for name, block in BLOCKS.items()}
    beyond = [name for name, ports in published.items() if any(not each.startswith("127.0.0.1:") for each in ports)]
    assert beyond == ["grafana"]


def test_each_service_has_an_image_of_its_own() -> None:
    members = {folder.name for folder in (ROOT / "services").iterdir() if (folder / "pyproject.toml").exists()}
    built = set(re.findall(r"args: \{SERVICE: ([a-z-]+)\}", COMPOSE))
    assert built == members | {"simulator"}


def test_every_setting_that_is_handed_on_exists() -> None:
    kinds: tuple[type[BaseSettings], ...] = (Settings, SchedulerSettings, FetcherSettings, RoleSettings)
    known = {f"HUB_{name.upper()}" for kind in kinds for name in kind.model_fields}
    image = (ROOT / "Dockerfile").read_text()
    assert set(re.findall(r"^\s+(HUB_[A-Z_]+):", COMPOSE, re.MULTILINE)) <= known
    assert set(re.findall(r"(HUB_[A-Z_]+)=", image)) <= known


def test_each_service_has_a_database_role_of_its_own_that_is_made_before_it_starts() -> None:
    services = {role.removeprefix("hub_").replace("_", "-"): role for role in ROLES if role != "hub_reader"}
    for name, role in services.items():
        address = f"postgresql://{role}:${{{role.removeprefix('hub_').upper()}_PASSWORD:?"
        assert address in BLOCKS[name]
        assert f"{role}=${{{role.removeprefix('hub_').upper()}_PASSWORD}}" in BLOCKS["migrate"]
    assert "HUB_DATABASE_URL" not in BLOCKS["operator"]  # the owner's, which is everybody's else
