"""What the tables say of a partner's history: what is here, what lacks, and what the rest takes."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.ops.backfill_forecast import USUAL_CALL, USUAL_CROWD, KeyLoad, Limits, calls_of_race, duration
from shared.ops.selecting import Partner
from shared.ops.status_rows import budgets
from shared.postgres import Database
from shared.postgres.backfills import MISSING

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Account:
    """A partner's history, and its newest backfill."""

    partner: Partner
    state: str | None  # of the backfill; None: there is none
    is_listed: bool
    ended_at: datetime | None
    races: int
    unlisted: int  # of them, whose events of all years are not known
    events: int  # that are over
    loaded: int  # of them
    people_expected: int
    loads: Mapping[str, KeyLoad]  # what is left, by key
    people_an_hour: int
    calls_an_hour: int
    under_way: int  # runs
    waits_until: datetime | None  # when none of them goes on before
    failures: Sequence[Any]  # rows of runs

    @property
    def calls(self) -> int:
        """Calls that are left."""
        return sum(each.calls for each in self.loads.values())

    @property
    def is_open(self) -> bool:
        """Something is still to become of it."""
        return self.state in {"planned", "running", "paused"}


@dataclass(frozen=True, slots=True)
class World:
    """What an estimate stands on."""

    now: datetime
    limits: Limits
    crowd: float  # people of an event
    seconds_a_call: float
    keys: Mapping[str, Any]  # budgets by fingerprint

    def takes(self, accounts: Sequence[Account]) -> timedelta:
        """How long all that is left of them takes, side by side: two partners may share a key."""
        calls: dict[str, int] = defaultdict(int)
        loads: dict[str, KeyLoad] = {}
        for fingerprint, load in (item for each in accounts for item in each.loads.items()):
            calls[fingerprint] += load.calls
            loads[fingerprint] = KeyLoad(calls[fingerprint], load.an_hour, load.counting)
        return duration(loads.values(), self.seconds_a_call, self.limits.calls_in_flight)


async def survey(database: Database, now: datetime, limits: Limits, known: World | None = None) -> World:
    """Read what an estimate stands on: crowds as they were (or as is ``known``: counting them takes a while), and calls
    as they are."""
    crowd = (
        known.crowd
        if known is not None
        else await database.fetchval(
            "SELECT count(*)::float / nullif(count(DISTINCT (timing_partner_id, event_id)), 0) FROM participants"
            " WHERE removed_at IS NULL"
        )
    )
    seconds = await database.fetchval(
        "SELECT extract(epoch FROM avg(finished_at - reserved_at))::float FROM calls"
        " WHERE outcome = 'ok' AND reserved_at > $1::timestamptz - interval '1 hour'",
        now,
    )
    keys = {each["fingerprint"]: each for each in await budgets(database, now)}
    return World(now, limits, crowd or USUAL_CROWD, seconds or USUAL_CALL, keys)


async def account(database: Database, partner: Partner, world: World) -> Account:
    """A partner's account, at the world's instant."""
    now, tail = world.now, timedelta(hours=world.limits.after_start_hours)
    plan = await database.fetchrow(
        "SELECT * FROM backfills WHERE timing_partner_id = $1 ORDER BY backfill_id DESC LIMIT 1", partner.partner_id
    )
    events = await database.fetchrow(
        """
        SELECT count(*) AS over, count(cursor_at) AS loaded FROM events WHERE timing_partner_id = $1
          AND missing_at IS NULL AND coalesce(last_moment_at, $2) <= $2::timestamptz - $3::interval
        """,
        partner.partner_id,
        now,
        tail,
    )
    races = await database.fetch(
        f"""
        WITH missing AS ({MISSING.format(partner="$1", now="$2", tail="$3")})
        SELECT s.race_id, s.provider_id, c.fingerprint, s.history_at IS NULL AS is_unlisted, count(m.event_id) AS events
        FROM race_sync s JOIN credentials c USING (credential_id)
        LEFT JOIN missing m USING (provider_id, timing_partner_id, race_id)
        WHERE s.timing_partner_id = $1 GROUP BY s.race_id, s.provider_id, c.fingerprint, s.history_at
        """,  # noqa: S608
        partner.partner_id,
        now,
        tail,
    )
    since = plan["created_at"] if plan else now
    runs = await database.fetch(
        "SELECT * FROM sync_runs WHERE timing_partner_id = $1 AND reason = 'backfill' AND requested_at >= $2"
        " ORDER BY requested_at",
        partner.partner_id,
        since,
    )
    calls = await database.fetchval(
        "SELECT count(*) FROM calls c JOIN sync_runs r USING (run_id) WHERE r.reason = 'backfill'"
        " AND r.timing_partner_id = $1 AND c.reserved_at > $2",
        partner.partner_id,
        now - HOUR,
    )
    assert events is not None
    lacking = sum(race["events"] for race in races)
    under_way = [run for run in runs if run["state"] in {"queued", "requested", "running", "fetched"}]
    waits = [run["not_before"] for run in under_way if run["not_before"] is not None and run["not_before"] > now]
    return Account(
        partner=partner,
        state=plan["state"] if plan else None,
        is_listed=plan is not None and plan["listed_at"] is not None,
        ended_at=plan["ended_at"] if plan else None,
        races=len(races),
        unlisted=sum(race["is_unlisted"] for race in races),
        events=events["over"],
        loaded=events["loaded"],
        people_expected=round(lacking * world.crowd),
        loads=_loads(races, world),
        people_an_hour=sum(run["fetched"] for run in runs if _people_since(run, now - HOUR)),
        calls_an_hour=calls,
        under_way=len(under_way),
        waits_until=min(waits) if under_way and len(waits) == len(under_way) else None,
        failures=_failures(runs),
    )


def _loads(races: Sequence[Any], world: World) -> dict[str, KeyLoad]:
    calls: dict[str, int] = defaultdict(int)
    for race in races:
        calls[race["fingerprint"]] += race["is_unlisted"] + (
            calls_of_race(race["events"], world.crowd, world.limits.page_size) if race["events"] else 0
        )
    return {
        fingerprint: KeyLoad(
            count, world.limits.an_hour(world.keys[fingerprint]["calls_per_hour"]), world.keys[fingerprint]["calls"]
        )
        for fingerprint, count in calls.items()
    }


def _people_since(run: Any, moment: datetime) -> bool:
    return run["kind"] == "race" and (run["finished_at"] is None or run["finished_at"] > moment)


def _failures(runs: Sequence[Any]) -> list[Any]:
    """The newest run about each thing, where that one failed."""
    newest = {run["subject"]: run for run in runs}
    return [run for run in newest.values() if run["state"] in {"failed", "expired"}]
