"""A sync request: claimed, fetched, and each way it can end turned into what follows."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid5

import structlog

from fetcher import store
from fetcher.calling import Caller, Postponed
from fetcher.fetching import LeaseLost, Run, fetch
from fetcher.settings import FetcherSettings
from fetcher.telling import SOURCE, end_message
from shared.bus.port import Delivery
from shared.contracts import Failure, SyncRequest, decode
from shared.domain.run import Kind, State
from shared.errors import Later, Never, SyncError
from shared.postgres.credentials import judge_key, load_credential
from shared.providers.port import Consequence, ProviderFailure
from shared.runtime import House
from shared.telemetry import metrics

log = structlog.get_logger()


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
        if stored is not None and stored.replaced_by is not None:  # asked for before the key was rotated
            stored = await load_credential(connection, stored.replaced_by)
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
        await _outcome(run, fetch(run))


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
    await house.bus.publish([end_message(house, request, claimed.attempt, claimed.progress, cause, failure)])
