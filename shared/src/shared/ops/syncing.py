"""`hub sync`: asks for a sync now, and with ``--wait`` follows it until all of it is written."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from shared.domain.cadence import WANTED
from shared.errors import Later
from shared.ops import show
from shared.ops.desk import Desk, at_desk, nobody_runs, require_services
from shared.ops.failing import WrongUsage
from shared.ops.following import LOOK_SECONDS, Outcome, look, outcome, reason
from shared.ops.progress import teller
from shared.ops.selecting import Partner, Race, choose_partners, choose_races, number, races_of
from shared.ops.wanting import Job, ahead, ask_lists, ask_races, place

#: Pieces that were not written are told one by one, up to so many.
TOLD = 10


@dataclass(frozen=True, slots=True)
class Choice:
    """What of everything is wanted, and how."""

    partner: str | None
    race_id: str | None
    event_id: str | None
    full: bool
    wait: bool
    timeout: float | None
    json: bool


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("sync")(sync)


def sync(
    partner: Annotated[
        str | None, typer.Option(metavar="NAME|ID", help="Only this partner.", show_default=False)
    ] = None,
    race: Annotated[str | None, typer.Option(metavar="ID", help="Only this race.", show_default=False)] = None,
    event: Annotated[str | None, typer.Option(metavar="ID", help="Only this event.", show_default=False)] = None,
    full: Annotated[bool, typer.Option("--full", help="Everybody, not only what changed.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Show progress, and end when all of it is written.")] = False,
    timeout: Annotated[
        float | None, typer.Option(min=1, help="Seconds to wait at the most.", show_default="no limit")
    ] = None,
    json: show.Json = False,
) -> None:
    """Ask the provider now: every future event of every partner, discovery included, or what the options name.

    Removed people are always asked for too. With --wait the exit code is 0 if all of it was written, 3 if part of it
    was, 1 if none.

    Example: hub sync --partner "Fast Timing" --wait
    """
    choice = Choice(partner, race, event, full, wait, timeout, json)
    raise typer.Exit(int(at_desk(lambda desk: _sync(desk, choice))))


async def _sync(desk: Desk, choice: Choice) -> Outcome:
    partners = await choose_partners(desk.database, choice.partner)
    if not partners:
        raise WrongUsage("there is no partner yet; add one with `hub partner add`")
    races = await _named_races(desk, partners, choice)
    awake = [each for each in partners if not each.is_disabled]
    if not awake:
        raise WrongUsage("every partner that this names is disabled; first: hub partner enable NAME|ID")
    await require_services(desk)
    began = desk.clock.now()
    jobs = [Job(each) for each in awake]
    if races is None:
        for job in jobs:
            job.unusable = [key for key in job.partner.keys if not key.is_usable and key.state != "disabled"]
            await ask_lists(desk, job)
    if not choice.wait or races is not None:
        for job in jobs:
            await _ask_known(desk, job, races, choice)
    jobs = [job for job in jobs if races is None or job.races]
    if not jobs:
        raise WrongUsage("nothing of what this names is in use: its partner is disabled, or its events are over")
    before = None if races is None else await ahead(desk, [piece for job in jobs for piece in job.pieces])
    if not choice.wait:
        return _asked(jobs, choice, before)
    if before and not choice.json:
        show.say(f"{show.many(before, 'other request')} of race day to be taken before.")
    result = await _follow(desk, jobs, choice)
    _report(jobs, result, (desk.clock.now() - began).total_seconds(), choice)
    return result


async def _named_races(desk: Desk, partners: Sequence[Partner], choice: Choice) -> list[Race] | None:
    """The races that were named, None for all; raises WrongUsage when there is nothing to ask for."""
    if choice.race_id is None and choice.event_id is None:
        return None
    now = desk.clock.now()
    races = await choose_races(desk.database, partners, now, race_id=choice.race_id, event_id=choice.event_id)
    if not any(race.future_events for race in races):
        raise WrongUsage(f"race {races[0].race_id} has no future event; nothing was asked for")
    if choice.event_id is not None and not await _is_future(desk, choice.event_id, races):
        raise WrongUsage(f"event {number(choice.event_id)} is over; nothing was asked for")
    return races


async def _is_future(desk: Desk, event_id: str, races: Sequence[Race]) -> bool:
    found = await desk.database.fetchval(
        "SELECT EXISTS (SELECT 1 FROM events WHERE event_id = $1 AND timing_partner_id = ANY($2) AND missing_at IS NULL"
        " AND coalesce(last_moment_at, $3) >= $3::timestamptz - $4::interval)",
        event_id,
        [race.partner_id for race in races],
        desk.clock.now(),
        WANTED,
    )
    return bool(found)


async def _ask_known(desk: Desk, job: Job, races: Sequence[Race] | None, choice: Choice) -> None:
    """Ask for the partner's races: the named ones, or every one with a future event."""
    partner_id = job.partner.partner_id
    if races is None:
        known = await races_of(desk.database, [partner_id], desk.clock.now())
        mine = [race for race in known if race.future_events and race.state in {"active", "refused"}]
    else:
        mine = [race for race in races if race.partner_id == partner_id]
    await ask_races(desk, job, mine, full=choice.full, event_id=choice.event_id)


