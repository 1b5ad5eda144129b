"""How a backfill is told: a plan, how far it is, what failed."""

from collections.abc import Sequence
from datetime import datetime

from shared.ops import show
from shared.ops.backfill_rows import Account, World
from shared.ops.progress import Tally

#: Failures told one by one, up to so many.
TOLD = 10
BAR = 6


def tally(each: Account, *, plan: bool, over: bool) -> Tally:
    """How far a partner is: its races listed for a plan, its past events loaded else."""
    listing = plan and each.unlisted > 0
    waits = f"waits until {each.waits_until:%H:%M} UTC" if each.waits_until else each.state or "none"
    return Tally(
        each.partner.partner_id,
        each.partner.name,
        each.races if plan else each.events,
        each.races - each.unlisted if plan else each.loaded,
        len(each.failures),
        each.people_an_hour,
        "done" if over else "listing" if listing else waits,
        "races" if plan else "past events",
        "listed" if plan else "loaded",
    )


def tell_plan(world: World, found: Sequence[Account], *, json: bool) -> None:
    """What it takes, partner by partner and all together."""
    total = world.takes(found)
    if json:
        show.document({
            "partners": [_described(world, each) for each in found],
            "calls": sum(each.calls for each in found),
            "hours": _hours(world, found),
            "done_at": world.now + total,
        })  # fmt: skip
        return
    rows = [
        (
            each.partner.partner_id,
            each.partner.name,
            each.races,
            each.events,
            each.loaded,
            each.people_expected,
            each.calls,
            f"{_hours(world, [each]):.1f}",
            show.stamp(world.now + world.takes([each]))[5:16] if each.calls else "",
        )
        for each in found
    ]
    columns = (">id", "*partner", ">races", ">past events", ">loaded", ">people", ">calls", ">hours", "done (UTC)")
    show.table(None, columns, rows)
    unlisted = sum(each.unlisted for each in found)
    if unlisted:
        show.say(f"{show.many(unlisted, 'race')} not listed yet: hub backfill plan asks for their past events.")
    if calls := sum(each.calls for each in found):
        show.say(
            f"All of it: about {calls:,} calls, {_hours(world, found):.1f} hours, over at"
            f" {show.stamp(world.now + total)} if started now. People are expected, not counted."
        )
    else:
        show.say("Nothing is left to load.")
    _tell_failures(found)


def tell_status(world: World, found: Sequence[Account], *, json: bool) -> None:
    """How far each is, and what failed."""
    if json:
        show.document({"partners": [_described(world, each) for each in found]})
        return
    mine = [each for each in found if each.state is not None]
    if not mine:
        show.say("There is no backfill; see what one takes with: hub backfill plan")
        return
    rows = [
        (
            each.partner.partner_id,
            each.partner.name,
            f"until {each.waits_until:%H:%M}" if each.waits_until and each.state == "running" else each.state,
            _bar(each),
            f"{each.loaded:,}/{each.events:,}",
            each.people_an_hour,
            each.calls,
            show.length(world.takes([each])) if each.state == "running" else "",
        )
        for each in mine
    ]
    columns = (">id", "*partner", "state", "share", ">events", ">people/h", ">calls left", ">takes")
    show.table(None, columns, rows)
    _tell_failures(mine)


def _bar(each: Account) -> str:
    share = each.loaded / each.events if each.events else 1.0
    full = int(share * BAR)
    return f"{'█' * full}{'░' * (BAR - full)} {int(share * 100)}%"


def _tell_failures(found: Sequence[Account]) -> None:
    for each in found:
        for key in each.partner.keys:
            if key.state == "refused":
                partner_id = each.partner.partner_id
                show.say(
                    f"Key {key.fingerprint} of partner {partner_id} is refused; then: hub partner verify {partner_id}"
                )
    failures = [(each.partner.partner_id, run) for each in found for run in each.failures]
    for partner_id, run in failures[:TOLD]:
        what = f"race {run['race_id']}" if run["race_id"] else f"the races of credential {run['credential_id']}"
        show.say(f"Failed: {what} of partner {partner_id}: {run['error'] or run['error_code']} (run {run['run_id']}).")
    if len(failures) > TOLD:
        show.say(f"... and {len(failures) - TOLD} more; see: hub history --failed")
    if failures:
        show.say("Once a backfill is over, hub backfill start asks for what failed again.")


def _done_at(world: World, each: Account) -> datetime | None:
    if each.ended_at is not None:
        return each.ended_at
    return world.now + world.takes([each]) if each.state == "running" else None


def _hours(world: World, found: Sequence[Account]) -> float:
    return round(world.takes(found).total_seconds() / 3600, 2)


def _described(world: World, each: Account) -> dict[str, object]:
    return {
        "partner_id": each.partner.partner_id,
        "partner": each.partner.name,
        "state": each.state,
        "races": each.races,
        "races_unlisted": each.unlisted,
        "events": each.events,
        "events_loaded": each.loaded,
        "people_expected": each.people_expected,
        "calls": each.calls,
        "hours": _hours(world, [each]),
        "people_an_hour": each.people_an_hour,
        "calls_an_hour": each.calls_an_hour,
        "runs_under_way": each.under_way,
        "waits_until": each.waits_until,
        "done_at": _done_at(world, each),
        "failures": [
            {
                "kind": run["kind"],
                "race_id": run["race_id"],
                "run_id": run["run_id"],
                "code": run["error_code"],
                "reason": run["error"],
            }
            for run in each.failures
        ],
    }
