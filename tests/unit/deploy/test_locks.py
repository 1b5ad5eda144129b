"""What is installed and imported is what the locks say, and nothing in a lock is left open. `make check` runs this too.

Known holes are not looked for: that takes a database on the network (`make audit`).
"""

import ast
import re
import sys
from importlib.metadata import distributions, packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LOCKS = sorted(path for path in ROOT.rglob("requirements*.lock") if not str(path.relative_to(ROOT)).startswith("."))
OURS = {"shared", "scheduler", "fetcher", "writer", "bib_watcher", "runsignup_simulator"}
ENTRY = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9.-]*)==(?P<version>\S+)(?: ; [^\\]+)?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n"
)


def locked(*names: str) -> dict[str, str]:
    """Packages and versions of some locks."""
    return {each["name"]: each["version"] for name in names for each in ENTRY.finditer((ROOT / name).read_text())}


def normal(name: str) -> str:
    """A distribution's name as locks spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.relative_to(ROOT)))
def test_every_line_of_a_lock_is_one_version_and_its_hashes(lock: Path) -> None:
    """No range, no address, no package without a hash."""
    left = ENTRY.sub("", lock.read_text())
    assert [line for line in left.splitlines() if line and not line.startswith("#")] == []


def test_what_runs_is_what_was_developed_with() -> None:
    developed = locked("requirements-dev.lock")
    for lock in ("requirements.lock", "requirements-tracing.lock"):
        assert {name: developed.get(name) for name in locked(lock)} == locked(lock)


def test_what_is_installed_is_what_is_locked() -> None:
    wanted = locked("requirements-dev.lock")
    found = {normal(each.name): each.version for each in distributions()}
    assert {name: version for name, version in found.items() if name in wanted} == {
        name: version for name, version in wanted.items() if name in found
    }


def imported(folder: Path) -> set[str]:
    """The names at the top of what a folder's modules import, wherever in them; Python's own and ours left out."""
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {each.name.partition(".")[0] for each in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names - OURS


@pytest.mark.parametrize("folder", ["shared", "services"])
def test_what_runs_imports_nothing_that_its_lock_lacks(folder: str) -> None:
    runs = locked("requirements.lock", "requirements-tracing.lock")
    brings = packages_distributions()
    lacking = {
        name for name in imported(ROOT / folder) if not {normal(each) for each in brings.get(name, ())} & runs.keys()
    }
    assert lacking == set()
