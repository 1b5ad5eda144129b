"""What the weekends showed, for a terminal and as a page with plots."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from runsignup_simulator.spelling import EASTERN
from tests import plots
from tests.weekend.figures import AGE_STEP, BIB_STEP_SECONDS, Figures
from tests.weekend.judging import AGE_P99, BIB_P99, RECOVERY

HERE = Path(__file__).parent
MARKS = ("<!-- played: written by make weekend -->", "<!-- end of played -->")

WHAT = {
    "weekend": "the whole weekend",
    "half": "its Saturday, 6 to 9 Eastern, at half the budget",
    "one-key": "40 races of one key in these hours",
}


def _of(name: str) -> Callable[[Figures], str]:
    """p50, p95, p99 and the greatest of some seconds."""

    def told(figures: Figures) -> str:
        of = figures[name]
        if not of["count"]:
            return "–"
        return " / ".join(f"{of[each]:,.0f}" for each in ("p50", "p95", "p99", "most"))

    return told


def _shares(name: str) -> Callable[[Figures], str]:
    """The p99 and the greatest of some shares."""

    def told(figures: Figures) -> str:
        of = figures[name]
        return f"{of['p99']:.2f}, {of['most']:.2f}" if of["count"] else "–"

    return told


def _stretched(figures: Figures) -> str:
    if not figures["stretched"]["count"]:
        return "no hour"
    return f"{figures['stretched_hours']} hours, {figures['stretched_interval']} s at the longest"


def _bibs(figures: Figures) -> str:
    seen = figures["bib"]["count"] + figures["stretched_bib"]["count"] + figures["bib_of_other_races"]["count"]
    return f"{seen:,}, {figures['bibs_superseded']}, {figures['bibs_unseen']}"


#: What is told of each weekend: the words, and how they are filled.
ROWS: tuple[tuple[str, Callable[[Figures], str]], ...] = (
    ("races and events in the world", lambda f: f"{f['races']:,} and {f['events']:,}"),
    ("of them on these days", lambda f: f"{f['weekend_races']} and {f['weekend_events']}"),
    (f"age of race-day races, s: p50 / p95 / p99 (≤ {AGE_P99:.0f}) / max", _of("age")),
    ("hours stretched, as announced before they began", _stretched),
    ("age in them, s: p50 / p95 / p99 / max", _of("stretched_age")),
    ("of the age promised then: p99 (≤ 1), max", _shares("stretched")),
    ("races within a day of a start, of the promised age: p99 (≤ 1), max", _shares("near")),
    (f"in the brown-out and {RECOVERY:.0f} s after it, s", _of("age_in_brown_out")),
    (f"all races fresh again after it, s (≤ {RECOVERY:.0f})", lambda f: f"{f['recovered_after']:.0f}"),
    (f"bib to event, race days, s: p50 / p95 / p99 (≤ {BIB_P99:.0f}) / max", _of("bib")),
    ("in stretched hours, of the age promised then: p99 (≤ 1), max", _shares("stretched_bib")),
    ("bib to event, races not near their start, s", _of("bib_of_other_races")),
    ("bibs seen, changed again before, never seen", _bibs),
    ("calls, and the former way's", lambda f: f"{f['calls']:,} and {f['former_calls']:,}"),
    ("in the busiest hour", lambda f: f"{f['most_in_an_hour']:,} and {f['former_most_in_an_hour']:,}"),
    ("busiest key in any rolling hour", lambda f: f"{f['most_of_one_key']:,} of {f['calls_per_hour']:,}"),
    ("calls above a limit, by the provider's count", lambda f: f"{f['over']}"),
    ("looks that found nothing", lambda f: f"{f['polls_that_found_nothing']:,} of {f['polls']:,}"),
    ("people different from the provider's at the end", lambda f: f"{f['different']} of {f['people']:,}"),
    ("seed; jumps of the clock", lambda f: f"{f['seed']}; {f['jumps']:,}"),
    (
        "minutes by the wall, of its processor, without PostgreSQL's",
        lambda f: f"{f['seconds'] / 60:.1f}, {f['processor_seconds'] / 60:.1f}",
    ),
)


def show(found: list[Figures], console: Console) -> None:
    """One table a weekend, and what was not kept."""
    for each in found:
        table = Table(title=f"\n{each['name']}: {WHAT[each['name']]}", title_justify="left", box=None, pad_edge=False)
        table.add_column("what", max_width=44)
        table.add_column("figure", justify="right")
        for words, fill in ROWS:
            table.add_row(words, fill(each))
        console.print(table)
        for sentence in each["broken"]:
            console.print(f"[red]not kept: {sentence}[/red]")
        if not each["broken"]:
            console.print("every promise was kept")


def write(found: list[Figures]) -> None:
    """Renew the page's table and plots."""
    for name, text in _drawn(found[0]).items():
        (HERE / "plots" / f"{name}.svg").write_text(text)
    page = HERE / "README.md"
    head, _, rest = page.read_text().partition(MARKS[0])
    _, _, tail = rest.partition(MARKS[1])
    page.write_text(head + MARKS[0] + "\n" + "\n".join(_page(found)) + "\n" + MARKS[1] + tail)


