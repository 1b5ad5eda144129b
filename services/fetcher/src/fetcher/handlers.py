"""A sync request, from the claim to the end of the run: page by page, each confirmed before it is counted."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import structlog

from fetcher import store
from fetcher.batches import RACES_A_BATCH, cut
from fetcher.budget import is_privileged
from fetcher.calling import Answered, Caller, Postponed, Question
from fetcher.ledger import Wish
from fetcher.paging import Progress, Received, Stage, after_page
from fetcher.settings import FetcherSettings
from shared.bus.port import Delivery, Message
from shared.contracts import (
    Body,
    Failure,
    ParticipantsFetched,
    ParticipantsRemoved,
    RacesFetched,
    SyncFetched,
    SyncRequest,
    decode,
    encode,
)
from shared.contracts.messages import BATCH_RECORDS
from shared.domain.participant import Unusable
from shared.domain.run import Kind, Mode, State
from shared.errors import Later, Never, SyncError
from shared.postgres.credentials import StoredCredential, judge_key, load_credential
from shared.providers.port import Answer, Call, Consequence, Page, Provider, ProviderFailure
from shared.runtime import House
from shared.telemetry import metrics

log = structlog.get_logger()

SOURCE = "fetcher"

#: How far back a list of races is asked for, so that a race does not vanish the day after, as in the vendor's own app.
RACES_SINCE = timedelta(days=7)
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
            privileged=is_privileged(self.request.sync_class, self.request.reason),
            run_id=self.request.run_id,
        )


async def on_sync_request(
    delivery: Delivery, *, house: House, settings: FetcherSettings, callers: dict[str, Caller]
) -> None:
    """Fetch what a request asks for and tell the writer; safe to repeat at any point."""
    _, body = decode(delivery.message.body)
    if not isinstance(body, SyncRequest):
        raise Never(f"a {body.TYPE} does not belong into a queue of requests", reason="misplaced")
    caller = callers.get(body.provider)
    if caller is None:
        raise Never(f"no provider is called {body.provider}", reason="unknown_provider")
    now, lease = house.clock.now(), timedelta(seconds=settings.lease_seconds)
    async with house.database.connection("loading a key") as connection:
        stored = await load_credential(connection, body.credential_id)
    if stored is None:
        raise Never(f"credential {body.credential_id} does not exist", reason="unknown_credential")
    if (stored.timing_partner_id, stored.provider_id) != (body.timing_partner_id, caller.provider.provider_id):
        raise Never(
            f"credential {body.credential_id} is not one of partner {body.timing_partner_id} at {body.provider}",
            reason="misplaced",
        )
    claimed = await store.claim(house.database, body, provider_id=caller.provider.provider_id, now=now, lease=lease)
    if claimed is None:
        return
    if stored.state == "disabled" or (stored.state == "refused" and body.kind is not Kind.VERIFY):
        await _fail(
            house, body, claimed, delivery.message.id, f"key_{stored.state}", "credential", "its key is not in use"
        )
        return
    run = Run(house, settings, caller, body, stored, claimed, claimed.progress, delivery.message.id)
    async with _kept(run):
        await _outcome(run, _fetch(run))


@asynccontextmanager
async def _kept(run: Run) -> AsyncIterator[None]:
    """Keep the lease while we are at it, however long the run waits at the gate: only a dead fetcher's run is taken."""

    async def keep() -> None:
        while True:
            await run.house.clock.sleep(run.settings.lease_seconds / 3)
            try:
                if not await store.renew(run.house.database, run.claimed, run.house.clock.now() + run.lease):
                    return  # the next call or page finds that out too
            except Later as error:
                log.warning("A lease could not be renewed.", action="lease_unrenewed", error=str(error))

    keeping = asyncio.create_task(keep(), name=f"lease of {run.request.run_id}")
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def _outcome(run: Run, fetching: Any) -> None:
    """Let a run go its way, and turn each way it can end into what follows."""
    house, request = run.house, run.request
    try:
        await fetching
    except LeaseLost:
        log.info("A run went on elsewhere.", action="lease_lost", run_id=str(request.run_id))
    except Postponed as postponed:
        await store.postpone(
            house.database,
            run.claimed,
            postponed.until,
            postponed.reason,
            provider=run.provider.name,
            source=SOURCE,
            message_id=uuid5(request.run_id, State.REPLACED),
            now=house.clock.now(),
        )
        metrics.postponed.labels(run.provider.name, postponed.reason).inc()
        log.info(
            "A run waits in the database.",
            action="run_postponed",
            run_id=str(request.run_id),
            reason=postponed.reason,
            until=postponed.until.isoformat(),
        )
    except ProviderFailure as failure:
        await _failed_call(run, failure)
    except Exception as error:
        # The bus tries again, or gives up; whichever, the run must not wait for its lease.
        code = error.reason if isinstance(error, Never) else "later" if isinstance(error, Later) else "unexpected"
        message = str(error) if isinstance(error, SyncError) else f"an unexpected {type(error).__name__}"
        await store.release(house.database, run.claimed, code=code, message=message)
        if isinstance(error, Never):
            await _fail(house, request, run.claimed, run.delivery_id, code, Consequence.NEVER.value, message)
        raise