async def _follow(desk: Desk, jobs: Sequence[Job], choice: Choice) -> Outcome:
    """Wait until nothing more becomes of any job; a partner's races are asked for when its lists are there."""
    began = desk.clock.now()
    with teller(show.err() if choice.json else show.out()) as progress:
        while True:
            await refresh(desk, jobs)
            for job in jobs:
                if not job.has_asked_races and job.is_listed:
                    await _ask_known(desk, job, None, choice)
            now = desk.clock.now()
            progress.tell([job.tally(now) for job in jobs])
            if all(job.is_over for job in jobs):
                break
            if missing := await desk.silent():
                raise Later(f"{nobody_runs(missing)}; what was asked for goes on then")
            if choice.timeout is not None and (now - began).total_seconds() >= choice.timeout:
                break
            await desk.clock.sleep(LOOK_SECONDS)
    written = sum(piece.is_written for job in jobs for piece in (job.races or job.lists))
    failed = sum(job.failed for job in jobs) + sum(not job.has_asked_races for job in jobs)
    return outcome(written, failed)


async def refresh(desk: Desk, jobs: Sequence[Job]) -> None:
    """Look what became of every piece that is not over; one that turns out to be older than its ask is asked again."""
    pieces = {piece.run_id: piece for job in jobs for piece in job.pieces if not piece.is_over}
    for run_id, run in (await look(desk.database, list(pieces))).items():
        piece = pieces[run_id]
        if run.is_written and run.is_older_than(piece.asked_at):
            # It went on from pages fetched before the ask: only a run that began after it counts.
            again = await place(desk, replace(piece.wish, run_id=desk.new_id()))
            if again is not None:
                piece.run_id, piece.asked_at = again.run_id, again.asked_at
                continue
        piece.run = run


def _asked(jobs: Sequence[Job], choice: Choice, before: int | None) -> Outcome:
    races, lists = sum(len(job.races) for job in jobs), sum(len(job.lists) for job in jobs)
    refused = sum(len(job.unusable) for job in jobs)
    if choice.json:
        runs = [{"run_id": piece.run_id, "race_id": piece.wish.race_id} for job in jobs for piece in job.pieces]
        counts = {"races": races, "discoveries": lists, "refused_keys": refused, "ahead": before}
        show.document({"outcome": "asked", **counts, "runs": runs})
    else:
        looks = f" and {show.many(lists, 'look')} for new ones" if lists else ""
        line = ""
        if before is not None:
            line = f", behind {show.many(before, 'other')} of race day" if before else ", next in line"
        show.say(f"Asked for {show.many(races, 'race')}{looks}{line}; hub history shows what becomes of it.")
        _tell_unusable(jobs)
    return outcome(races + lists, refused)


def _report(jobs: Sequence[Job], result: Outcome, seconds: float, choice: Choice) -> None:
    failures = [(job, piece) for job in jobs for piece in job.pieces if not piece.is_written]
    if choice.json:
        show.document({
            "outcome": {Outcome.ALL: "done", Outcome.NONE: "failed", Outcome.PART: "partly done"}[result],
            "seconds": round(seconds, 1),
            "partners": [_described(job) for job in jobs],
            "failures": [
                {
                    "partner_id": job.partner.partner_id,
                    "kind": piece.wish.kind,
                    "race_id": piece.wish.race_id,
                    "run_id": piece.run.run_id if piece.run else piece.run_id,
                    "state": piece.run.state if piece.run else None,
                    "code": piece.run.error_code if piece.run else None,
                    "reason": reason(piece.run),
                }
                for job, piece in failures
            ],
        })  # fmt: skip
        return
    rows = []
    for job in jobs:
        counts = job.counts()
        written = sum(piece.is_written for piece in job.races)
        done = f"{written} of {len(job.races)}"
        names = ("people", "added", "updated", "removed", "calls")
        rows.append((job.partner.partner_id, job.partner.name, done, *(counts[name] for name in names)))
    columns = (">id", "*partner", ">races", ">people", ">added", ">updated", ">removed", ">calls")
    show.table(None, columns, rows)
    for job, piece in failures[:TOLD]:
        what = f"race {piece.wish.race_id}" if piece.wish.race_id else "the list of races"
        show.say(f"Not written: {what} of partner {job.partner.partner_id}: {reason(piece.run)}.")
    if len(failures) > TOLD:
        show.say(f"... and {len(failures) - TOLD} more; see: hub history --failed")
    _tell_unusable(jobs)
    words = {
        Outcome.ALL: "All of it was written",
        Outcome.NONE: "Nothing was written",
        Outcome.PART: "Part was written",
    }
    show.say(f"{words[result]} ({seconds:.0f} s).")


def _tell_unusable(jobs: Sequence[Job]) -> None:
    for job in jobs:
        for key in job.unusable:
            show.say(
                f"Not asked: credential {key.credential_id} of partner {job.partner.partner_id} is {key.state}"
                f" ({key.why or 'no service has seen it'}); see: hub partner verify {job.partner.partner_id}"
            )


def _described(job: Job) -> dict[str, object]:
    return {
        "partner_id": job.partner.partner_id,
        "partner": job.partner.name,
        "races": len(job.races),
        "written": sum(piece.is_written for piece in job.races),
        "discovered": all(piece.is_written for piece in job.lists) and not job.unusable if job.lists else None,
        **job.counts(),
    }
