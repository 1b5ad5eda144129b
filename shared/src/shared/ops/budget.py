"""`hub budget`: what each key spent, what the coming two weeks will cost, and which hours do not fit."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated

import typer
from pydantic import ValidationError

from shared.cadences import CadenceValues, PlanSettings
from shared.domain.budget import usable_limit
from shared.domain.forecast import Hour
from shared.ops import show
from shared.ops.budget_chart import days, sentence, spells, until
from shared.ops.desk import Desk, at_desk
from shared.ops.failing import WrongUsage
from shared.ops.selecting import Partner, choose_partners, number
from shared.postgres import Connection
from shared.postgres.forecasting import HOURS, KeyBudget, foresee, load_budgets, moved
from shared.providers.registry import by_id
from shared.settings import load


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("budget")(budget)


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Another world to look at."""

    limit: int | None
    settings: dict[str, str]
    moves: Sequence[tuple[str, str]]  # a race, and the key that would ask for it


def budget(
    partner: Annotated[
        str | None, typer.Option(metavar="NAME|ID", help="Only this partner's keys.", show_default=False)
    ] = None,
    what_if: Annotated[
        list[str] | None,
        typer.Option(
            "--what-if",
            metavar="NAME=VALUE",
            help="Another limit (limit=2000), another setting of the schedule (interval_raceday_seconds=30), or a race "
            "with another key (race:123=FINGERPRINT). May be given several times; nothing is changed.",
            show_default=False,
        ),
    ] = None,
    json: show.Json = False,
) -> None:
    """Show what each key has spent in the rolling hour, and what the next 14 days will cost it by the schedule.

    The reserve is left for operators: the forecast plans without it. In an hour that does not fit, every race-day race
    of the key is asked for at the same longer interval, and the others too where that is not enough; their promises
    say so beforehand. What nobody can foresee (follow-ups of bib changes, asks by hand, second tries) is not in the
    forecast; what of the rolling hour it took is.

    Example: hub budget --what-if limit=2000
    """
    wish = parse(what_if or [])

    async def work(desk: Desk) -> None:
        now = desk.clock.now()
        settings = _settings(wish)
        chosen = await choose_partners(desk.database, partner)
        async with desk.database.connection("reading budgets") as connection:
            keys = await load_budgets(connection, settings, now)
            spent = await _spent_on(connection, now)
        keys = _changed(keys, wish, chosen)
        mine = {each.partner_id for each in chosen}
        wanted = [key for key in keys if partner is None or mine & set(key.partners)]
        found = sorted(((key, foresee(key, settings, now)) for key in wanted), key=_pressing)
        if json:
            show.document(_document(found, spent, settings, what_if or [], now))
        else:
            _tell(found, spent, settings, chosen, now)

    at_desk(work)


def parse(words: Sequence[str]) -> WhatIf:
    """The worlds that were asked about; raises WrongUsage for what is none."""
    limit, settings, moves = None, {}, []
    for word in words:
        name, sign, value = word.partition("=")
        name, value = name.strip().lower(), value.strip()
        if not sign or not value:
            raise WrongUsage("--what-if needs NAME=VALUE, like limit=2000")
        if name == "limit":
            if not value.isascii() or not value.isdigit() or not 0 < int(value) <= 1_000_000:
                raise WrongUsage("--what-if limit= needs a number of calls an hour")
            limit = int(value)
        elif name.startswith("race:"):
            moves.append((number(name.removeprefix("race:")), value))
        elif name in PlanSettings.model_fields:
            settings[name] = value
        else:
            raise WrongUsage(
                f"--what-if knows limit, race:ID, and the schedule's settings: {', '.join(CadenceValues.model_fields)}"
            )
    return WhatIf(limit, settings, moves)


def _settings(wish: WhatIf) -> PlanSettings:
    settings = load(PlanSettings)
    try:
        return PlanSettings.model_validate({**settings.model_dump(), **wish.settings}) if wish.settings else settings
    except ValidationError as error:
        raise WrongUsage(f"--what-if {error.errors()[0]['loc'][0]}= cannot have this value") from None


def _changed(keys: list[KeyBudget], wish: WhatIf, chosen: Sequence[Partner]) -> list[KeyBudget]:
    for race_id, fingerprint in wish.moves:
        if fingerprint not in {key.fingerprint for key in keys}:
            raise WrongUsage("no key has this fingerprint; hub budget lists them")
        if not any(race.race_id == race_id for key in keys for race in key.races):
            raise WrongUsage(f"no race {race_id} is asked for; --what-if race: moves one that is")
        keys = moved(keys, race_id, fingerprint)
    if wish.limit is not None:
        mine = {each.partner_id for each in chosen}
        keys = [replace(key, limit=wish.limit) if mine & set(key.partners) else key for key in keys]
    return keys


Found = Sequence[tuple[KeyBudget, list[Hour]]]
Spent = Mapping[tuple[int, str], Mapping[str, int]]  # by key: what the calls that count now were for

