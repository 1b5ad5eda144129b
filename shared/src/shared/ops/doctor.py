"""`hub doctor`: what everything stands on, each with a verdict and a remedy."""

import asyncio

import typer

from shared.ops import show
from shared.ops.checkup import Finding, Verdict, examine


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(json: show.Json = False) -> None:
    """Examine settings, database, schema, secret key, broker, services, clocks, provider, disk and versions.

    Costs no API call. Exit code 1 if anything is bad.

    Example: hub doctor
    """
    findings = asyncio.run(examine())
    bad = sum(each.verdict is Verdict.BAD for each in findings)
    if json:
        show.document({
            "healthy": not bad,
            "findings": [
                {"name": each.name, "verdict": each.verdict, "detail": each.detail, "remedy": each.remedy}
                for each in findings
            ],
        })  # fmt: skip
    else:
        _tell(findings)
    raise typer.Exit(1 if bad else 0)


def _tell(findings: list[Finding]) -> None:
    for each in findings:
        show.say(f"{each.verdict:<7} {each.name:<14} {show.clean(each.detail)}", 23, show.STYLES[each.verdict], 7)
        if each.remedy:
            show.say(f"{'':<23}→ {each.remedy}", 25)
