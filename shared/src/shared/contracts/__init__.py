"""The messages, as a public promise: frozen, versioned, each with a golden schema and a part of `MESSAGES.md`."""

from shared.contracts.envelope import Envelope, decode, encode
from shared.contracts.messages import (
    MESSAGES,
    BibChange,
    BibChanged,
    Body,
    Counts,
    Diff,
    Failure,
    ParticipantsChanged,
    ParticipantsFetched,
    ParticipantsRemoved,
    RacesFetched,
    ReplayRequest,
    SyncCompleted,
    SyncFetched,
    SyncRequest,
)

__all__ = [
    "MESSAGES",
    "BibChange",
    "BibChanged",
    "Body",
    "Counts",
    "Diff",
    "Envelope",
    "Failure",
    "ParticipantsChanged",
    "ParticipantsFetched",
    "ParticipantsRemoved",
    "RacesFetched",
    "ReplayRequest",
    "SyncCompleted",
    "SyncFetched",
    "SyncRequest",
    "decode",
    "encode",
]
