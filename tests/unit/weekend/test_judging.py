"""The verdict on a weekend, from what was written down."""

from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import pytest

from runsignup_simulator import SMALL, generate
from runsignup_simulator.model import Race
from tests import plots
from tests.weekend.calendar import Calendar
from tests.weekend.judging import judge, quantiles
from tests.weekend.play import Given, Played, Script, Told

GUN = datetime(2027, 6, 5, 12, tzinfo=UTC)
BEGINS, ENDS = GUN - timedelta(hours=2), GUN - timedelta(hours=1)
PARTNER = 1


@pytest.fixture(scope="module")
def race() -> Race:
    """A race with a gun two hours after the weekend's beginning."""
    from dataclasses import replace

    race = next(iter(generate(SMALL, GUN.timestamp()).races.values()))
    event = replace(race.events[0], virtual=False, starts_at=int(GUN.timestamp()), ends_at=None)
    return replace(race, events=(event,))


def a_weekend(race: Race, *confirmed: tuple[float, float], **fields: Any) -> Played:
    """Played for an hour; each confirmation is (first call, completion) in seconds since the beginning."""
    script = Script(1, Calendar(None, (race.race_id,)), [], BEGINS, BEGINS, ENDS)  # type: ignore[arg-type]
    runs = [
        {
            "kind": "race",
            "state": "completed",
            "timing_partner_id": PARTNER,
            "race_id": str(race.race_id),
            "requested_at": BEGINS + timedelta(seconds=first),
            "as_of": BEGINS + timedelta(seconds=first),
            "finished_at": BEGINS + timedelta(seconds=last),
            "found": 0,
        }
        for first, last in confirmed
    ]
    return Played(
        script,
        races={race.race_id: [(BEGINS, race)]},
        copies=[(PARTNER, race.race_id)],
        keys={PARTNER: "key"},
        runs=runs,
        audit={"credentials": {"key": {"max_in_any_hour": 61}}, "quota_violations": 0},
        **fields,
    )


def every(seconds: float) -> list[tuple[float, float]]:
    return [(number * seconds, number * seconds + 1) for number in range(int(3600 / seconds) + 1)]


def test_an_age_counts_from_the_first_call_of_the_last_completed_run(race: Race) -> None:
    verdict = judge(a_weekend(race, *every(60)))
    assert verdict.plain.count == 720
    assert verdict.plain.most == 60.0  # at the next first call, whose run is not complete for another second
    assert verdict.polls == verdict.polls_that_found_nothing == 61


def test_a_race_that_is_looked_at_too_seldom_breaks_the_promise(race: Race) -> None:
    (sentence, *_) = judge(a_weekend(race, *every(120))).broken()
    assert sentence == "a race's age was 120 s at p99; 90 are promised"


def test_a_stretched_promise_is_the_measure_where_it_was_announced(race: Race) -> None:
    hour = BEGINS.replace(minute=0)
    verdict = judge(a_weekend(race, *every(120), stretched={("key", hour): 100.0}))
    assert verdict.plain.count == 0
    assert verdict.stretched.most == pytest.approx(120 / 200)


def test_a_race_within_a_day_of_its_start_is_judged_by_its_own_promise_from_when_that_begins(race: Race) -> None:
    from dataclasses import replace

    def in_hours(hours: float) -> Race:
        return replace(
            race, events=(replace(race.events[0], starts_at=int((BEGINS + timedelta(hours=hours)).timestamp())),)
        )

    kept = judge(a_weekend(in_hours(10), *every(1700)))
    assert (len(kept.near), kept.ages, max(kept.near) < 1) == (60, [], True)
    late = judge(a_weekend(in_hours(10), (0, 1)))
    assert max(late.near) == pytest.approx(59 / 30)
    assert any(each.startswith("near races' ages were 1.97 of their promise") for each in late.broken())
    entered = judge(a_weekend(in_hours(24.5), (0, 1)))
    assert len(entered.near) == 30
    assert max(entered.near) == pytest.approx(29 / 30)


def test_a_brown_out_is_judged_by_how_soon_all_are_fresh_again(race: Race) -> None:
    played = a_weekend(race, *[each for each in every(60) if not 600 <= each[0] < 1800])
    played.script = Script(
        1, played.script.calendar, [], BEGINS, BEGINS, ENDS,
        brown_out=(BEGINS + timedelta(minutes=10), BEGINS + timedelta(minutes=29)),
    )  # fmt: skip
    verdict = judge(played)
    assert verdict.plain.most == 60.0
    assert verdict.recovered_after == 60.0


@pytest.mark.parametrize(
    ("changes", "told", "seconds", "superseded", "unseen"),
    [
        ([(100, "5")], [(130, "5")], [30.0], 0, 0),
        ([(100, "5"), (110, "6")], [(130, "6")], [20.0], 1, 0),
        ([(100, "5")], [], [], 0, 1),
        ([(100, "5")], [(90, "5")], [], 0, 0),  # known to wear it already
        ([(100, "5")], [(90, "6")], [], 0, 1),
    ],
)
def test_a_bib_is_seen_superseded_or_lost(
    race: Race,
    changes: list[tuple[float, str]],
    told: list[tuple[float, str]],
    seconds: list[float],
    superseded: int,
    unseen: int,
) -> None:
    played = a_weekend(race, *every(60))
    played.given = [Given(BEGINS + timedelta(seconds=at), race.race_id, 7, bib) for at, bib in changes]
    played.told = [Told(BEGINS + timedelta(seconds=at), race.race_id, 7, "given", bib) for at, bib in told]
    verdict = judge(played)
    assert (verdict.bibs, verdict.superseded, verdict.unseen) == (seconds, superseded, unseen)


def test_the_former_way_costs_two_calls_for_each_event_and_minute(race: Race) -> None:
    assert sum(judge(a_weekend(race)).former_by_hour.values()) == 120


def test_percentiles_are_values_that_were_measured() -> None:
    found = quantiles([float(each) for each in range(1, 101)])
    assert (found.p50, found.p99, found.most, found.count) == (51.0, 100.0, 100.0, 100)
    assert quantiles([]).count == 0


def test_a_plot_is_a_whole_document_and_a_gap_breaks_its_line() -> None:
    frame = plots.Frame("Age & more", [(0, "Fri")], 0, 4, (90, "promised"), [plots.Span(1, 2, "brown-out")])
    drawn = plots.lines(frame, [plots.Series("p99", [(0, 1.0), (1, 2.0), (2, None), (3, 4.0)])])
    root = ElementTree.fromstring(drawn)
    paths = [each.get("d", "") for each in root.iter("{http://www.w3.org/2000/svg}path")]
    assert paths[-1].count("M") == 2
    assert ElementTree.fromstring(plots.bars(frame, [plots.Series("calls", [(0, 10)])], 1.0)) is not None
