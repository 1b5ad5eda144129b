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
    console = show.out()
    for each in findings:
        style = show.STYLES[each.verdict]
        console.print(f"{each.verdict:<8}", style=style, end="")
        console.print(f"{each.name:<16} {show.clean(each.detail)}", soft_wrap=True)
        if each.remedy:
            console.print(f"{'':<24} → {each.remedy}", soft_wrap=True)
