"""Two short mornings of the weekend (tests/weekend): one with bibs and a death, one with a partner who is slow."""

from datetime import timedelta

import pytest

from shared.secrets import fingerprint
from tests.weekend.calendar import Sizes, busiest_weekend
from tests.weekend.happenings import Amounts, prepare
from tests.weekend.judging import AGE_P99, judge, quantiles
from tests.weekend.play import Script, play
from tests.weekend.scripts import FRIDAY

THIRTEEN = Sizes(races=20, events=52, people=400, partners=13, on_saturday=20, on_sunday=0, peak=None)
SIZES = Sizes(races=6, events=12, people=240, partners=2, on_saturday=4, on_sunday=0, peak=None)


async def test_a_race_morning_keeps_its_promises_although_one_of_two_replicas_dies(database_url: str) -> None:
    calendar = busiest_weekend(1, FRIDAY, SIZES)
    begins = FRIDAY + timedelta(hours=13)
    happenings = prepare(calendar, begins, 1, Amounts(bibs=20, transfers=2, refunds=3, moved_starts=1))
    script = Script(
        1,
        calendar,
        happenings,
        loads_from=begins - timedelta(minutes=3),
        begins=begins,
        ends=begins + timedelta(minutes=15),
        killed_at=begins + timedelta(minutes=6),
    )
    played = await play(script, database_url, lambda _: None)
    verdict = judge(played)
    assert (verdict.over, verdict.unseen, verdict.different) == (0, 0, 0)
    assert verdict.compared > 200
    assert verdict.plain.p95 <= AGE_P99  # but for the races that the dead replica was at
    assert played.killed > 0
    assert quantiles(verdict.bibs).count > 10
    assert verdict.polls > 30


async def test_a_partner_whose_answers_take_half_a_minute_leaves_the_other_twelve_as_fresh_as_before(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five minutes without, six with, on a clock that does not mind what else this machine does."""
    monkeypatch.setenv("HUB_SLOW_ANSWERS", "1000")  # never parked: nothing but the slots' rule stands between them
    calendar = busiest_weekend(1, FRIDAY, THIRTEEN)
    races = {key: len(set(each.race_ids) & set(calendar.race_ids)) for key, each in calendar.world.partners.items()}
    busiest = max(races, key=lambda key: races[key])
    begins, slow_from = FRIDAY + timedelta(hours=13), FRIDAY + timedelta(hours=13, minutes=5)
    script = Script(
        1,
        calendar,
        [],
        loads_from=begins - timedelta(minutes=3),
        begins=begins,
        ends=slow_from + timedelta(minutes=6),
        slow=(busiest, slow_from),
        settling=timedelta(0),
    )
    played = await play(script, database_url, lambda _: None)
    verdict = judge(played)
    others = [each for each in verdict.ages if played.keys[each.partner] != fingerprint(busiest)]
    before = quantiles([each.seconds for each in others if each.at < slow_from])
    beside = quantiles([each.seconds for each in others if each.at > slow_from + timedelta(minutes=1)])
    theirs = quantiles([each.seconds for each in verdict.ages if each not in others and each.at > slow_from])
    assert min(before.count, beside.count) > 500
    assert theirs.p95 > 2 * before.p95  # the trouble is one
    assert beside.p95 <= 1.25 * before.p95
