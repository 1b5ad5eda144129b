"""`hub status`: how things stand, what a race director would notice first at the top."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import typer

from shared.cadences import CadenceSettings
from shared.domain.budget import HOUR
from shared.domain.cadence import Cadence, Pace
from shared.ops import show
from shared.ops.budget_chart import slower, until
from shared.ops.checking import told
from shared.ops.desk import NEEDED, Desk, at_desk
from shared.ops.freshness import Freshness, judge, worst
from shared.ops.replaying import described as described_replay
from shared.ops.selecting import Key, Partner
from shared.ops.status_rows import Facts, gather
from shared.settings import load

SERVICES = (*NEEDED, "bib-watcher")

#: Races told one by one; --json tells all that are late or start within a day.
MOST_RACES = 10

#: Columns of the words before what is told one by one.
LABEL = 11

#: Checks whose subject has lines of its own above.
TOLD_BETTER = frozenset({"fresh", "outbox_drains"})

#: An outbox row older than this means that nobody publishes.
OUTBOX_PATIENCE = timedelta(seconds=30)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status")(status)


def status(json: show.Json = False) -> None:
    """Show how things stand: what is wrong first, then partners with their freshness and budgets, then the rest.

    Freshness is the age of what is known of a race, counted from the first call of its last complete run; a race is
    late when that is more than its promise: twice its interval.

    Example: hub status
    """

    async def work(desk: Desk) -> None:
        settings = load(CadenceSettings)
        facts = await gather(desk.database, settings, desk.clock.now())
        races = judged(facts)
        if json:
            show.document(describe(facts, races, settings.cadence()))
        else:
            _tell(facts, races)

    at_desk(work)


def judged(facts: Facts) -> list[Freshness]:
    """Each race against its promise, what a race director would notice first at the top."""
    races = [found for race in facts.races if (found := judge(race, facts.now)) is not None]
    return sorted(races, key=lambda each: each.rank(facts.now))


def troubles(facts: Facts, races: Sequence[Freshness]) -> list[str]:
    """What needs somebody, the most pressing first, a sentence each."""
    lines = []
    if missing := [name for name in SERVICES if name not in facts.services]:
        what = "No service is running" if len(missing) == len(SERVICES) else f"Not running: {', '.join(missing)}"
        lines.append(f"{what}; start with `hub up`, or your deployment.")
    lines += [
        f"All calls to {each['provider']} are stopped until {show.stamp(each['until'])}: {each['reason']}."
        for each in facts.stops
    ]
    lines += [
        f"{each['provider']}: {each['failed']} of {show.many(each['calls'], 'call')} failed in five minutes, mostly "
        f"{each['code']}; see: hub doctor"
        for each in facts.failing
    ]
    unloaded = [race.pace in {Pace.RACEDAY, Pace.NEAR} for race in races if race.age is None and is_pressing(race)]
    lines += [
        f"Never loaded: {show.many(count, 'race')} starting {when}; see: hub history --failed"
        for count, when in ((unloaded.count(True), "within a day"), (unloaded.count(False), "later"))
        if count
    ]
    for pace in Pace:
        late = [race.age for race in races if race.is_late and race.pace is pace and race.age is not None]
        if late:
            lines.append(f"Late: {show.many(len(late), f'{pace} race')}, the oldest {show.length(max(late))} old.")
    lines += [
        refused(partner, key)
        for partner in facts.partners
        for key in partner.keys
        if key.state == "refused" and partner.is_enabled
    ]
    lines += [
        f"Race {item['race_id']} of partner {item['partner_id']}: a full pass lacked {item['people']} of "
        f"{item['active']} people, nobody was removed; see: hub removals list"
        for item in facts.held
    ]
    if conflicts := conflicts_of(facts.conflicts):
        what = f"{show.many(conflicts.total(), 'bib')} in conflict in {show.many(len(conflicts), 'race')}"
        lines.append(f"{what} starting within a day; see: hub bibs --conflicts")
    lines += [
        f"Key {each['fingerprint']}: no calls until {show.stamp(each['blocked_until'])} ({each['block_reason']})."
        for each in facts.budgets
        if each["blocked_until"] is not None
    ]
    lines += [
        f"Key {each['fingerprint']}: its budget of {each['calls_per_hour']:,} calls an hour is used up."
        for each in facts.budgets
        if each["calls"] >= each["calls_per_hour"]
    ]
    lines += [
        f"Key {each['fingerprint']}: somebody else uses it, about {each['others_calls']:,} calls, seen at "
        f"{each['others_seen_at']:%H:%M}; its budget is ours again by {until(each['others_seen_at'])} UTC."
        for each in facts.budgets
        if each["others_seen_at"] is not None
    ]
    lines += [stretched(spell) for spell in spells_of(facts.stretched)]
    if letters := sum(each["messages"] for each in facts.dead_letters):
        lines.append(f"{show.many(letters, 'dead letter')}; see: hub dead-letters list")
    if aside := sum(each["rows"] for each in facts.quarantine):
        lines.append(f"{show.many(aside, 'row')} in quarantine; see: hub quarantine list")
    if facts.refused_races:
        lines.append(f"{show.many(facts.refused_races, 'race')} not readable with the key; see: hub history --failed")
    lines += [
        f"Check {each.name} at {each.checked_at:%H:%M}: {told(each)}"
        for each in facts.broken
        if each.name not in TOLD_BETTER
    ]
    if facts.outbox_since is not None and facts.now - facts.outbox_since > OUTBOX_PATIENCE:
        lines.append(
            f"{show.many(facts.outbox, 'message')} not published for {show.since(facts.outbox_since, facts.now)}."
        )
    return lines


def refused(partner: Partner, key: Key) -> str:
    """The sentence for a key that is refused: one in use, or one that was to replace another."""
    if key.replaces is None:
        who, then = "", "verify"
    else:
        who, then = f", meant to replace credential {key.replaces},", "rotate"
    whose = f"Key {key.fingerprint} of partner {partner.partner_id}{who}"
    return f"{whose} is refused. {key.why}; then: hub partner {then} {partner.partner_id}"


def conflicts_of(wearers: Sequence[Any]) -> Counter[tuple[int, str]]:
    """How many bibs of each partner's race are in conflict."""
    bibs = {(each["timing_partner_id"], each["race_id"], each["bib"]): None for each in wearers}
    return Counter((partner_id, race_id) for partner_id, race_id, _ in bibs)


