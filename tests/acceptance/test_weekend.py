"""A quarter of an hour of the weekend (tests/weekend), so that it goes on working: a morning with bibs, and a death."""

from datetime import timedelta

from tests.weekend.calendar import Sizes, busiest_weekend
from tests.weekend.happenings import Amounts, prepare
from tests.weekend.judging import AGE_P99, judge, quantiles
from tests.weekend.play import Script, play
from tests.weekend.scripts import FRIDAY

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
