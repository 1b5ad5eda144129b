"""`hub check`: the truths that must hold at any time, looked at now."""

import typer

from shared.ops import show
from shared.ops.desk import Desk, at_desk
from shared.postgres.truths import Checked, check
from shared.postgres.truths.every import TRUTHS


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check")(checking)


def checking(json: show.Json = False) -> None:
    """Check now what the scheduler checks every five minutes: promises, cursors, runs, outbox, feed, people, secrets.

    Costs no API call. Exit code 1 if anything is broken.

    Example: hub check
    """

    async def work(desk: Desk) -> list[Checked]:
        async with desk.database.transaction("checking") as connection:
            return await check(connection, TRUTHS, desk.clock.now())

    found = at_desk(work)
    if json:
        show.document({
            "healthy": not any(each.broken for each in found),
            "checks": [
                {"name": each.name, "broken": each.broken, "examples": each.examples, "means": each.means}
                for each in found
            ],
        })  # fmt: skip
    else:
        for each in found:
            show.say(f"{'ok' if not each.broken else 'BROKEN':<8}{each.name}")
            if each.broken:
                show.say(f"{'':<8}{told(each)}", 8)
    raise typer.Exit(1 if any(each.broken for each in found) else 0)


def told(found: Checked) -> str:
    """A broken truth in a sentence: what it means, how many, which."""
    more = "" if found.broken <= len(found.examples) else f" and {found.broken - len(found.examples):,} more"
    return f"{found.means} ({', '.join(found.examples)}{more})"
