"""A claimed run, page by page: the next question, its answer held to what was asked, its batches confirmed."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice

import structlog

from fetcher import store
from fetcher.calling import Answered, Caller, Postponed, Question
from fetcher.ledger import Wish
from fetcher.paging import Progress, Received, Stage, after_page
from fetcher.settings import FetcherSettings
from fetcher.telling import end_message, page_messages
from shared.contracts import SyncRequest
from shared.domain.bibs import BibRange
from shared.domain.participant import Unusable
from shared.domain.run import Kind, Mode, Reason
from shared.errors import Later
from shared.postgres import Connection
from shared.postgres.credentials import StoredCredential, judge_key
from shared.providers.port import OPENS_NOTHING, Answer, Call, Consequence, Page, Provider, ProviderFailure
from shared.runtime import House
from shared.telemetry import metrics

log = structlog.get_logger()

#: How far back a list of races is asked for, so that a race does not vanish the day after, as in the vendor's own app.
RACES_SINCE = timedelta(days=7)
#: And for a backfill: older than the platform.
RACES_EVER = date(2000, 1, 1)
#: A key that may read none of so many of its races opens nothing.
RACES_TRIED = 3


class LeaseLost(Exception):
    """The run is not ours any more: replaced, expired, or taken over."""


@dataclass(slots=True)
class Run:
    """One claimed run on its way."""

    house: House
    settings: FetcherSettings
    caller: Caller
    request: SyncRequest
    stored: StoredCredential
    claimed: store.Claim
    progress: Progress
    delivery_id: str

    @property
    def provider(self) -> Provider:
        return self.caller.provider

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.settings.lease_seconds)

    @property
    def wish(self) -> Wish:
        caller = self.house.settings.caller()
        return Wish(
            provider_id=self.provider.provider_id,
            fingerprint=self.stored.fingerprint,
            caller=f"{self.provider.name}:{caller[0].partition('.')[0] if caller else 'unregistered'}",
            sync_class=self.request.sync_class,
            reason=self.request.reason,
            run_id=self.request.run_id,
        )


async def fetch(run: Run) -> None:
    """Page by page until the pass is over, then say so."""
    house, request = run.house, run.request
    proves = request.kind is Kind.VERIFY or (request.kind is Kind.DISCOVER and run.stored.state == "new")
    while run.progress.stage is not Stage.DONE:
        if house.stopping.is_set() and run.progress.pages > run.claimed.progress.pages:
            raise Later("the fetcher is stopping; another goes on at the next page", retry_after=1.0)
        if request.reason is Reason.BACKFILL and await store.is_paused(house.database, request):
            raise Postponed(house.clock.now(), "paused")
        answered = await _next_page(run)
        page = answered.page
        if proves and run.progress.page == 1:
            await _verify(run, page)
        messages = page_messages(
            house, request, run.claimed.attempt, run.progress, page, answered.called_at, run.delivery_id
        )
        got = Received(
            page.count, page.last_id, page.newest_modified, page.answered_at, answered.called_at, len(messages)
        )
        del page, answered  # ten megabytes, for each of the runs that wait for their confirmations
        await house.bus.publish(messages)
        del messages
        metrics.records_fetched.labels(run.provider.name, run.progress.stage).inc(got.count)
        run.progress = after_page(
            run.progress,
            got,
            attempt=run.claimed.attempt,
            mode=request.mode,
            removals=request.removals and request.removed_after is not None,
            smallest_page=run.provider.capabilities.smallest_default_page,
            full_page=run.settings.page_size,
        )
        if not await store.save(house.database, run.claimed, run.progress, house.clock.now() + run.lease):
            raise LeaseLost
    ranges = await _bib_ranges(run)
    end = end_message(house, request, run.claimed.attempt, run.progress, run.delivery_id, None, ranges)
    await house.bus.publish([end])


async def _bib_ranges(run: Run) -> dict[str, tuple[BibRange, ...]]:
    """Which bibs the events of the wanted editions give out, as far as they can be had now.

    It is useful and no more: neither a refusal nor a budget that is used up holds up what the run has brought.
    """
    found: dict[str, tuple[BibRange, ...]] = {}
    provider, race_id = run.provider, run.request.race_id or ""
    for edition_id in run.request.edition_ids if provider.capabilities.bib_ranges else ():
        try:
            call = provider.ask_bib_ranges(race_id, edition_id)
            found.update((await _ask(run, call, provider.read_bib_ranges, "bib_ranges")).page.records)
        except (ProviderFailure, Postponed) as error:
            code = error.code if isinstance(error, ProviderFailure) else error.reason
            log.info(
                "The ranges of a race's bibs were not read; they stay as they were.",
                action="bib_ranges_unread",
                run_id=str(run.request.run_id),
                code=code,
            )
    return found


async def _next_page(run: Run) -> Answered:
    request, progress, provider = run.request, run.progress, run.provider
    race_id = request.race_id or ""
    match progress.stage:
        case Stage.RACES:
            ever = request.kind is Kind.HISTORY
            since = RACES_EVER if ever else (run.house.clock.now() - RACES_SINCE).date()
            call, read = provider.ask_races(page=progress.page, start_date=since), provider.read_races
        case Stage.RACE:
            call, read = provider.ask_race(race_id), provider.read_race
        case Stage.PARTICIPANTS:
            call = provider.ask_participants(
                race_id,
                request.event_ids,
                after_id=progress.last_id,
                modified_after=_seconds(request.modified_after) if request.mode is Mode.INCREMENTAL else None,
                page_size=run.settings.page_size,
                include=_include(run.house),
            )
            read = provider.read_participants
        case Stage.REMOVED:
            call = provider.ask_removed(
                race_id,
                request.event_ids,
                after_id=progress.last_id,
                modified_after=_seconds(request.removed_after),
            )
            read = provider.read_removed
        case Stage.BIB:
            call = provider.ask_bib(race_id, request.event_ids, request.bib or "", include=_include(run.house))
            read = provider.read_participants
        case _:
            raise AssertionError("a finished run asks for nothing")
    answered = await _ask(run, call, read, progress.stage)
    _check(provider, progress, answered.page)
    return answered


async def _ask(run: Run, call: Call, read: Callable[[Answer], Page], endpoint: str) -> Answered:
    async def going(connection: Connection) -> None:
        now = run.house.clock.now()
        if not await store.going(connection, run.claimed, run.request.deadline_seconds, now, now + run.lease):
            raise LeaseLost

    credential = run.stored.open(run.house.sealer())
    return await run.caller.ask(Question(call, read, endpoint, credential, run.wish, going))


def _include(house: House) -> tuple[str, ...]:
    return tuple(word.strip() for word in house.settings.runsignup_include.split(",") if word.strip())


def _check(provider: Provider, progress: Progress, page: Page) -> None:
    """What came back must fit what was asked: an ignored filter would bring everybody again, for ever."""
    if progress.stage in {Stage.PARTICIPANTS, Stage.REMOVED}:
        provider.check_page(page, after_id=progress.last_id)
        if page.count and page.last_id is None:
            raise ProviderFailure("a page has no id to go on from", consequence=Consequence.LATER, code="paging_stuck")


async def _verify(run: Run, page: Page) -> None:
    """Prove a new key on one of its races: a list of races answers to anybody, and proves nothing.

    Raises ProviderFailure: the credential is refused when it opens none of the first few races it lists.
    """
    provider = run.provider
    mapped = map(provider.map_race, page.records)
    races = list(islice((each for each in mapped if not isinstance(each, Unusable) and each.events), RACES_TRIED))
    opens = False
    for race in races:
        call = provider.ask_participants(
            race.race_id,
            [race.events[0].event_id],
            after_id=None,
            modified_after=None,
            page_size=1,
            include=(),
        )
        try:
            await _ask(run, call, provider.read_participants, "verify")
        except ProviderFailure as failure:
            if failure.consequence is not Consequence.RACE:
                raise
        else:
            opens = True
            break
    if races and not opens:
        code, words = OPENS_NOTHING
        raise ProviderFailure(words, consequence=Consequence.CREDENTIAL, code=code)
    async with run.house.database.transaction("accepting a key") as connection:
        reason = None if races else "no races yet"
        await judge_key(connection, run.stored, "active", reason, run.house.clock.now())


def _seconds(moment: datetime | None) -> int | None:
    """Whole Unix seconds, rather too early than too late."""
    return None if moment is None else int(moment.timestamp())