#: What the forecast does not foresee, and how it is called.
UNFORESEEN = {
    "follow_up": "for follow-ups of bib changes",
    "by_hand": "asked for by hand",
    "backfill": "of a backfill",
    "failed": "that failed",
}


def _pressing(each: tuple[KeyBudget, list[Hour]]) -> tuple[int, float]:
    """What does not fit comes first, then the key with the fullest hour."""
    _, hours = each
    return -sum(not hour.fits for hour in hours), -max(hour.wanted / hour.usable for hour in hours)


async def _spent_on(connection: Connection, now: datetime) -> Spent:
    rows = await connection.fetch(
        """
        SELECT c.provider_id, c.fingerprint, CASE WHEN c.outcome <> 'ok' THEN 'failed'
            WHEN r.reason IN ('operator', 'injected') THEN 'by_hand'
            WHEN r.reason IN ('follow_up', 'backfill') THEN r.reason ELSE 'schedule' END AS what, count(*) AS calls
        FROM calls c LEFT JOIN sync_runs r USING (run_id) WHERE c.counts_until > $1 GROUP BY 1, 2, 3
        """,
        now,
    )
    spent: dict[tuple[int, str], dict[str, int]] = {}
    for row in rows:
        spent.setdefault((row["provider_id"], row["fingerprint"]), {})[row["what"]] = row["calls"]
    return spent


def unforeseen(spent: Iterable[Mapping[str, int]]) -> str | None:
    """What of some keys' calls no forecast had foreseen, in a sentence; None: nothing."""
    total = Counter[str]()
    for each in spent:
        total.update(each)
    parts = [f"{total[what]:,} {words}" for what, words in UNFORESEEN.items() if total[what]]
    if not parts:
        return None
    return f"Not in the forecast: of {show.many(total.total(), 'call')} spent, {', '.join(parts)}."


def _tell(found: Found, spent: Spent, settings: PlanSettings, partners: Sequence[Partner], now: datetime) -> None:
    if not found:
        show.say("There is no key yet; add one with `hub partner add`.")
        return
    names = {each.partner_id: each.name for each in partners}
    lines = []
    for key, hours in found:
        busiest = max(hours, key=lambda hour: hour.wanted)
        lines.append((
            key.fingerprint,
            ", ".join(names.get(each, str(each)) for each in key.partners),
            len(key.races),
            f"{key.counting}/{key.limit}",
            int(key.limit * settings.reserve_share),
            round(busiest.wanted),
            f"{busiest.begins_at:%a %m-%d %H:%M}",
            sum(not hour.fits for hour in hours),
        ))  # fmt: skip
    columns = ("key", "*partner", ">races", ">spent", ">reserve", ">peak", "at (UTC)", ">over")
    show.table(None, columns, lines)
    if sentence_ := unforeseen(spent.get((key.provider_id, key.fingerprint), {}) for key, _hours in found):
        show.say(f"\n{sentence_}")
    for key, _hours in found:
        if (ours := usable_limit(key.limit, key.others_calls, key.others_seen_at, now)) < key.limit:
            assert key.others_seen_at is not None
            show.say(
                f"\nKey {key.fingerprint}: somebody else uses it, about {key.others_calls:,} calls an hour, seen at "
                f"{key.others_seen_at:%H:%M}; usable now {ours:,} of {key.limit:,}, all of it again by "
                f"{until(key.others_seen_at)} UTC."
            )
    busiest_key = max(found, key=lambda each: max(hour.wanted for hour in each[1]))
    charted = [each for each in found if spells(each[1])] or [busiest_key]
    for key, hours in charted:
        show.say(f"\nKey {key.fingerprint}, calls wanted by the hour (UTC); ! does not fit")
        for line in days(hours):
            show.say(line)
        for spell in spells(hours):
            show.say(sentence(spell, settings.cadence()))


def _document(
    found: Found, spent: Spent, settings: PlanSettings, what_if: Sequence[str], now: datetime
) -> dict[str, object]:
    return {
        "at": now,
        "what_if": list(what_if),
        "hours": HOURS,
        "keys": [
            {
                "provider": by_id(key.provider_id).name,
                "fingerprint": key.fingerprint,
                "partner_ids": key.partners,
                "races": len(key.races),
                "calls_per_hour": key.limit,
                "spent": key.counting,
                "spent_on": spent.get((key.provider_id, key.fingerprint), {}),
                "reserve": int(key.limit * settings.reserve_share),
                "others": key.limit - usable_limit(key.limit, key.others_calls, key.others_seen_at, now),
                "others_seen_at": key.others_seen_at,
                "over": sum(not hour.fits for hour in hours),
                "forecast": [
                    {
                        "hour": hour.begins_at,
                        "calls": round(hour.wanted, 1),
                        "usable": hour.usable,
                        "raceday_races": hour.raceday_races,
                        "fits": hour.fits,
                        "interval_seconds": None if hour.interval is None else int(hour.interval.total_seconds()),
                        "slowdown": round(hour.slowdown, 2),
                    }
                    for hour in hours
                ],
            }
            for key, hours in found
        ],
    }
