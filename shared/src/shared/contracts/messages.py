"""What each message carries. Read tolerantly (unknown fields are ignored), written strictly.

Commands are verb-noun and have one consumer; events are past participles. An optional field may be added to a
version; anything else is a new one. Raw records travel as the provider sent them and are checked once, in the
mapping: here they are only carried.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Self
from uuid import UUID

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, WrapValidator, model_validator
from typing_extensions import TypedDict

from shared.contracts.records import Unopened
from shared.domain.run import Kind, Mode, Reason, SyncClass

#: Raw records a batch at the most: small enough for a broker, large enough for COPY.
BATCH_RECORDS = 500

ContentHash = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]


class Body(BaseModel):
    """The part of a message that differs by type."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    TYPE: ClassVar[str]

    def routing_key(self) -> str:
        """What its queue is chosen by; the type alone unless said otherwise."""
        return self.TYPE

    def content(self) -> dict[str, Any]:
        """The body as JSON values, ready for encoding."""
        return self.model_dump(mode="json")


class SyncRequest(Body):
    """Ask a fetcher for a piece of syncing."""

    TYPE: ClassVar[str] = "sync.request.v1"
    run_id: UUID
    kind: Kind
    provider: str = Field(min_length=1, max_length=40, pattern="^[a-z0-9_-]+$")
    timing_partner_id: int = Field(ge=1)
    credential_id: int = Field(ge=1)
    sync_class: SyncClass = SyncClass.ROUTINE
    reason: Reason = Reason.INJECTED
    mode: Mode = Mode.INCREMENTAL
    removals: bool = True
    race_id: str | None = Field(default=None, description="the race, unless a key's list is asked for")
    event_ids: tuple[str, ...] = Field(default=(), description="the wanted events of the race")
    edition_ids: tuple[str, ...] = Field(default=(), description="its editions whose ranges of bibs are wanted too")
    modified_after: AwareDatetime | None = Field(default=None, description="the cursor; absent in a full pass")
    removed_after: AwareDatetime | None = Field(
        default=None, description="the cursor of the list of removed people; absent: nobody was known before"
    )
    bib: str | None = Field(default=None, description="the bib to look up, when kind is bib")
    deadline_seconds: int = Field(default=1800, ge=1, description="from the first call to completion")

    @model_validator(mode="after")
    def _names_what_it_asks_for(self) -> Self:
        if self.kind in {Kind.RACE, Kind.BIB} and not self.race_id:
            raise ValueError("a request of this kind needs race_id")
        if self.kind is Kind.BIB and not self.bib:
            raise ValueError("a request of kind bib needs bib")
        return self

    def routing_key(self) -> str:
        return f"{self.TYPE}.{self.provider}.{self.sync_class}"


class FetchedBody(Body):
    """What the fetcher tells the writer; queued by the class of its run."""

    run_id: UUID
    attempt: int = Field(ge=1)
    provider: str
    timing_partner_id: int
    sync_class: SyncClass = SyncClass.ROUTINE

    def routing_key(self) -> str:
        return f"{self.TYPE}.{self.sync_class}"


def _or_unopened(value: Any, validate: Callable[[Any], Any]) -> Any:
    return value if isinstance(value, Unopened) else validate(value)


class BatchBody(FetchedBody):
    """Some raw records of a page, identified by (run, attempt, sequence) and applied once."""

    sequence: int = Field(ge=1)
    fetched_at: AwareDatetime = Field(description="when the call was sent; presence follows it")
    credential_id: int
    records: Annotated[Sequence[Any], Field(max_length=BATCH_RECORDS), WrapValidator(_or_unopened)] = Field(
        description="as the provider sent them"
    )

    def content(self) -> dict[str, Any]:
        # The records are JSON values already; dumping them field by field would cost more than all the rest. They come
        # last: a reader that need not open them finds them there.
        records = orjson.Fragment(self.records.text) if isinstance(self.records, Unopened) else self.records
        return {**self.model_dump(mode="json", exclude={"records"}, exclude_none=True), "records": records}


class RacesFetched(BatchBody):
    """Raw race records with their events."""

    TYPE: ClassVar[str] = "races.fetched.v1"


