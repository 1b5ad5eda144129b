"""Verdicts of the doctor that need no patient."""

from datetime import timedelta

import pytest

from shared.ops.checkup import Verdict, examine_provider, judge_clock
from shared.settings import Settings


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [(0.2, Verdict.OK), (-4, Verdict.OK), (20, Verdict.WARN), (3600, Verdict.BAD), (-3600, Verdict.BAD)],
)
def test_a_clock_is_judged_by_how_far_it_is_off(seconds: float, verdict: Verdict) -> None:
    found = judge_clock("clock", "this machine", "the database's clock", timedelta(seconds=seconds))
    assert found.verdict is verdict
    assert ("ahead of" in found.detail) == (seconds > 0)
    assert (found.remedy is None) == (verdict is Verdict.OK)


@pytest.mark.parametrize("address", ["nonsense", "ftp://h/rest", "https://h:port/rest"])
async def test_a_provider_address_that_is_none_is_bad(address: str) -> None:
    found = await examine_provider(Settings(runsignup_base_url=address))
    assert found.verdict is Verdict.BAD
    assert "HUB_RUNSIGNUP_BASE_URL" in (found.remedy or "")
