"""What must stand nowhere in the product's code; the threats and the other tests are listed in SECURITY.md."""

import re
import ssl
from pathlib import Path

import pytest

from shared.providers.runsignup.client import RunSignUpClient

ROOT = Path(__file__).parents[3]
SOURCES = sorted([*ROOT.glob("shared/src/**/*.py"), *ROOT.glob("services/*/src/**/*.py")])


NEVER = (
    r"verify\s*=\s*False", r"CERT_NONE", r"check_hostname\s*=\s*False", r"shell\s*=\s*True", r"\bpickle\b",
    r"\beval\(", r"\bexec\(",
)  # fmt: skip


@pytest.mark.parametrize("never", NEVER)
def test_what_must_stand_nowhere(never: str) -> None:
    assert len(SOURCES) > 100
    assert [path.name for path in SOURCES if re.search(never, path.read_text("utf-8"))] == []


async def test_certificates_are_verified() -> None:
    client = RunSignUpClient("https://api.runsignup.com/rest")
    try:
        context = client._http._transport._pool._ssl_context  # type: ignore[attr-defined]
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
    finally:
        await client.close()


def test_every_test_that_the_page_names_exists() -> None:
    page = (ROOT / "SECURITY.md").read_text("utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page)
    assert len(named) > 15
    for path, test in named:
        assert (ROOT / path).is_file(), path
        assert not test or f"def {test}(" in (ROOT / path).read_text("utf-8"), f"{path}::{test}"
