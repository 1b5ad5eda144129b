"""What is kept of a weekend: its figures, and the series that are drawn, as one JSON document."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from tests.weekend.calendar import timed
from tests.weekend.judging import Aged, Quantiles, Verdict, quantiles
from tests.weekend.play import Played

#: Ages are drawn, and bib latencies counted, in steps.
AGE_STEP, BIB_STEP_SECONDS = timedelta(minutes=10), 5

Figures = dict[str, Any]


def figures(name: str, played: Played, verdict: Verdict) -> Figures:
    """The figures of a weekend that was played and judged."""
    script = played.script
    races = [played.races[race_id][-1][1] for race_id in script.calendar.race_ids]
    return {
        "name": name,
        "seed": script.seed,
        "begins": script.begins.isoformat(),
        "ends": script.ends.isoformat(),
        "brown_out": [each.isoformat() for each in script.brown_out or ()],
        "killed_at": script.killed_at.isoformat() if script.killed_at else None,
        "calls_per_hour": script.calls_per_hour,
        "races": len(script.calendar.world.races),
        "events": sum(len(race.events) for race in script.calendar.world.races.values()),
        "weekend_races": len(races),
        "weekend_events": sum(len(timed(race)) for race in races),
        "people": verdict.compared,
        "different": verdict.different,
        "happened": played.happened,
        "age": _told(verdict.plain),
        "age_in_brown_out": _told(quantiles([each.seconds for each in verdict.in_brown_out])),
        "recovered_after": round(verdict.recovered_after, 1),
        "stretched": _told(verdict.stretched),
        "stretched_age": _told(quantiles([each.seconds for each in verdict.ages if each.promised is not None])),
        "near": _told(quantiles(verdict.near)),
        "stretched_interval": round(max(played.stretched.values(), default=0.0)),
        "stretched_hours": len(played.stretched),
        "bib": _told(quantiles(verdict.bibs)),
        "stretched_bib": _told(quantiles(verdict.stretched_bibs)),
        "bib_of_other_races": _told(quantiles(verdict.other_bibs)),
        "bibs_superseded": verdict.superseded,
        "bibs_unseen": verdict.unseen,
        "calls": sum(verdict.calls_by_hour.values()),
        "former_calls": sum(verdict.former_by_hour.values()),
        "most_in_an_hour": max(verdict.calls_by_hour.values(), default=0),
        "former_most_in_an_hour": max(verdict.former_by_hour.values(), default=0),
        "most_of_one_key": verdict.most_in_hour,
        "over": verdict.over,
        "polls": verdict.polls,
        "polls_that_found_nothing": verdict.polls_that_found_nothing,
        "runs_that_failed": dict(Counter(run["state"] for run in played.runs if run["state"] in {"failed", "expired"})),
        "jumps": played.jumps,
        "seconds": round(played.seconds),
        "processor_seconds": round(played.processor_seconds),
        "broken": verdict.broken(),
        "age_series": _ages([*verdict.ages, *verdict.in_brown_out]),
        "call_series": [
            [hour.isoformat(), verdict.calls_by_hour[hour], verdict.former_by_hour[hour]]
            for hour in sorted({*verdict.calls_by_hour, *verdict.former_by_hour})
        ],
        "bib_series": sorted(
            Counter(int(each // BIB_STEP_SECONDS) * BIB_STEP_SECONDS for each in verdict.bibs).items()
        ),
    }


def _told(of: Quantiles) -> dict[str, float]:
    return {name: round(value, 2) for name, value in asdict(of).items()}


def _ages(ages: Iterable[Aged]) -> list[list[Any]]:
    """Median, p99 and greatest age of each step."""
    steps: dict[Any, list[float]] = defaultdict(list)
    for each in ages:
        into = timedelta(minutes=each.at.minute % 10, seconds=each.at.second, microseconds=each.at.microsecond)
        steps[each.at - into].append(each.seconds)
    found = []
    for step in sorted(steps):
        of = quantiles(steps[step])
        found.append([step.isoformat(), round(of.p50, 1), round(of.p99, 1), round(of.most, 1)])
    return found
