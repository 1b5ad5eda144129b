"""Each kind of batch to what applies it, whether it comes from the fetcher, the archive or the quarantine."""

import structlog

from shared.contracts import ParticipantsFetched, ParticipantsRemoved, RacesFetched
from shared.contracts.messages import BatchBody
from shared.errors import Never, Overtaken
from shared.runtime import House
from shared.telemetry import metrics
from writer.applying import apply_people, apply_removals
from writer.discovering import apply_races
from writer.settings import WriterSettings
from writer.unstorable import find_unstorable

log = structlog.get_logger()


async def apply_batch(body: BatchBody, raw: bytes | None, *, house: House, settings: WriterSettings) -> None:
    """Apply a batch, once; ``raw`` is its message for the archive, None when it comes from there."""
    match body:
        case ParticipantsFetched():
            try:
                await on_participants_fetched(body, raw, house=house, settings=settings)
            except Overtaken:  # some of its new people were stored since it looked: now it finds them
                await on_participants_fetched(body, raw, house=house, settings=settings)
        case ParticipantsRemoved():
            await apply_removals(body, raw, house=house, settings=settings)
        case RacesFetched():
            await apply_races(body, raw, house=house, settings=settings)
        case _:
            raise Never(f"a {body.TYPE} is no batch that this writer knows", reason="misplaced")


async def on_participants_fetched(
    body: ParticipantsFetched, raw: bytes | None, *, house: House, settings: WriterSettings
) -> None:
    """Apply a batch; rows that the database cannot store are found, put aside, and cost nobody else."""
    with metrics.batch_seconds.time():
        try:
            await apply_people(body, raw, house=house, settings=settings)
        except Never as error:
            if error.reason != "unstorable":
                raise
            culprits = await find_unstorable(body, house=house)
            log.warning(
                "Rows of a batch cannot be stored.",
                action="rows_unstorable",
                run_id=str(body.run_id),
                sequence=body.sequence,
                rows=len(culprits),
            )
            await apply_people(body, raw, house=house, settings=settings, aside_ids=culprits)
