"""What tests are made of, everything at its default: a test shows only what matters to it.

People are invented, at example.com. Records are in RunSignUp's form, since the mapping is part of what is tested.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from shared.contracts import Body, ParticipantsFetched, ParticipantsRemoved, RacesFetched, SyncFetched
from shared.domain.run import Kind, Mode, Reason, State, SyncClass
from shared.postgres import Database
from shared.postgres.asks import Ask
from shared.providers.registry import PROVIDERS
from shared.secrets import Sealer, fingerprint, row_name

PROVIDER = PROVIDERS["runsignup"]

#: The instant at which tests begin, a day on which nothing starts or ends.
NOON = datetime(2027, 5, 12, 12, 0, tzinfo=UTC)
SEALER = Sealer(bytes(32))
RACE = "501"
EVENT = "90011"


def at(seconds: float) -> datetime:
    """An instant so many seconds after noon."""
    return NOON + timedelta(seconds=seconds)


def a_participant_record(
    registration_id: Any = 7001,
    *,
    event_id: Any = int(EVENT),
    bib: Any = None,
    modified: Any = 0,
    first_name: str = "Ada",
    last_name: str = "Lindqvist",
    user_id: Any = None,
    **fields: Any,
) -> dict[str, Any]:
    """One active registration as RunSignUp sends it; ``modified`` in seconds after noon."""
    return {
        "registration_id": registration_id,
        "event_id": event_id,
        "user": {
            "user_id": registration_id if user_id is None else user_id,
            "first_name": first_name,
            "last_name": last_name,
            "email": "ada@example.com",
            "gender": "F",
        },
        "bib_num": bib,
        "last_modified": int(at(modified).timestamp()) if isinstance(modified, int | float) else modified,
        **fields,
    }


def a_removal_record(
    registration_id: Any = 7001,
    *,
    event_id: Any = int(EVENT),
    reason: str = "removed",
    modified: float = 0,
    new_registration_id: Any = None,
) -> list[Any]:
    """One entry of the list of removed people, as the fetcher passes it on: the event's id and the record."""
    record = {
        "registration_id": registration_id,
        "user": {"first_name": "Ada", "last_name": "Lindqvist"},
        "removed_reason": reason,
        "last_modified_ts": int(at(modified).timestamp()),
    }
    if new_registration_id is not None:
        record["new_registration_id"] = new_registration_id
    return [event_id, record]


def a_race_record(
    race_id: Any = int(RACE), *, event_ids: Sequence[Any] = (int(EVENT),), start: str = "5/22/2027 08:00", **fields: Any
) -> dict[str, Any]:
    """One race with its events, as RunSignUp lists it."""
    return {
        "race_id": race_id,
        "name": "Meadow Run",
        "timezone": "America/New_York",
        "last_modified": "5/1/2027 10:00",
        "events": [{"event_id": each, "name": "10K", "start_time": start, "distance": "10K"} for each in event_ids],
        **fields,
    }


@dataclass(frozen=True, slots=True)
class Tenant:
    """A partner with a key, as the tables know them."""

    timing_partner_id: int
    credential_id: int
    fingerprint: str


async def a_partner(database: Database, *, principal: str | None = None, state: str = "active") -> Tenant:
    """Store a partner with a sealed key; two partners with the same principal share a budget."""
    principal = principal or f"key-{uuid4().hex}"
    async with database.transaction() as connection:
        partner: int = await connection.fetchval(
            "INSERT INTO public.timing_partners (company_name) VALUES ('Invented Timing') RETURNING timing_partner_id"
        )
        credential: int = await connection.fetchval(
            "INSERT INTO public.partner_provider_credentials (provider_id, timing_partner_id, principal)"
            " VALUES ($1, $2, $3) RETURNING partner_provider_credential_id",
            PROVIDER.provider_id,
            partner,
            principal,
        )
        name = fingerprint(principal)
        await connection.execute(
            "INSERT INTO credentials (credential_id, sealed_secret, fingerprint, state, state_at, discover_due_at)"
            " VALUES ($1, $2, $3, $4, $5, $5)",
            credential,
            SEALER.seal("invented-secret", row_name(credential, PROVIDER.provider_id, partner, principal)),
            name,
            state,
            NOON,
        )
        await connection.execute(
            "INSERT INTO provider_keys (provider_id, fingerprint) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            PROVIDER.provider_id,
            name,
        )
    return Tenant(partner, credential, name)


async def a_race(
    database: Database,
    tenant: Tenant,
    race_id: str = RACE,
    *,
    events: Sequence[str] = (EVENT,),
    starts_at: datetime | None = NOON + timedelta(days=10),
    ends_at: datetime | None = None,
    cursor: datetime | None = None,
    bundles: dict[str, list[str]] | None = None,
    next_due_at: datetime = NOON,
    last_asked_at: datetime | None = None,
    last_full_at: datetime | None = None,
) -> None:
    """Store a race that a discovery found, with its events and its place in the schedule."""
    async with database.transaction() as connection:
        await connection.execute(
            "INSERT INTO races (provider_id, timing_partner_id, race_id, fetched_at, first_seen_at, changed_at)"
            " VALUES ($1, $2, $3, $4, $4, $4)",
            PROVIDER.provider_id,
            tenant.timing_partner_id,
            race_id,
            NOON,
        )
        await connection.execute(
            "INSERT INTO race_sync (provider_id, timing_partner_id, race_id, credential_id, next_due_at, last_asked_at,"
            " last_full_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
            PROVIDER.provider_id,
            tenant.timing_partner_id,
            race_id,
            tenant.credential_id,
            next_due_at,
            last_asked_at,
            last_full_at,
        )
        await connection.executemany(
            "INSERT INTO events (provider_id, timing_partner_id, event_id, race_id, starts_at, ends_at, is_volunteer,"
            " sub_event_ids, fetched_at, first_seen_at, changed_at, cursor_at)"
            " VALUES ($1, $2, $3, $4, $5, $6, false, $7, $8, $8, $8, $9)",
            [
                (
                    PROVIDER.provider_id,
                    tenant.timing_partner_id,
                    event,
                    race_id,
                    starts_at,
                    ends_at,
                    (bundles or {}).get(event, []),
                    NOON,
                    cursor,
                )
                for event in events
            ],
        )


