"""Two seeds in a short form, and the storm itself held to account: it must notice what it is there to notice."""

from dataclasses import replace

import pytest

from tests.chaos.judging import Verdict
from tests.chaos.plan import STORM_SECONDS, Storm, Strike, plan
from tests.chaos.storm import ride_out
from tests.chaos.weather import Ground

SHORT = 8.0  # seconds
#: One partner with a few hundred people, so that a storm of one idea is over in seconds.
HAMLET = (
    "--partners", "1", "--events", "1", "--future-events", "1", "--people", "230", "--future-people", "230",
    "--largest-event", "230",
)  # fmt: skip


@pytest.mark.parametrize("seed", [3, 4])
async def test_a_storm_costs_nobody(seed: int, ground: Ground) -> None:
    verdict = await ride_out(plan(seed, SHORT), ground)
    assert verdict.is_clean, "\n".join([str(each) for each in plan(seed, SHORT).strikes] + verdict.notes)


async def one_idea(ground: Ground, *strikes: Strike, **named: object) -> Verdict:
    """A storm of few strikes over a hamlet, that does not wait long for what will not come."""
    storm = Storm(seed=0, strikes=strikes, world=HAMLET, seconds=3.0, quiet=3.0, begins_loaded=True)
    return await ride_out(replace(storm, **named), ground)  # type: ignore[arg-type]


async def test_a_misfortune_that_never_struck_makes_a_seed_bad(ground: Ground) -> None:
    never = Strike(0.0, "fault", "http_500", details=(("endpoint", "checkin-timestamps"),))
    verdict = await one_idea(ground, never, seconds=1.0, patience=0.5, quiet=45.0)
    assert not verdict.is_clean
    assert verdict.missed == [f"never struck: {never}"]
    assert replace(verdict, notes=[]).is_clean


async def test_the_storm_notices_that_the_inbox_is_switched_off(ground: Ground) -> None:
    verdict = await one_idea(ground, without="inbox")
    assert verdict.doubled, verdict


async def test_the_storm_notices_that_the_attempt_check_is_switched_off(ground: Ground) -> None:
    """A page is sent, its fetcher dies; many leave, so that others move up into the page; the second sending is lost.

    Whoever takes the first page for the second misses those who moved up.
    """
    strikes = Strike(0.0, "killed", "fetcher.before_save_midway"), Strike(0.0, "message_lost", "fetcher.lose_page")
    verdict = await one_idea(
        ground, *strikes, without="attempts", begins_loaded=False, kinds=("refunded",), settings=PATIENT
    )
    assert verdict.falsely_removed or verdict.lost, verdict


#: A dead fetcher's run goes on only when a while has passed in which people leave, and is not given up before that.
PATIENT = (("HUB_DEADLINE_FULL_SECONDS", "60"), ("HUB_LEASE_SECONDS", "6"))


async def test_the_storm_notices_that_the_cursor_rule_is_switched_off(ground: Ground) -> None:
    """Our clock is three minutes ahead of the provider's: a cursor of our own making skips what happens there."""
    verdict = await one_idea(ground, without="cursor", clock_offset=-180.0)
    assert verdict.stale or verdict.lost, verdict


async def test_the_storm_notices_that_the_removal_guard_is_switched_off(ground: Ground) -> None:
    lie = Strike(0.0, "fault", "empty_answer", details=(("endpoint", "participants"),))  # all the storm long
    verdict = await one_idea(ground, lie, without="removals", full_passes=True, seconds=8.0)
    assert verdict.falsely_removed, verdict


def test_the_same_seed_is_the_same_storm() -> None:
    assert plan(7) == plan(7)
    assert plan(7) != plan(8)


def test_a_hundred_seeds_strike_with_everything_there_is() -> None:
    from tests.chaos.plan import DEATHS, FAULTS, INFRASTRUCTURE, OTHERS

    strikes = [strike for seed in range(1, 101) for strike in plan(seed).strikes]
    assert {each.kind for each in strikes} == {"killed", "fault", *INFRASTRUCTURE, *OTHERS}
    assert {each.target for each in strikes if each.kind == "killed"} == set(DEATHS)
    assert {each.target for each in strikes if each.kind == "fault"} == {kind for kind, _ in FAULTS}
    assert all(each.at + each.seconds < STORM_SECONDS for each in strikes)
