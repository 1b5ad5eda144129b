"""What the fetcher tells the writer: batches of raw records, and the end of a run."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from fetcher.batches import RACES_A_BATCH, cut
from fetcher.paging import Progress, Stage
from shared.bus.port import Message
from shared.contracts import (
    Body,
    Failure,
    ParticipantsFetched,
    ParticipantsRemoved,
    RacesFetched,
    SyncFetched,
    SyncRequest,
    encode,
)
from shared.contracts.messages import BATCH_RECORDS
from shared.domain.bibs import BibRange
from shared.providers.port import Page, Provider
from shared.providers.registry import by_name
from shared.runtime import House

SOURCE = "fetcher"


def page_messages(
    house: House, request: SyncRequest, attempt: int, progress: Progress, page: Page, called_at: datetime, cause: str
) -> list[Message]:
    """A page's records, as they came, cut into batches that follow the run's last sequence."""
    common = {
        "run_id": request.run_id,
        "attempt": attempt,
        "provider": request.provider,
        "timing_partner_id": request.timing_partner_id,
        "sync_class": request.sync_class,
        "credential_id": request.credential_id,
        "fetched_at": called_at,
    }
    kinds: dict[Stage, Callable[..., Body]] = {
        Stage.RACES: RacesFetched,
        Stage.RACE: RacesFetched,
        Stage.PARTICIPANTS: ParticipantsFetched,
        Stage.REMOVED: ParticipantsRemoved,
        Stage.BIB: ParticipantsFetched,
    }
    kind, provider = kinds[progress.stage], by_name(request.provider)
    if kind is not RacesFetched:
        common["race_id"] = request.race_id

    def make(records: Sequence[Any], sequence: int) -> Message:
        if kind is ParticipantsFetched:
            fields = introduce(records, provider, request.race_id or "")
        else:
            fields = {"records": [orjson.Fragment(each) for each in provider.as_json(records)]}
        return _message(house, kind(**common, **fields, sequence=sequence), request, cause)

    size = RACES_A_BATCH if kind is RacesFetched else BATCH_RECORDS
    return cut(page.records, size, make, progress.sequence + 1)


def introduce(records: Sequence[Any], provider: Provider, race_id: str) -> dict[str, Any]:
    """Records of people as a message's fields: each encoded once, for the message and for the hash it is known by."""
    sent = provider.as_json(records)
    return {
        "identities": [
            (each.registration_id, each.content_hash.hex(), each.is_clean)
            for each in provider.identify(records, race_id, sent)
        ],
        "mapping_version": provider.mapping_version,
        "records": [orjson.Fragment(each) for each in sent],
    }


def end_message(
    house: House,
    request: SyncRequest,
    attempt: int,
    progress: Progress,
    cause: str,
    failure: Failure | None,
    bib_ranges: dict[str, tuple[BibRange, ...]] | None = None,
) -> Message:
    """What makes up the pass, or why there is none."""
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
        bib_ranges=bib_ranges or {},
        failure=failure,
    )
    return _message(house, body, request, cause)


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
