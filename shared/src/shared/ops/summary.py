"""`hub summary`: the last day in numbers, for a person, a program, or a file."""

from pathlib import Path
from typing import Annotated, Any

import typer

from shared.ops import show
from shared.ops.desk import Desk, at_desk
from shared.ops.failing import WrongUsage
from shared.postgres.summary import summarise, write


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("summary")(summary)


def summary(
    hours: Annotated[float, typer.Option(min=0.1, help="So far back.")] = 24.0,
    file: Annotated[
        Path | None, typer.Option(help="Write it there as JSON, in the place of the former one.", show_default=False)
    ] = None,
    json: show.Json = False,
) -> None:
    """Summarise the last day: what is stored, what was synced, what failed and was not made good since.

    With HUB_SUMMARY_FILE set the scheduler writes the same file each hour.

    Example: hub summary --json | jq .failed_syncs
    """

    async def work(desk: Desk) -> dict[str, Any]:
        async with desk.database.connection("summarising") as connection:
            return await summarise(connection, desk.clock.now(), hours)

    found = at_desk(work)
    if file is not None:
        try:
            write(file, found)
        except OSError as error:
            raise WrongUsage(f"the file cannot be written ({type(error).__name__}); say another with --file") from None
    if json:
        show.document(found)
    elif file is None:
        _tell(found)


def _tell(found: dict[str, Any]) -> None:
    rows = [
        (
            each["timing_partner_id"],
            each["name"],
            each["races"],
            each["events"],
            each["participants"],
            len(each["errors"]) or "",
        )
        for each in found["detailed_results"]
    ]
    show.table(None, (">id", "*partner", ">races", ">events", ">people", ">failed"), rows)
    runs, changed = found["runs"], found["rows"]
    show.say(
        f"Last {found['hours']:g} h: {show.many(runs['completed'], 'run')} completed, {runs['failed']:,} failed, "
        f"{runs['expired']:,} expired; {found['calls']:,} calls; {changed['added']:,} people added, "
        f"{changed['updated']:,} updated, {changed['removed']:,} removed."
    )
    for each in found["failed_syncs"]:
        for error in each["errors"]:
            show.say(f"Not made good: {error} (partner {each['timing_partner_id']}, {show.clean(each['name'])}).")