async def _failed_call(run: Run, failure: ProviderFailure) -> None:
    house, request = run.house, run.request
    log.warning(
        "A call failed.",
        action="call_failed",
        run_id=str(request.run_id),
        partner=request.timing_partner_id,
        race=request.race_id,
        code=failure.code,
        consequence=failure.consequence.value,
    )
    if failure.consequence in {Consequence.LATER, Consequence.THROTTLED}:
        await store.release(house.database, run.claimed, code=failure.code, message=str(failure))
        raise Later(str(failure), retry_after=failure.retry_after) from None
    if failure.consequence is Consequence.CREDENTIAL:
        async with house.database.transaction("refusing a key") as connection:
            await judge_key(connection, run.stored, "refused", failure.code, house.clock.now())
    await _fail(house, request, run.claimed, run.delivery_id, failure.code, failure.consequence.value, str(failure))


async def _fail(
    house: House, request: SyncRequest, claimed: store.Claim, cause: str, code: str, consequence: str, message: str
) -> None:
    failure = Failure(code=code, consequence=consequence, message=message)
    await house.bus.publish([_end(house, request, claimed.attempt, claimed.progress, cause, failure)])


async def _fetch(run: Run) -> None:
    """Page by page until the pass is over, then say so."""
    house, request = run.house, run.request
    proves = request.kind is Kind.VERIFY or (request.kind is Kind.DISCOVER and run.stored.state == "new")
    while run.progress.stage is not Stage.DONE:
        if house.stopping.is_set() and run.progress.pages > run.claimed.progress.pages:
            raise Later("the fetcher is stopping; another goes on at the next page", retry_after=1.0)
        answered = await _next_page(run)
        page = answered.page
        if proves and run.progress.page == 1:
            await _verify(run, page)
        messages = _messages(run, page, answered.called_at)
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
        )
        if not await store.save(house.database, run.claimed, run.progress, house.clock.now() + run.lease):
            raise LeaseLost
    await house.bus.publish([_end(house, request, run.claimed.attempt, run.progress, run.delivery_id, None)])


async def _next_page(run: Run) -> Answered:
    request, progress, provider = run.request, run.progress, run.provider
    race_id = request.race_id or ""
    match progress.stage:
        case Stage.RACES:
            since = (run.house.clock.now() - RACES_SINCE).date()
            call, read = provider.ask_races(page=progress.page, start_date=since), provider.read_races
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
    async def going() -> None:
        house, now = run.house, run.house.clock.now()
        if not await store.going(house.database, run.claimed, run.request.deadline_seconds, now, now + run.lease):
            raise LeaseLost

    credential = run.stored.open(run.house.sealer)
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
    tried = 0
    for record in page.records:
        race = provider.map_race(record)
        if isinstance(race, Unusable) or not race.events:
            continue
        call = provider.ask_participants(
            race.race_id,
            [race.events[0].event_id],
            after_id=None,
            modified_after=None,
            page_size=1,
            include=(),
        )
        tried += 1
        try:
            await _ask(run, call, provider.read_participants, "verify")
        except ProviderFailure as failure:
            if failure.consequence is not Consequence.RACE:
                raise
            if tried < RACES_TRIED:
                continue
            raise ProviderFailure(
                "the key lists races and may read none of them",
                consequence=Consequence.CREDENTIAL,
                code="opens_nothing",
            ) from None
        break
    else:
        if tried:
            raise ProviderFailure(
                "the key lists races and may read none of them",
                consequence=Consequence.CREDENTIAL,
                code="opens_nothing",
            )
    async with run.house.database.transaction("accepting a key") as connection:
        reason = None if tried else "no races yet"
        await judge_key(connection, run.stored, "active", reason, run.house.clock.now())


def _messages(run: Run, page: Page, called_at: datetime) -> list[Message]:
    request = run.request
    common = {
        "run_id": request.run_id,
        "attempt": run.claimed.attempt,
        "provider": request.provider,
        "timing_partner_id": request.timing_partner_id,
        "sync_class": request.sync_class,
        "credential_id": request.credential_id,
        "fetched_at": called_at,
    }
    kinds: dict[Stage, Callable[..., Body]] = {
        Stage.RACES: RacesFetched,
        Stage.PARTICIPANTS: ParticipantsFetched,
        Stage.REMOVED: ParticipantsRemoved,
        Stage.BIB: ParticipantsFetched,
    }
    kind = kinds[run.progress.stage]
    if run.progress.stage is not Stage.RACES:
        common["race_id"] = request.race_id

    def make(records: Sequence[Any], sequence: int) -> Message:
        return _message(run.house, kind(**common, sequence=sequence, records=list(records)), request, run.delivery_id)

    size = RACES_A_BATCH if run.progress.stage is Stage.RACES else BATCH_RECORDS
    return cut(page.records, size, make, run.progress.sequence + 1)


def _end(
    house: House, request: SyncRequest, attempt: int, progress: Progress, cause: str, failure: Failure | None
) -> Message:
    body = SyncFetched(
        run_id=request.run_id,
        attempt=attempt,
        provider=request.provider,
        timing_partner_id=request.timing_partner_id,
        sync_class=request.sync_class,
        ranges=progress.ranges,
        records=progress.records,
        pages=progress.pages,
        first_call_at=progress.first_call_at,
        first_answer_at=progress.first_answer_at,
        first_page_newest=_instant(progress.first_page_newest),
        newest_modified=_instant(progress.newest_modified),
        failure=failure,
    )
    return _message(house, body, request, cause)


def _seconds(moment: datetime | None) -> int | None:
    """Whole Unix seconds, rather too early than too late."""
    return None if moment is None else int(moment.timestamp())


def _instant(seconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None else None


def _message(house: House, body: Body, request: SyncRequest, cause: str) -> Message:
    return encode(
        body,
        id=house.new_id(),
        occurred_at=house.clock.now(),
        source=SOURCE,
        correlation_id=request.run_id,
        causation_id=UUID(cause),
    )