class ParticipantsFetched(BatchBody):
    """Raw participant records of one race."""

    TYPE: ClassVar[str] = "participants.fetched.v1"
    race_id: str
    identities: list[tuple[str | None, ContentHash, bool]] | None = Field(
        default=None,
        max_length=BATCH_RECORDS,
        description="of each record: registration_id, a hash of what it says, whether it can be stored as it came",
    )
    mapping_version: int | None = Field(default=None, description="of the mapping that the hashes hold for")

    @model_validator(mode="after")
    def _identifies_each(self) -> Self:
        opened = not isinstance(self.records, Unopened)
        if self.identities is not None and opened and len(self.identities) != len(self.records):
            raise ValueError("identities must be as many as the records, or left out")
        return self


class ParticipantsRemoved(BatchBody):
    """Raw removals of one race, each a pair: the event's id and the record."""

    TYPE: ClassVar[str] = "participants.removed.v1"
    race_id: str


class ReplayRequest(Body):
    """Ask a writer to apply again what the database holds: archived batches, quarantined records, a held removal."""

    TYPE: ClassVar[str] = "replay.request.v1"
    replay_id: UUID
    first: int = Field(ge=1, description="the item's number in the replay")
    last: int = Field(ge=1, description="the same; a dry run takes all items of a race together")
    provider: str
    timing_partner_id: int
    race_id: str | None = Field(default=None, description="absent: a list of races")
    sync_class: SyncClass = SyncClass.BACKFILL
    mapping_version: int = Field(default=1, description="a writer with an older mapping leaves it to a newer one")

    def routing_key(self) -> str:
        return f"{self.TYPE}.{self.sync_class}"


class Failure(BaseModel):
    """Why a run brought nothing; codes and ids only."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    code: str
    consequence: str
    message: str


class SyncFetched(FetchedBody):
    """The end of a run: what makes up the pass, or why there is none."""

    TYPE: ClassVar[str] = "sync.fetched.v1"
    ranges: tuple[tuple[int, int, int], ...] = Field(description="(attempt, first, last sequence)")
    records: int = 0
    pages: int = 0
    first_call_at: AwareDatetime | None = None
    first_answer_at: AwareDatetime | None = Field(default=None, description="the provider's Date")
    first_page_newest: AwareDatetime | None = None
    newest_modified: AwareDatetime | None = None
    bib_ranges: dict[str, tuple[tuple[int, int], ...]] = Field(
        default={}, description="(first, last) bib that an event gives out; events that were not asked about are absent"
    )
    failure: Failure | None = None


class Diff(TypedDict):
    """What changed in one participant. An added one names the row and its bib, since bibs are what is watched."""

    registration_id: str
    event_id: str
    kind: str  # added, updated, removed or restored
    fields: dict[str, tuple[Any, Any]]  # field: [before, after]


class ParticipantsChanged(Body):
    """Diffs of one race, numbered in the change feed."""

    TYPE: ClassVar[str] = "participants.changed.v1"
    feed_first: int = Field(description="the feed number of the first diff; the others follow without a gap")
    run_id: UUID
    reason: Reason
    provider: str
    timing_partner_id: int
    race_id: str
    diffs: list[Diff]

    def content(self) -> dict[str, Any]:
        # JSON values already, like the records of a batch.
        return {**self.model_dump(mode="json", exclude={"diffs"}), "diffs": self.diffs}


class Counts(BaseModel):
    """What a run did, in rows and calls."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    calls: int = 0
    fetched: int = 0
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    stale: int = 0
    removed: int = 0
    restored: int = 0
    quarantined: int = 0


class SyncCompleted(Body):
    """A run is over, well or badly."""

    TYPE: ClassVar[str] = "sync.completed.v1"
    run_id: UUID
    kind: Kind
    provider: str
    timing_partner_id: int
    race_id: str | None = None
    outcome: str = Field(description="completed, failed, expired or replaced")
    counts: Counts
    cursor: AwareDatetime | None = None
    error: str | None = None


class BibChange(TypedDict):
    """One bib given, changed, swapped, cleared or found twice."""

    kind: str
    registration_id: str
    event_id: str
    before: str | None
    after: str | None
    other_registration_id: str | None  # the other side of a swap or duplicate
    feed_id: int


class BibChanged(Body):
    """Bib changes of one race, as one sweep found them."""

    TYPE: ClassVar[str] = "bib.changed.v1"
    run_id: UUID
    reason: Reason
    provider: str
    timing_partner_id: int
    race_id: str
    changes: list[BibChange]


MESSAGES: dict[str, type[Body]] = {
    each.TYPE: each
    for each in (
        SyncRequest,
        RacesFetched,
        ParticipantsFetched,
        ParticipantsRemoved,
        SyncFetched,
        ReplayRequest,
        ParticipantsChanged,
        SyncCompleted,
        BibChanged,
    )
}