def an_ask(tenant: Tenant, race_id: str | None = RACE, **changes: Any) -> Ask:
    """Somebody's wish for a sync of a race."""
    values: dict[str, Any] = {
        "run_id": uuid4(),
        "kind": Kind.RACE if race_id is not None else Kind.DISCOVER,
        "provider": PROVIDER.name,
        "provider_id": PROVIDER.provider_id,
        "timing_partner_id": tenant.timing_partner_id,
        "credential_id": tenant.credential_id,
        "source": "test",
        "reason": Reason.SCHEDULE,
        "race_id": race_id,
        **changes,
    }
    return Ask(**values)


async def a_run(
    database: Database,
    tenant: Tenant,
    race_id: str = RACE,
    *,
    mode: Mode = Mode.FULL,
    state: State = State.RUNNING,
    attempt: int = 1,
    events: Sequence[str] = (EVENT,),
    reason: Reason = Reason.SCHEDULE,
    sync_class: SyncClass = SyncClass.ROUTINE,
    removals: bool = False,
    requested_at: datetime = NOON,
    deadline_at: datetime | None = NOON + timedelta(hours=1),
    not_before: datetime | None = None,
) -> UUID:
    """Store a run of a race, by default one that a fetcher holds."""
    run_id = uuid4()
    await database.execute(
        """
        INSERT INTO sync_runs (run_id, subject, kind, provider_id, timing_partner_id, credential_id, race_id, event_ids,
            mode, removals, sync_class, reason, state, requested_at, deadline_seconds, deadline_at, attempt, not_before,
            leased_until)
        VALUES ($1, $2, 'race', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 3600, $14, $15, $16, $14)
        """,
        run_id,
        f"race:{PROVIDER.provider_id}:{tenant.timing_partner_id}:{race_id}",
        PROVIDER.provider_id,
        tenant.timing_partner_id,
        tenant.credential_id,
        race_id,
        list(events),
        mode,
        removals,
        sync_class,
        reason,
        state,
        requested_at,
        deadline_at,
        attempt,
        not_before,
    )
    return run_id


def a_batch(
    tenant: Tenant,
    run_id: UUID,
    records: Sequence[Any] = (),
    *,
    race_id: str = RACE,
    attempt: int = 1,
    sequence: int = 1,
    fetched_at: datetime = NOON,
) -> ParticipantsFetched:
    """A batch of a race's people."""
    return ParticipantsFetched(
        run_id=run_id,
        attempt=attempt,
        provider=PROVIDER.name,
        timing_partner_id=tenant.timing_partner_id,
        sequence=sequence,
        fetched_at=fetched_at,
        credential_id=tenant.credential_id,
        records=list(records),
        race_id=race_id,
    )


def a_removals_batch(
    tenant: Tenant,
    run_id: UUID,
    records: Sequence[Any],
    *,
    race_id: str = RACE,
    attempt: int = 1,
    sequence: int = 1,
    fetched_at: datetime = NOON,
) -> ParticipantsRemoved:
    """A batch of the list of those who left a race."""
    return ParticipantsRemoved(
        run_id=run_id,
        attempt=attempt,
        provider=PROVIDER.name,
        timing_partner_id=tenant.timing_partner_id,
        sequence=sequence,
        fetched_at=fetched_at,
        credential_id=tenant.credential_id,
        records=list(records),
        race_id=race_id,
    )


def a_races_batch(
    tenant: Tenant, run_id: UUID, records: Sequence[Any], *, sequence: int = 1, fetched_at: datetime = NOON
) -> RacesFetched:
    """A batch of a partner's races."""
    return RacesFetched(
        run_id=run_id,
        attempt=1,
        provider=PROVIDER.name,
        timing_partner_id=tenant.timing_partner_id,
        sequence=sequence,
        fetched_at=fetched_at,
        credential_id=tenant.credential_id,
        records=list(records),
    )


def an_end(
    tenant: Tenant, run_id: UUID, ranges: Sequence[tuple[int, int, int]] = ((1, 1, 1),), **changes: Any
) -> SyncFetched:
    """The end of a run whose first call went out at noon and was answered at once."""
    values: dict[str, Any] = {
        "run_id": run_id,
        "attempt": ranges[-1][0] if ranges else 1,
        "provider": PROVIDER.name,
        "timing_partner_id": tenant.timing_partner_id,
        "ranges": tuple(ranges),
        "pages": 1,
        "first_call_at": NOON,
        "first_answer_at": NOON,
        "first_page_newest": NOON,
        "newest_modified": NOON,
        **changes,
    }
    return SyncFetched(**values)


def body_of(raw: bytes) -> Body:
    """What an encoded message carries."""
    from shared.contracts import decode

    return decode(raw)[1]
