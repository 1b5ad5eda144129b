"""`hub replay`: former runs from the provider, records from the archive at no call; and every replay that there is."""

from typing import Annotated
from uuid import UUID

import typer

from shared.ops import show
from shared.ops.desk import Desk, at_desk
from shared.ops.failing import WrongUsage
from shared.ops.moments import instant
from shared.ops.replaying import begin, described, follow
from shared.ops.selecting import choose_partners
from shared.ops.stuck import Partner, Race, Rate, Wait
from shared.postgres.replays import RATE, Archived, cancel, freeze_records, freeze_runs, newest

Runs = Annotated[
    list[str] | None, typer.Option("--run", metavar="ID", help="Only of this run; may be repeated.", show_default=False)
]
Since = Annotated[
    str | None, typer.Option(metavar="WHEN", help="Only since then: 2h, 3d, an instant.", show_default=False)
]
ReplayId = Annotated[str, typer.Argument(metavar="ID", help="Or its beginning.")]


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    group = typer.Typer(
        help="Do it again, safely: from the archive at no call, or from the provider.", no_args_is_help=True
    )
    for name, command in (("records", records), ("runs", runs), ("list", list_), ("watch", watch), ("cancel", stop)):
        group.command(name)(command)
    app.add_typer(group, name="replay")


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise WrongUsage("an id looks like 0b8f1c52-6a0e-4f0e-9a55-3c1f6f9e7a01") from None


async def _replay(desk: Desk, text: str) -> UUID:
    """The replay whose id begins so; raises WrongUsage when it is not one."""
    found = await desk.database.fetch(
        "SELECT replay_id FROM replays WHERE starts_with(replay_id::text, lower($1)) LIMIT 2", text.strip()
    )
    if len(found) != 1:
        raise WrongUsage(f"{'several replays begin' if found else 'no replay begins'} so; see: hub replay list")
    return UUID(str(found[0]["replay_id"]))


async def _chosen(
    desk: Desk, run: list[str] | None, partner: str | None, race: str | None, since: str | None, *, failed: bool = False
) -> Archived:
    partner_id = (await choose_partners(desk.database, partner))[0].partner_id if partner is not None else None
    after = instant(since, desk.clock.now())
    return Archived(tuple(map(_id, run or ())), partner_id, race, after, failed)


def records(
    run: Runs = None,
    partner: Partner = None,
    race: Race = None,
    since: Since = None,
    every: Annotated[bool, typer.Option("--all", help="The whole archive.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    rate: Rate = RATE,
    wait: Wait = True,
    json: show.Json = False,
) -> None:
    """Apply archived records again, at no call, as of when they were fetched: after a change of the mapping.

    What is newer is never overwritten; a row of the same version is written anew where the mapping makes it another.
    The batches are frozen first; the fresh goes before them.

    Example: hub replay records --race 81134 --dry-run
    """

    async def work(desk: Desk) -> int:
        chosen = await _chosen(desk, run, partner, race, since)
        if chosen == Archived() and not every:
            raise WrongUsage("say which: --run, --partner, --race, --since, or --all")
        now = desk.clock.now()
        return await begin(
            desk,
            lambda connection, replay_id: freeze_records(
                connection, chosen, replay_id=replay_id, now=now, rate=rate, dry_run=dry_run
            ),
            nothing="the archive holds nothing of this; `hub replay runs` asks the provider instead",
            wait=wait,
            json=json,
        )

    raise typer.Exit(int(at_desk(work)))


def runs(
    run: Runs = None,
    partner: Partner = None,
    race: Race = None,
    since: Since = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only runs that failed or expired.")] = False,
    rate: Rate = RATE,
    wait: Wait = True,
    json: show.Json = False,
) -> None:
    """Ask the provider again for what former runs asked for: each race once, behind all that is due. It costs calls.

    Runs of a key that was deleted or disabled since are left out: there is nothing to ask with.

    Example: hub replay runs --failed --since 2h
    """

    async def work(desk: Desk) -> int:
        chosen = await _chosen(desk, run, partner, race, since, failed=failed)
        if chosen == Archived():
            raise WrongUsage("say which: --run, --partner, --race, --since or --failed")
        now = desk.clock.now()
        return await begin(
            desk,
            lambda connection, replay_id: freeze_runs(connection, chosen, replay_id=replay_id, now=now, rate=rate),
            nothing="no run of a key that is in use fits; see: hub history",
            wait=wait,
            json=json,
        )

    raise typer.Exit(int(at_desk(work)))


def list_(limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 20, json: show.Json = False) -> None:
    """Show the newest replays of every kind, and how far each is.

    Example: hub replay list
    """
    rows = at_desk(lambda desk: newest(desk.database, limit))
    if json:
        show.document({"replays": [described(row) for row in rows]})
    elif not rows:
        show.say("No replay yet.")
    else:
        show.table(
            None,
            ("asked (UTC)", "what", "state", ">items", ">done", ">bad", "id"),
            [
                (
                    f"{row['asked_at']:%m-%d %H:%M}",
                    f"{row['what']}{' (dry)' if row['dry_run'] else ''}",
                    row["state"],
                    row["items"],
                    row["done"],
                    row["failed"] + row["again"] or "",
                    str(row["replay_id"])[:8],
                )
                for row in rows
            ],
        )


def watch(replay_id: ReplayId, json: show.Json = False) -> None:
    """Show the progress of a replay until it is over.

    Example: hub replay watch 0b8f1c52
    """

    async def work(desk: Desk) -> int:
        return await follow(desk, await _replay(desk, replay_id), json=json)

    raise typer.Exit(int(at_desk(work)))


def stop(replay_id: ReplayId, json: show.Json = False) -> None:
    """Let a replay send nothing more; what is on its way is finished, the rest stays as it was.

    Example: hub replay cancel 0b8f1c52
    """

    async def work(desk: Desk) -> UUID:
        found = await _replay(desk, replay_id)
        async with desk.database.transaction("cancelling a replay") as connection:
            if not await cancel(connection, found):
                raise WrongUsage("this replay is over; see: hub replay list")
        return found

    found = at_desk(work)
    if json:
        show.document({"replay_id": found, "state": "cancelled"})
    else:
        show.say("Cancelled: nothing more is sent.")