def spells_of(hours: Sequence[Any]) -> list[list[Any]]:
    """Stretched hours, those of a key in a row together."""
    found: list[list[Any]] = []
    for hour in hours:
        last = found[-1][-1] if found else None
        if last and (last["fingerprint"], last["hour"] + HOUR) == (hour["fingerprint"], hour["hour"]):
            found[-1].append(hour)
        else:
            found.append([hour])
    return found


def stretched(spell: Sequence[Any]) -> str:
    """What some hours in a row promise instead, in a sentence."""
    most = max(each["raceday_races"] for each in spell)
    slowest = max(each["interval_seconds"] or 0 for each in spell)
    slowdown = max(each["slowdown"] for each in spell)
    asked = [f"{show.many(most, 'race')} asked for every {slowest} s instead"] if slowest else []
    asked += [slower(slowdown)] if slowdown > 1 else []
    return (
        f"Key {spell[0]['fingerprint']}, {spell[0]['hour']:%a %m-%d %H:%M} to {spell[-1]['hour'] + HOUR:%H:%M} UTC: "
        f"its budget does not fit; {', '.join(asked)}; see: hub budget"
    )


def _tell(facts: Facts, races: Sequence[Freshness]) -> None:
    lines = troubles(facts, races)
    unloaded = sum(race.age is None for race in races)
    people = sum(partner.people for partner in facts.partners)
    loading = f" ({unloaded:,} not loaded yet)" if unloaded else ""
    show.say(
        f"{show.many(len(facts.partners), 'partner')}, {show.many(len(races), 'race')} to come{loading}, "
        f"{people:,} people. " + ("Needs somebody:" if lines else "All is well.")
    )
    for each in lines:
        show.say(f"  ! {each}", 4, "yellow")
    if not facts.partners:
        show.say("Add a partner with `hub partner add`.")
        return
    show.say("")
    columns = (">id", "*partner", "*keys", ">races", ">people", ">race day", ">near", ">rest", ">late", ">calls")
    show.table(None, columns, [_partner_line(partner, facts, races) for partner in _ordered(facts.partners, races)])
    _tell_races(races, facts)
    show.say("")
    alive = ", ".join(f"{name} {count}" for name, count in sorted(facts.services.items())) or "none"
    show.say(f"services   {alive}", LABEL)
    open_runs = ", ".join(f"{each['runs']:,} {each['sync_class']} {each['state']}" for each in facts.runs) or "none"
    show.say(f"open runs  {open_runs}", LABEL)
    if facts.backfills:
        history = ", ".join(f"{each['partners']} {each['state']}" for each in facts.backfills)
        show.say(f"backfills  {history}", LABEL)
    failed = ", ".join(f"{each['runs']:,} {each['code']}" for each in facts.failures) or "none"
    show.say(f"failed     {failed} (24 h)", LABEL)
    aside = ", ".join(f"{each['provider']} {each['rows']:,} {each['reason']}" for each in facts.quarantine) or "none"
    show.say(f"quarantine {aside}", LABEL)
    if facts.replays:
        again = ", ".join(f"{each['what']} {each['finished']:,} of {each['items']:,}" for each in facts.replays)
        show.say(f"replays    {again}", LABEL)
    show.say(f"outbox     {facts.outbox:,} waiting; newest change {facts.newest_feed_id:,}", LABEL)
    show.say(f"archive    {show.size(facts.archive_bytes)}")


