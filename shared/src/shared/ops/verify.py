"""`hub verify`: is what is stored what the provider has? Says what it costs before it spends."""

import random
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from shared.errors import Later
from shared.ops import show
from shared.ops.desk import Desk, at_desk, nobody_runs, require_services
from shared.ops.failing import WrongUsage
from shared.ops.following import LOOK_SECONDS, reason
from shared.ops.progress import teller
from shared.ops.selecting import Partner, Race, choose_partners, choose_races
from shared.ops.syncing import refresh
from shared.ops.verifying import Verified, examine
from shared.ops.wanting import Job, ask_races
from shared.providers.registry import by_id

#: People who differ are told one by one, up to so many.
TOLD = 20


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be compared, and how it is said."""

    partner: str | None
    race_id: str | None
    sample: int | None
    yes: bool
    json: bool


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify")(verify)


def verify(
    partner: Annotated[
        str | None, typer.Option(metavar="NAME|ID", help="Only this partner.", show_default=False)
    ] = None,
    race: Annotated[str | None, typer.Option(metavar="ID", help="Only this race.", show_default=False)] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="So many races of them, drawn by lot.", show_default=False)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Spend the calls without being asked.")] = False,
    json: show.Json = False,
) -> None:
    """Compare what is stored with the provider, field by field: everybody of every event that is still wanted.

    First each race catches up with its newest changes (a call or two), then everybody is fetched and compared; what
    changed at the provider meanwhile is news, and no difference. What differed is put right by that pass, or (rows
    altered by hand, people too many) by the next. Exit code 0 if all agree, 1 if somebody differs, 3 if a race could
    not be compared.

    Example: hub verify --sample 5
    """
    choice = Choice(partner, race, sample, yes, json)
    raise typer.Exit(at_desk(lambda desk: _verify(desk, choice)))


async def _verify(desk: Desk, choice: Choice) -> int:
    partners = await choose_partners(desk.database, choice.partner)
    awake = [each for each in partners if not each.is_disabled]
    races = [
        race
        for race in await choose_races(desk.database, awake, desk.clock.now(), race_id=choice.race_id)
        if race.future_events and race.state in {"active", "refused"}
    ]
    if not races:
        raise WrongUsage("there is no race with an event still wanted that this names; `hub sync` looks for new races")
    if choice.sample is not None and choice.sample < len(races):
        races = random.SystemRandom().sample(races, choice.sample)
    await require_services(desk)
    await _agree(desk, races, choice)
    began = desk.clock.now()
    await _pass(desk, awake, races, choice, full=False)
    jobs = await _pass(desk, awake, races, choice, full=True)
    verified = [
        await examine(desk, piece, began)
        if piece.is_written
        else Verified(piece.wish.timing_partner_id, piece.wish.race_id or "", failure=reason(piece.run))
        for job in jobs
        for piece in job.races
    ]
    calls = await desk.database.fetchval(
        "SELECT coalesce(sum(calls), 0) FROM sync_runs WHERE reason = 'operator' AND requested_at >= $1", began
    )
    return _report(verified, int(calls), choice)


async def _agree(desk: Desk, races: Sequence[Race], choice: Choice) -> None:
    """Say what it costs at the most, and have it agreed to."""
    people = await desk.database.fetch(
        "SELECT timing_partner_id, race_id, count(*) AS people FROM participants WHERE removed_at IS NULL"
        " AND race_id = ANY($1) GROUP BY 1, 2",
        list({race.race_id for race in races}),
    )
    stored = {(row["timing_partner_id"], row["race_id"]): row["people"] for row in people}
    # catching up: a page and the list of removed people; everybody: pages, the empty one, that list
    calls = sum(
        4 + -(-stored.get((race.partner_id, race.race_id), 0) // by_id(race.provider_id).capabilities.page_size)
        for race in races
    )
    total = sum(stored.get((race.partner_id, race.race_id), 0) for race in races)
    cost = (
        f"this compares {total:,} people of {show.many(len(races), 'race')} and costs about {show.many(calls, 'call')}"
    )
    if choice.yes:
        return
    if not sys.stdin.isatty() or choice.json:
        raise WrongUsage(f"{cost}; to spend them: hub verify --yes (or fewer with --race, --partner, --sample)")
    if not typer.confirm(f"{cost[:1].upper()}{cost[1:]}. Go on?", err=True):
        raise WrongUsage("nothing was spent; a part costs less: --race, --partner, --sample")


async def _pass(
    desk: Desk, partners: Sequence[Partner], races: Sequence[Race], choice: Choice, *, full: bool
) -> list[Job]:
    jobs = [Job(each) for each in partners if any(race.partner_id == each.partner_id for race in races)]
    for job in jobs:
        mine = [race for race in races if race.partner_id == job.partner.partner_id]
        await ask_races(desk, job, mine, full=full)
    with teller(show.err() if choice.json else show.out()) as progress:
        while True:
            await refresh(desk, jobs)
            progress.tell([job.tally(desk.clock.now()) for job in jobs])
            if all(job.is_over for job in jobs):
                return jobs
            if missing := await desk.silent():
                raise Later(f"{nobody_runs(missing)}; what was asked for goes on then")
            await desk.clock.sleep(LOOK_SECONDS)


def _report(verified: Sequence[Verified], calls: int, choice: Choice) -> int:
    different = sum(len(each.differences) for each in verified)
    failed = [each for each in verified if each.failure]
    code = 1 if different or len(failed) == len(verified) else 3 if failed else 0
    compared = sum(each.compared for each in verified)
    if choice.json:
        show.document({
            "outcome": {0: "identical", 1: "different" if different else "failed", 3: "partly compared"}[code],
            "compared": compared,
            "different": different,
            "news": sum(each.news for each in verified),
            "calls": calls,
            "races": [
                {
                    "partner_id": each.partner_id,
                    "race_id": each.race_id,
                    "compared": each.compared,
                    "news": each.news,
                    "unusable": each.unusable,
                    "failure": each.failure,
                    "differences": [
                        {"registration_id": who.registration_id, "kind": who.kind, "fields": who.fields}
                        for who in each.differences.values()
                    ],
                }
                for each in verified
            ],
        })  # fmt: skip
        return code
    rows = [
        (each.partner_id, each.race_id, each.compared, len(each.differences), _fields(each))
        for each in verified
        if each.differences
    ]
    if rows:
        show.table("Not as the provider has them", (">id", "race", ">compared", ">different", "*how"), rows)
    told = [(each, who) for each in verified for who in each.differences.values()]
    for each, who in told[:TOLD]:
        fields = f" ({', '.join(who.fields)})" if who.fields else ""
        show.say(f"Race {each.race_id}, registration {who.registration_id}: {who.kind}{fields}")
    if len(told) > TOLD:
        show.say(f"... and {len(told) - TOLD} more; all with --json")
    for race_id in dict.fromkeys(each.race_id for each, who in told if who.kind == "altered"):
        show.say(f"Rows altered here are replaced by a full pass: hub sync --race {race_id} --full")
    for each in failed:
        show.say(f"Not compared: race {each.race_id} of partner {each.partner_id}: {each.failure}.")
    alike = compared - sum(who.kind != "surplus" for _, who in told)
    show.say(f"{alike:,} of {compared:,} people identical to the provider; {show.many(calls, 'call')}.")
    return code


def _fields(verified: Verified) -> str:
    counts = Counter(
        name for who in verified.differences.values() for name in (who.fields or (who.kind,))
    ).most_common()
    return ", ".join(f"{name} {count}" for name, count in counts)
