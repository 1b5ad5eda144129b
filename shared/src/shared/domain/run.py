"""A sync run: one requested piece of syncing, from the asking to the outcome."""

from enum import StrEnum


class Kind(StrEnum):
    """What is asked for."""

    DISCOVER = "discover"  # a credential's races and events
    RACE = "race"  # a race's participants, all wanted events at once
    BIB = "bib"  # one bib, live
    VERIFY = "verify"  # does this key open anything
    HISTORY = "history"  # a key's races since the beginning; with a race, every event that it ever had
    REPLAY = "replay"  # archived or hand-written records, applied again; nothing is called


class Mode(StrEnum):
    """How much of a race is asked for; the stronger replaces the weaker."""

    INCREMENTAL = "incremental"  # what changed since the cursor
    FULL = "full"  # everybody; may mark people as gone

    @property
    def strength(self) -> int:
        """Larger is stronger."""
        return (Mode.INCREMENTAL, Mode.FULL).index(self)


class SyncClass(StrEnum):
    """How near the start is; the nearer goes first."""

    RACEDAY = "raceday"
    NEAR = "near"
    ROUTINE = "routine"
    BACKFILL = "backfill"

    @property
    def distance(self) -> int:
        """Smaller is nearer."""
        return tuple(SyncClass).index(self)


class Reason(StrEnum):
    """Why it is asked."""

    FIRST = "first"  # a race never synced
    SCHEDULE = "schedule"  # it was due
    FOLLOW_UP = "follow_up"  # a bib change was seen; what this finds is not followed up
    OPERATOR = "operator"
    BACKFILL = "backfill"
    INJECTED = "injected"  # a hand-written message, or a replay

    @property
    def is_spare(self) -> bool:
        """Whether it takes only what is left of a key's hour beside the planned."""
        return self in {Reason.FIRST, Reason.FOLLOW_UP, Reason.BACKFILL}

    def joined(self, other: "Reason") -> "Reason":
        """Why one request is asked for that satisfies both: for this, unless the other alone is planned."""
        return other if self.is_spare and not other.is_spare else self


class State(StrEnum):
    """Where a run stands.

    queued ──▶ requested ──▶ running ──▶ fetched ──▶ completed
      ▲                        │  │          └─────▶ expired
      └──── no budget ─────────┘  └──▶ failed
    queued, requested ──▶ replaced
    """

    QUEUED = "queued"  # waits in the database: for its predecessor, for budget, or for a time
    REQUESTED = "requested"  # its message is on its way to a fetcher
    RUNNING = "running"  # a fetcher holds its lease
    FETCHED = "fetched"  # the end of the pass is known; batches may still be on their way
    COMPLETED = "completed"  # every batch of the pass was applied
    FAILED = "failed"
    EXPIRED = "expired"  # its deadline passed; late batches still apply rows, never cursor or removals
    REPLACED = "replaced"  # a stronger or nearer request took over

    @property
    def is_final(self) -> bool:
        """Nothing more can become of it."""
        return self in FINAL


FINAL = (State.COMPLETED, State.FAILED, State.EXPIRED, State.REPLACED)