def _tell_races(races: Sequence[Freshness], facts: Facts) -> None:
    """The races that a race director would ask about: promises broken, then those nearest their start."""
    shown = [race for race in races if is_pressing(race)][:MOST_RACES]
    if not shown:
        return
    lines = [
        (
            race.race_id,
            race.name,
            race.partner_id,
            race.pace,
            "" if race.starts_at is None else until_start(race.starts_at - facts.now),
            show.length(race.promised),
            "never" if race.age is None else show.length(race.age),
            "late" if race.is_late else "loading" if race.age is None else "kept",
        )
        for race in shown
    ]
    show.say("")
    columns = (">race", "*name", ">partner", "pace", ">start", ">promise", ">age", "promise is")
    show.table(None, columns, lines)


def is_pressing(race: Freshness) -> bool:
    """Somebody may ask about it today."""
    return race.is_late or race.pace in {Pace.RACEDAY, Pace.NEAR}


def until_start(span: timedelta) -> str:
    """How long to a start, or since it: to the minute, within a day."""
    if span < timedelta(0):
        return f"{show.length(-span)} ago"
    hours, minutes = divmod(int(span.total_seconds()) // 60, 60)
    return f"in {hours}:{minutes:02} h" if 2 <= hours < 24 else f"in {show.length(span)}"


def _ordered(partners: Sequence[Partner], races: Sequence[Freshness]) -> list[Partner]:
    """Partners with a race nearest its start first, the late before the fresh."""

    def place(partner: Partner) -> tuple[int, int, int]:
        mine = [race for race in races if race.partner_id == partner.partner_id]
        nearest = min((race.pace.distance for race in mine), default=len(Pace))
        return -sum(race.is_late for race in mine), nearest, partner.partner_id

    return sorted(partners, key=place)


def _partner_line(partner: Partner, facts: Facts, races: Sequence[Freshness]) -> tuple[object, ...]:
    mine = [race for race in races if race.partner_id == partner.partner_id]
    ages = (worst(mine, *each) for each in ((Pace.RACEDAY,), (Pace.NEAR,), (Pace.ROUTINE, Pace.LONG, Pace.TAIL)))
    keys = {key.fingerprint for key in partner.keys}
    calls = [each for each in facts.budgets if each["fingerprint"] in keys]
    in_use = {key.state for key in partner.keys if not key.is_replaced}
    states = sorted(in_use) if partner.is_enabled else ["disabled"]
    return (
        partner.partner_id,
        partner.name,
        "+".join(states) or "none",
        len(mine),
        partner.people,
        *("" if age is None else show.length(age) for age in ages),
        sum(race.is_late for race in mine),
        f"{sum(each['calls'] for each in calls)}/{sum(each['calls_per_hour'] for each in calls)}" if calls else "",
    )


def describe(facts: Facts, races: Sequence[Freshness], cadence: Cadence) -> dict[str, object]:
    """The whole of it as JSON; the shape is told in ops/README.md."""
    return {
        "at": facts.now,
        "troubles": troubles(facts, races),
        "services": {
            name: facts.services.get(name, 0) for name in (*SERVICES, *sorted(set(facts.services) - {*SERVICES}))
        },
        "freshness": {
            pace.value: {
                "races": sum(race.pace is pace for race in races),
                "late": sum(race.pace is pace and race.is_late for race in races),
                "not_loaded": sum(race.pace is pace and race.age is None for race in races),
                "worst_seconds": _seconds(worst(races, pace)),
                "promised_seconds": cadence.promised(pace).total_seconds(),
            }
            for pace in Pace
        },
        "races": [_of_race(race) for race in races if is_pressing(race)],
        "partners": [_described(partner, races) for partner in facts.partners],
        "budgets": [dict(each) for each in facts.budgets],
        "stretched_hours": [dict(each) for each in facts.stretched],
        "open_runs": [dict(each) for each in facts.runs],
        "backfills": [dict(each) for each in facts.backfills],
        "failed_runs_24h": [dict(each) for each in facts.failures],
        "refused_races": facts.refused_races,
        "quarantine": [dict(each) for each in facts.quarantine],
        "dead_letters": [dict(each) for each in facts.dead_letters],
        "held_removals": [dict(each) for each in facts.held],
        "bib_conflicts": [
            {"partner_id": partner_id, "race_id": race_id, "bibs": bibs}
            for (partner_id, race_id), bibs in conflicts_of(facts.conflicts).items()
        ],
        "replays": [described_replay(each) for each in facts.replays],
        "provider_stops": [dict(each) for each in facts.stops],
        "failing_providers": [dict(each) for each in facts.failing],
        "outbox": {"waiting": facts.outbox, "since": facts.outbox_since},
        "broken_checks": [
            {"name": each.name, "broken": each.broken, "examples": each.examples, "checked_at": each.checked_at}
            for each in facts.broken
        ],
        "newest_feed_id": facts.newest_feed_id,
        "archive_bytes": facts.archive_bytes,
    }


def _of_race(race: Freshness) -> dict[str, object]:
    return {
        "partner_id": race.partner_id,
        "race_id": race.race_id,
        "name": race.name,
        "pace": race.pace,
        "starts_at": race.starts_at,
        "age_seconds": _seconds(race.age),
        "promised_seconds": race.promised.total_seconds(),
        "kept": False if race.is_late else None if race.age is None else True,
    }


def _seconds(age: timedelta | None) -> float | None:
    return None if age is None else round(age.total_seconds(), 1)


def _described(partner: Partner, races: Sequence[Freshness]) -> dict[str, object]:
    mine = [race for race in races if race.partner_id == partner.partner_id]
    return {
        "partner_id": partner.partner_id,
        "name": partner.name,
        "enabled": partner.is_enabled,
        "keys": [
            {"fingerprint": key.fingerprint, "state": key.state, "reason": key.state_reason} for key in partner.keys
        ],
        "races": len(mine),
        "people": partner.people,
        "late": sum(race.is_late for race in mine),
        "worst_seconds": {pace.value: _seconds(worst(mine, pace)) for pace in Pace},
    }
