"""What a registration platform is to the rest of the house: questions, readers, a mapping, and one client.

Everything but `Client` is pure: what to ask (`Call`), how to read every form of the answer, and what an error means.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from shared.domain.participant import Identity, Participant, Removal, Unusable
from shared.domain.race import Race
from shared.errors import SyncError


class Consequence(StrEnum):
    """What follows from a failure, and for whom."""

    LATER = "later"  # this call, after a while
    THROTTLED = "throttled"  # this credential, after a while
    NEVER = "never"  # this request is wrong and stays wrong
    RACE = "race"  # this race, until something changes
    CREDENTIAL = "credential"  # everything under this credential, until a person acts
    EVERYTHING = "everything"  # all calls of this system, until a person acts


#: What no answer says alone: a key lists races, and may read none of those that were tried.
OPENS_NOTHING = ("opens_nothing", "the key lists races and may read none of them")


class ProviderFailure(SyncError):
    """A call that brought no data; says what follows. The text holds codes and ids, never the answer's body."""

    def __init__(
        self,
        message: str,
        *,
        consequence: Consequence,
        code: str,
        retry_after: float | None = None,
        answered_at: datetime | None = None,
    ) -> None:
        super().__init__(message)
        self.consequence = consequence
        self.code = code  # bounded: http_503, error_14, timeout, not_json, unknown_form, …
        self.retry_after = retry_after  # seconds, when the provider said so
        self.answered_at = answered_at


@dataclass(frozen=True, slots=True)
class Call:
    """A question not yet asked: where and with which parameters. Credentials are added by the client."""

    path: str  # below the base address, with a leading slash
    parameters: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Credential:
    """One key of one partner, opened for a call; never printed."""

    principal: str = field(repr=False)
    secret: str = field(repr=False)
    form: str = "v1"  # how it is sent; a word of the provider's own


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, unread."""

    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """A page of raw records, as the provider sent them, and what paging and the cursor need of it."""

    # people; for removals (event_id, record) pairs; for races race records with events; for ranges of bibs (event_id,
    # ((first, last), ...)) pairs
    records: Sequence[Any]
    count: int  # records received, unusable ones included
    last_id: int | None  # the highest registration id, for keyset paging; None when no id could be read
    newest_modified: int | None  # Unix seconds
    answered_at: datetime | None  # the provider's clock (HTTP Date), aware


class Removals(StrEnum):
    """How a platform tells that somebody is gone."""

    EXPLICIT = "explicit"  # a list of removed people
    INFERRED = "inferred"  # only by a full pass
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a platform can do."""

    removals: Removals
    search_by_bib: bool
    bib_ranges: bool  # tells which bibs each event gives out
    page_size: int  # people a call at the most
    removals_page_size: int
    races_page_size: int
    smallest_default_page: int  # what a server serves at least, whatever is asked: a shorter page is the last


class Client(Protocol):
    """The one thing here that talks to a platform."""

    async def ask(self, call: Call, credential: Credential) -> Answer:
        """Ask once. Raises ProviderFailure for a transport error or time-out; never retries, never logs the URL."""
        ...

    async def close(self) -> None:
        """Let go of the connections; safe to repeat."""
        ...


@dataclass(frozen=True, slots=True)
class Provider:
    """A platform, as a value: a line in the registry."""

    name: str  # runsignup: the word in queues, metrics and tables
    provider_id: int  # the number operators know: 2
    title: str
    mapping_version: int
    capabilities: Capabilities
    # what to ask
    ask_races: Callable[..., Call]  # (*, page: int, start_date: date)
    ask_race: Callable[[str], Call]  # (race_id): with every event that it ever had
    ask_participants: Callable[..., Call]  # (race_id, event_ids, *, after_id, modified_after, page_size, include)
    ask_removed: Callable[..., Call]  # (race_id, event_ids, *, after_id, modified_after)
    ask_bib: Callable[..., Call]  # (race_id, event_ids, number, *, include)
    ask_bib_ranges: Callable[[str, str], Call]  # (race_id, edition_id)
    # how to read the answers: each raises ProviderFailure
    read_races: Callable[[Answer], Page]
    read_race: Callable[[Answer], Page]  # one record, as in a list of races
    read_participants: Callable[[Answer], Page]
    read_removed: Callable[[Answer], Page]
    read_bib_ranges: Callable[[Answer], Page]
    read_quota: Callable[[Answer], tuple[int, int] | None]  # (limit, remaining) of the key, when told; never raises
    check_page: Callable[..., None]  # (page, *, after_id): raises when people come who were not asked for
    as_json: Callable[[Sequence[Any]], list[bytes]]  # a page's records as JSON texts that a message can carry
    # how to store them: pure, never raises for bad data
    map_race: Callable[[Any], Race | Unusable]
    identify: Callable[..., list[Identity]]  # (records, race_id, sent=None): a fraction of mapping's cost
    map_participant: Callable[..., Participant | Unusable]  # (raw, race_id, who: Identity | None = None)
    map_removal: Callable[..., Removal | Unusable]  # (pair, race_id)
    check_key: Callable[[str, str], str | None]  # (principal, secret): what is wrong with their form, in a sentence
    in_words: Callable[[str], str | None]  # (code): what a failure's code means; None for a word that is no code