def _page(found: list[Figures]) -> list[str]:
    lines = [
        "| what | " + " | ".join(WHAT[each["name"]] for each in found) + " |",
        "| --- |" + " ---: |" * len(found),
    ]
    lines += [f"| {words} | " + " | ".join(fill(each) for each in found) + " |" for words, fill in ROWS]
    lines += ["", "| happened at the provider | " + " | ".join(each["name"] for each in found) + " |"]
    lines += ["| --- |" + " ---: |" * len(found)]
    for kind in sorted({kind for each in found for kind in each["happened"]}):
        lines.append(
            f"| {kind.replace('_', ' ')} | " + " | ".join(f"{f['happened'].get(kind, 0):,}" for f in found) + " |"
        )
    for each in found:
        lines += [f"\n**Not kept, {each['name']}**: {sentence}." for sentence in each["broken"]]
    lines += ["", *(f"![{name}](plots/{name}.svg)\n" for name in ("age", "bibs", "calls"))]
    return lines


def _drawn(weekend: Figures) -> dict[str, str]:
    begins, ends = _hours(weekend["begins"]), _hours(weekend["ends"])
    ticks = [
        (begins + hour, (_at(weekend["begins"]) + timedelta(hours=hour)).strftime("%a %H"))
        for hour in range(0, int(ends - begins) + 1, 6)
    ]
    spans = []
    if weekend["brown_out"]:
        first, last = map(_hours, weekend["brown_out"])
        spans.append(plots.Span(first, last, "brown-out"))
    if weekend["killed_at"]:
        spans.append(plots.Span(_hours(weekend["killed_at"]), _hours(weekend["killed_at"]), "a replica dies"))
    age = plots.lines(
        plots.Frame(
            "Age of race-day races, seconds, in steps of ten minutes",
            ticks,
            begins,
            ends,
            (AGE_P99, "promised at p99"),
            spans,
        ),
        [_line(name, weekend["age_series"], place) for place, name in ((3, "greatest"), (2, "p99"), (1, "median"))],
    )
    calls = plots.bars(
        plots.Frame("Calls an hour", ticks, begins, ends),
        [
            plots.Series(
                "the former way, race-day events alone",
                [(_hours(at), former) for at, _, former in weekend["call_series"]],
            ),
            plots.Series("ours, all races", [(_hours(at), ours) for at, ours, _ in weekend["call_series"]]),
        ],
        width=1.0,
    )
    last_step = max((step for step, _ in weekend["bib_series"]), default=60) + BIB_STEP_SECONDS
    bibs = plots.bars(
        plots.Frame(
            "Seconds from a bib at the provider to its event, on race days",
            [(step, str(step)) for step in range(0, last_step + 1, 10)],
            0,
            last_step,
        ),
        [plots.Series("bibs", weekend["bib_series"])],
        width=BIB_STEP_SECONDS,
    )
    return {"age": age, "bibs": bibs, "calls": calls}


def _line(name: str, series: list[list[Any]], place: int) -> plots.Series:
    """A line that breaks where no race had its day."""
    values: list[tuple[float, float | None]] = []
    for step in series:
        at = _hours(step[0])
        if values and at - values[-1][0] > 1.5 * AGE_STEP.total_seconds() / 3600:
            values.append((at, None))
        values.append((at, step[place]))
    return plots.Series(name, values)


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(EASTERN)


def _hours(text: str) -> float:
    return datetime.fromisoformat(text).timestamp() / 3600
