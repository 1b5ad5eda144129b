"""What the weekend showed: ages, bib latencies and calls, from what was written down. Plain functions over values."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from runsignup_simulator.model import Race
from shared.domain.cadence import Cadence, Pace
from tests.weekend.calendar import AFTER, BEFORE, at, timed
from tests.weekend.play import Given, Played, Told

#: How often each race is looked at, to see how old what the hub knows of it is.
LOOK = timedelta(seconds=5)
#: The promises. An age is that of the provider's state as the hub last confirmed it.
AGE_P99, BIB_P99, RECOVERY = 90.0, 75.0, 120.0
#: Races that start within a day are looked at less often, and promised half an hour.
DAY, LOOK_NEAR, NEAR_AGE = timedelta(hours=24), timedelta(minutes=1), Cadence().promised(Pace.NEAR).total_seconds()
#: So long, in seconds, what is late after the brown-out is late because of it.
HEALING = 1800.0
#: A bib of which no event came so long before the end is lost: on a race day, and otherwise.
SOON, LATER = timedelta(minutes=5), timedelta(minutes=70)
#: The former system's way: so many calls for each event and minute of its window.
FORMER_CALLS = 2


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Seconds; of nothing, all are 0."""

    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    most: float = 0.0
    count: int = 0


def quantiles(values: Sequence[float]) -> Quantiles:
    """Nearest-rank percentiles."""
    if not values:
        return Quantiles()
    ordered = sorted(values)

    def rank(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    return Quantiles(rank(0.5), rank(0.95), rank(0.99), ordered[-1], len(ordered))


@dataclass(frozen=True, slots=True)
class Aged:
    """How old what was known of a race was at a moment of its race day."""

    at: datetime
    partner: int
    seconds: float
    promised: float | None  # seconds, where a longer interval had been announced before its hour began


@dataclass(slots=True)
class Verdict:
    """All figures of one weekend."""

    ages: list[Aged] = field(default_factory=list)
    in_brown_out: list[Aged] = field(default_factory=list)
    near: list[float] = field(
        default_factory=list
    )  # ages of races within a day of their start, as shares of the promise
    recovered_after: float = 0.0  # seconds after the brown-out until every race was as fresh as promised
    bibs: list[float] = field(default_factory=list)  # seconds from the provider's change to the event, race days
    stretched_bibs: list[float] = field(
        default_factory=list
    )  # the same in stretched hours, as shares of the promised age
    other_bibs: list[float] = field(default_factory=list)  # seconds, of races that were not near
    superseded: int = 0  # bibs that changed again before anybody could see them
    unseen: int = 0  # bibs of which no event came
    calls_by_hour: Counter[datetime] = field(default_factory=Counter)
    former_by_hour: Counter[datetime] = field(default_factory=Counter)
    most_in_hour: int = 0  # calls of the busiest key in any rolling hour
    over: int = 0  # calls above a key's limit, as the provider counted
    polls: int = 0
    polls_that_found_nothing: int = 0
    different: int = 0  # people who were not the provider's in the end
    compared: int = 0

    @property
    def plain(self) -> Quantiles:
        """Ages outside the brown-out, where the minute was promised."""
        return quantiles([each.seconds for each in self.ages if each.promised is None])

    @property
    def stretched(self) -> Quantiles:
        """Ages where a longer interval had been announced, as shares of what was promised then."""
        return quantiles([each.seconds / each.promised for each in self.ages if each.promised is not None])

    def broken(self) -> list[str]:
        """The promises that were not kept, each in a sentence."""
        said = [
            (self.plain.p99 > AGE_P99, f"a race's age was {self.plain.p99:.0f} s at p99; {AGE_P99:.0f} are promised"),
            (
                quantiles(self.near).p99 > 1,
                f"near races' ages were {quantiles(self.near).p99:.2f} of their promise at p99",
            ),
            (self.stretched.p99 > 1, f"stretched promises were overrun: p99 {self.stretched.p99:.2f} of them"),
            (
                self.recovered_after > RECOVERY,
                f"the races were back {self.recovered_after:.0f} s after the brown-out; {RECOVERY:.0f} are promised",
            ),
            (
                quantiles(self.bibs).p99 > BIB_P99,
                f"a bib became an event in {quantiles(self.bibs).p99:.0f} s at p99; {BIB_P99:.0f} are promised",
            ),
            (
                quantiles(self.stretched_bibs).p99 > 1,
                f"in stretched hours a bib took {quantiles(self.stretched_bibs).p99:.2f} of the promised age at p99",
            ),
            (self.over > 0, f"{self.over} calls were above a key's limit"),
            (self.unseen > 0, f"{self.unseen} bibs never became an event"),
            (self.different > 0, f"{self.different} of {self.compared} people differ from the provider's"),
            (not self.ages or not (self.bibs or self.stretched_bibs), "nothing was measured"),
        ]
        return [sentence for is_broken, sentence in said if is_broken]


def judge(played: Played) -> Verdict:
    """Judge a weekend that was played."""
    verdict = Verdict()
    _judge_ages(played, verdict)
    _judge_bibs(played, verdict)
    begins, ends = played.script.begins, played.script.ends
    for moment, _ in played.calls:
        if begins <= moment <= ends:
            verdict.calls_by_hour[moment.replace(minute=0, second=0, microsecond=0)] += 1
    verdict.former_by_hour = former_calls(played)
    verdict.most_in_hour = max((each["max_in_any_hour"] for each in played.audit["credentials"].values()), default=0)
    verdict.over = played.audit["quota_violations"]
    for run in played.runs:
        if run["kind"] == "race" and run["state"] == "completed" and begins <= run["requested_at"] <= ends:
            verdict.polls += 1
            verdict.polls_that_found_nothing += not run["found"]
    verdict.compared, verdict.different = played.compared, played.different
    return verdict


def race_days(history: Sequence[tuple[datetime, Race]], first: datetime, last: datetime) -> Iterator[datetime]:
    """The moments, ``LOOK`` apart, at which an event of the race was in its window, as the provider had it then."""
    for moment, _, starts in _moments(history, first, last, LOOK, BEFORE):
        if _in_window(moment, starts):
            yield moment


def near_days(
    history: Sequence[tuple[datetime, Race]], first: datetime, last: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """The moments, ``LOOK_NEAR`` apart, at which a race is within a day of a start and not in a window; since when."""
    for moment, since, starts in _moments(history, first, last, LOOK_NEAR, DAY):
        near = [start - DAY for start in starts if BEFORE < start - moment <= DAY]
        if near and not _in_window(moment, starts):
            yield moment, max(since, min(near))


def _moments(
    history: Sequence[tuple[datetime, Race]], first: datetime, last: datetime, apart: timedelta, before: timedelta
) -> Iterator[tuple[datetime, datetime, list[datetime]]]:
    """Moments, the same for every race, from so long before its first start on; its starts then, and since when."""
    for place, (since, race) in enumerate(history):
        until = history[place + 1][0] if place + 1 < len(history) else last
        starts = [at(event.starts_at or 0) for event in timed(race)]
        moment = first + apart * -((first - max(since, first, min(starts) - before)) // apart)
        while moment < min(until, last, max(starts) + AFTER):
            yield moment, since, starts
            moment += apart


def _in_window(moment: datetime, starts: Sequence[datetime]) -> bool:
    return any(start - BEFORE <= moment <= start + AFTER for start in starts)


def _judge_ages(played: Played, verdict: Verdict) -> None:
    script = played.script
    seen: dict[tuple[int, int], list[tuple[datetime, datetime]]] = defaultdict(list)
    for run in sorted(played.runs, key=lambda run: run["finished_at"] or script.ends):
        if run["kind"] == "race" and run["state"] == "completed" and run["as_of"]:
            known = seen[run["timing_partner_id"], int(run["race_id"])]
            newest = max(run["as_of"], known[-1][1]) if known else run["as_of"]
            known.append((run["finished_at"], newest))
    first_bad, last_bad = script.brown_out or (script.ends, script.ends)
    for partner, race_id in played.copies:
        age_at = _ages(seen[partner, race_id], script.loads_from)
        for moment, near_since in near_days(played.races[race_id], script.begins, script.ends):
            if not first_bad <= moment < last_bad + timedelta(seconds=HEALING):
                # A nearer pace promises from when it begins.
                verdict.near.append(min(age_at(moment), (moment - near_since).total_seconds()) / NEAR_AGE)
        for moment in race_days(played.races[race_id], script.begins, script.ends):
            age = age_at(moment)
            aged = Aged(moment, partner, age, played.promised(partner, moment))
            since_then = (moment - last_bad).total_seconds()
            in_brown_out = first_bad <= moment < last_bad + timedelta(seconds=RECOVERY)
            (verdict.in_brown_out if in_brown_out else verdict.ages).append(aged)
            # Not back: known from before its end only, and longer ago than promised.
            if 0 <= since_then < HEALING and age > max(since_then, aged.promised or AGE_P99):
                verdict.recovered_after = max(verdict.recovered_after, since_then)


def _ages(known: Sequence[tuple[datetime, datetime]], loads_from: datetime) -> Callable[[datetime], float]:
    """How old what is known of a race is at a moment, by when which of its states was confirmed; seconds."""
    told_at = [finished for finished, _ in known]

    def age(moment: datetime) -> float:
        place = bisect_right(told_at, moment)
        return (moment - (known[place - 1][1] if place else loads_from)).total_seconds()

    return age


def _judge_bibs(played: Played, verdict: Verdict) -> None:
    script = played.script
    told: dict[tuple[int, str | None], list[datetime]] = defaultdict(list)
    of_whom: dict[int, list[Told]] = defaultdict(list)
    owners = {race_id: partner for partner, race_id in played.copies}
    for each in played.told:
        told[each.registration_id, each.bib].append(each.at)
        of_whom[each.registration_id].append(each)
    of_person: dict[int, list[Given]] = defaultdict(list)
    for given in played.given:
        of_person[given.registration_id].append(given)
    first_bad, last_bad = script.brown_out or (script.ends, script.ends)
    for changes in of_person.values():
        for place, given in enumerate(changes):
            if not place and _worn(of_whom[given.registration_id], given):
                continue  # a bundle's copy wore it already: nothing changed, and nothing is told
            came_at = min((each for each in told[given.registration_id, given.bib] if each >= given.at), default=None)
            ends_at = [played.gone.get(given.registration_id), *(each.at for each in changes[place + 1 :][:1])]
            next_at = min((each for each in ends_at if each is not None), default=None)
            if came_at is None or (next_at is not None and came_at > next_at):
                if next_at is not None:
                    verdict.superseded += 1
                elif script.ends - given.at > (SOON if _is_race_day(played.races[given.race_id], given.at) else LATER):
                    verdict.unseen += 1
                continue
            seconds = (came_at - given.at).total_seconds()
            if not _is_race_day(played.races[given.race_id], given.at):
                verdict.other_bibs.append(seconds)
            elif not first_bad - timedelta(minutes=2) <= given.at < last_bad + timedelta(seconds=RECOVERY):
                promises = [played.promised(owners[given.race_id], moment) for moment in (given.at, came_at)]
                promised = max((each for each in promises if each is not None), default=None)
                if promised is None:
                    verdict.bibs.append(seconds)
                else:
                    verdict.stretched_bibs.append(seconds / promised)


def _worn(told: Sequence[Told], given: Given) -> bool:
    """Whether somebody was known to wear the bib that they were given."""
    before = [each for each in told if each.at < given.at]
    return bool(before) and before[-1].bib == given.bib


def _is_race_day(history: Sequence[tuple[datetime, Race]], moment: datetime) -> bool:
    race = [race for since, race in history if since <= moment][-1]
    return _in_window(moment, [at(event.starts_at or 0) for event in timed(race)])


def former_calls(played: Played) -> Counter[datetime]:
    """What the former way would have cost: two calls for each event and minute of its window, by hour."""
    hours: Counter[datetime] = Counter()
    for _, race_id in played.copies:
        race = played.races[race_id][-1][1]
        for event in timed(race):
            start = at(event.starts_at or 0)
            moment = max(start - BEFORE, played.script.begins)
            while moment < min(start + AFTER, played.script.ends):
                hours[moment.replace(minute=0, second=0, microsecond=0)] += FORMER_CALLS
                moment += timedelta(minutes=1)
    return hours
