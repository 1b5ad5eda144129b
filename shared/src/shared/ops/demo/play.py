"""The demo, act by act: onboarding, first load, a race morning in a minute, the comparison."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from shared.domain.run import Kind, Mode, Reason, SyncClass
from shared.ops.demo.comparing import Comparison, compare
from shared.ops.demo.provider import Partner, PretendProvider
from shared.ops.demo.screen import Loaded, Screen
from shared.postgres.asks import Ask, ask
from shared.postgres.credentials import seal_new
from shared.runtime import House

#: What the summary must show for the demo to have succeeded.
LEAST_PEOPLE = 50_000
MORNING_SECONDS = 60.0
#: What happens on the pretend race morning, and how often of one another.
MORNING = {
    "bib_given": 10,
    "bib_changed": 3,
    "bib_swapped": 2,
    "bib_cleared": 1,
    "registered": 3,
    "edited": 3,
    "refunded": 1,
    "transferred": 1,
}
CERTAIN = ("bib_swapped", "transferred", "refunded", "start_moved")
SETTLE_SECONDS = 60.0


@dataclass(slots=True)
class Demo:
    """The running demo."""

    house: House
    provider: PretendProvider
    screen: Screen
    partners: list[Partner] = field(default_factory=list)
    ids: dict[str, int] = field(default_factory=dict)  # key: timing partner
    exit_code: int = 1
    is_over: bool = False

    async def play(self) -> None:
        """All acts; ``exit_code`` is 0 only if everybody is identical, enough were compared, no hour over budget."""
        await self.onboard()
        await self.load()
        await self.race_morning()
        await self.settle()
        await self.report()

    async def onboard(self) -> None:
        """Enter thirteen partners the way an operator does."""
        self.partners = await self.provider.partners()
        async with self.house.database.transaction("onboarding") as connection:
            for each in self.partners:
                partner_id = await connection.fetchval(
                    "INSERT INTO public.timing_partners (company_name) VALUES ($1) RETURNING timing_partner_id",
                    each.name,
                )
                await connection.execute(
                    "INSERT INTO public.partner_provider_credentials"
                    " (timing_partner_id, provider_id, principal, secret, credential_type) VALUES ($1, 2, $2, $3, $4)",
                    partner_id,
                    each.key,
                    each.secret,
                    each.form,
                )
                self.ids[each.key] = partner_id
            await seal_new(connection, self.house.sealer(), self.house.clock.now())
        self.screen.say(f"Onboarded {len(self.partners)} timing partners; their keys are sealed.")

    async def load(self) -> None:
        """Watch the first load until every race is loaded."""
        began = self.house.clock.now()
        with self.screen.loading([each.name for each in self.partners]) as bars:
            while True:
                loaded = await self.loaded()
                people = sum(each.people for each in loaded)
                seconds = max(0.001, (self.house.clock.now() - began).total_seconds())
                bars.show(loaded, people / seconds)
                if all(each.races_known == each.races_loaded for each in loaded) and await self.all_discovered():
                    break
                await asyncio.sleep(0.2)
        events = await self.house.database.fetchval(
            "SELECT count(*) FROM events WHERE missing_at IS NULL AND coalesce(greatest(ends_at, starts_at)) > $1",
            self.house.clock.now(),
        )
        self.screen.say(
            f"Loaded {people:,} people of {events} future events in {seconds:.1f} s: {people / seconds:,.0f} a second."
        )

    async def loaded(self) -> list[Loaded]:
        """How far each partner has come."""
        rows = await self.house.database.fetch(
            """
            SELECT t.timing_partner_id, t.company_name,
                (SELECT count(*) FROM race_sync s WHERE s.timing_partner_id = t.timing_partner_id AND state = 'active')
                    AS known,
                (SELECT count(*) FROM race_sync s WHERE s.timing_partner_id = t.timing_partner_id AND state = 'active'
                    AND last_full_at IS NOT NULL) AS done,
                (SELECT coalesce(sum(r.added), 0) FROM sync_runs r WHERE r.timing_partner_id = t.timing_partner_id)::int
                    AS people
            FROM public.timing_partners t ORDER BY t.timing_partner_id
            """
        )
        return [Loaded(row["company_name"], row["known"], row["done"], row["people"]) for row in rows]

    async def all_discovered(self) -> bool:
        """Every key's list of races was read."""
        blind = await self.house.database.fetchval("SELECT count(*) FROM credentials WHERE last_discovered_at IS NULL")
        return not blind

    async def race_morning(self) -> None:
        """One minute in which a race morning happens, with the bib events as they are noticed."""
        races = await self.house.database.fetch(
            """
            SELECT DISTINCT race_id FROM events WHERE missing_at IS NULL AND starts_at > $1
                AND starts_at < $1::timestamptz + interval '4 hours'
            """,
            self.house.clock.now(),
        )
        race_ids = [int(row["race_id"]) for row in races]
        self.screen.say(f"\nA race morning in a minute: {len(race_ids)} races start within four hours.")
        last = await self.house.database.fetchval("SELECT coalesce(max(bib_event_id), 0) FROM bib_history")
        await self.provider.post("/pace", per_second=6, kinds=MORNING, race_ids=race_ids)
        began = self.house.clock.now()
        for kind in CERTAIN:
            await self.provider.post("/mutate", kind=kind, race_id=race_ids[0], count=1)
        shown = 0
        while (self.house.clock.now() - began).total_seconds() < MORNING_SECONDS:
            await asyncio.sleep(0.5)
            for row in await self.house.database.fetch(
                "SELECT * FROM bib_history WHERE bib_event_id > $1 AND reason <> 'first' ORDER BY bib_event_id", last
            ):
                last = row["bib_event_id"]
                shown += 1
                other = f" with {row['other_registration_id']}" if row["other_registration_id"] else ""
                age = (row["detected_at"] - (row["provider_modified_at"] or row["detected_at"])).total_seconds()
                self.screen.say(
                    f"  race {row['race_id']}  {row['kind']:<9} {row['before'] or '-':>6} → {row['after'] or '-':<6}"
                    f" runner {row['registration_id']}{other}, {age:.0f} s old"
                )
        await self.provider.post("/pace", per_second=0)
        self.screen.say(f"The morning is over: {shown} bib events.")

    async def settle(self) -> None:
        """Ask for every race once more, as `hub sync` does, and wait for the end of it."""
        now = self.house.clock.now()
        async with self.house.database.transaction("asking for all races") as connection:
            for row in await connection.fetch(
                "SELECT * FROM race_sync WHERE state = 'active' ORDER BY timing_partner_id, race_id"
            ):
                wish = Ask(
                    run_id=self.house.new_id(),
                    kind=Kind.RACE,
                    provider="runsignup",
                    provider_id=row["provider_id"],
                    timing_partner_id=row["timing_partner_id"],
                    credential_id=row["credential_id"],
                    source="hub",
                    reason=Reason.OPERATOR,
                    sync_class=SyncClass.RACEDAY,
                    mode=Mode.INCREMENTAL,
                    removals=True,
                    race_id=row["race_id"],
                    needs_fresh=True,
                )
                await ask(connection, wish, now)
        deadline = SETTLE_SECONDS
        while deadline > 0 and await self.operators_open(now):
            await asyncio.sleep(0.2)
            deadline -= 0.2

    async def operators_open(self, since: datetime) -> int:
        """How many of the operator's runs have not come back."""
        count: int = await self.house.database.fetchval(
            "SELECT count(*) FROM sync_runs WHERE requested_at >= $1"
            " AND state IN ('queued', 'requested', 'running', 'fetched') AND reason = 'operator'",
            since,
        )
        return count

    async def report(self) -> None:
        """Compare everybody, show what it cost, and decide the exit code."""
        found = Comparison()
        await compare(self.house.database, self.provider, self.ids, found)
        audit = await self.provider.get("/audit")
        await self._costs(audit)
        changes = await self.house.database.fetch("SELECT kind, count(*) FROM changes GROUP BY 1 ORDER BY 2 DESC")
        self.screen.counts("Changes", {row["kind"]: row["count"] for row in changes})
        bibs = await self.house.database.fetch("SELECT kind, count(*) FROM bib_history GROUP BY 1 ORDER BY 2 DESC")
        self.screen.counts("Bib events", {row["kind"]: row["count"] for row in bibs})
        await self._freshness()
        over = audit["quota_violations"]
        if found.missing or found.surplus or found.different:
            self.screen.say(
                f"{len(found.missing)} missing, {len(found.surplus)} too many, {len(found.different)} different"
                f" (first: {', '.join([*found.missing, *found.surplus, *found.different][:5])};"
                f" fields: {dict(Counter(name for each in found.different.values() for name in each))})",
                "red",
            )
        if over:
            self.screen.say(f"{over} calls were over a key's hourly budget", "red")
        self.screen.say(f"\n{found.identical:,} of {found.compared:,} participants identical to the provider", "bold")
        good = found.is_clean and found.compared >= LEAST_PEOPLE and not over
        self.exit_code = 0 if good else 1
        self.is_over = True

    async def _costs(self, audit: dict[str, object]) -> None:
        """Calls spent against the fewest that the API allows for what was asked."""
        rows = await self.house.database.fetch(
            """
            SELECT timing_partner_id, sum(
                CASE kind WHEN 'discover' THEN 1 + (reason = 'first')::int
                ELSE CASE mode WHEN 'full' THEN ceil(fetched / 2500.0) + 1
                    + (progress->'end'->'bib_ranges' <> '{}')::int
                    ELSE greatest(1, ceil(fetched / 2500.0)) + removals::int END END)::int AS fewest
            FROM sync_runs WHERE state = 'completed' GROUP BY 1
            """
        )
        fewest = {row["timing_partner_id"]: row["fewest"] for row in rows}
        credentials: dict[str, dict[str, int]] = audit["credentials"]  # type: ignore[assignment]  # a JSON document
        lines, spent_all, fewest_all = [], 0, 0
        for each in self.partners:
            spent = credentials.get(each.key, {}).get("calls", 0)
            least = fewest.get(self.ids[each.key], 0)
            lines.append(
                (each.name, f"{spent}", f"{least}", f"{credentials.get(each.key, {}).get('max_in_any_hour', 0)}")
            )
            spent_all, fewest_all = spent_all + spent, fewest_all + least
        lines.append(("all", f"{spent_all}", f"{fewest_all}", ""))
        self.screen.table("\nCalls", ("partner", "spent", "fewest", "most in an hour"), lines)
        if spent_all > fewest_all:
            self.screen.say(
                "More than the fewest: a list whose people fill whole pages has its end asked for twice, and a call"
                " that failed is made again."
            )

    async def _freshness(self) -> None:
        now = self.house.clock.now()
        row = await self.house.database.fetchrow(
            "SELECT max($1 - last_confirmed_at) AS worst, percentile_cont(0.5) WITHIN GROUP"
            " (ORDER BY $1 - last_confirmed_at) AS median FROM race_sync WHERE state = 'active'",
            now,
        )
        assert row is not None
        self.screen.say(
            f"Freshness: every race confirmed within {row['worst'].total_seconds():.0f} s,"
            f" half of them within {row['median'].total_seconds():.0f} s."
        )
