"""Rows of the core, with everything that a test does not care for filled in."""

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import asyncpg

NOON = datetime(2027, 5, 1, 12, tzinfo=UTC)

_TIMES = {"fetched_at": NOON, "first_seen_at": NOON, "changed_at": NOON}
DEFAULTS: dict[str, dict[str, Any]] = {
    "races": {"provider_id": 2, "timing_partner_id": 1, "race_id": "81001", **_TIMES},
    "events": {
        "provider_id": 2,
        "timing_partner_id": 1,
        "event_id": "900101",
        "race_id": "81001",
        "is_volunteer": False,
        "sub_event_ids": [],
        **_TIMES,
    },
    "participants": {
        "provider_id": 2,
        "timing_partner_id": 1,
        "registration_id": "7100001",
        "race_id": "81001",
        "event_id": "900101",
        "content_hash": b"\0" * 16,
        "presence_at": NOON,
        **_TIMES,
    },
    "sync_runs": {
        "kind": "race",
        "provider_id": 2,
        "timing_partner_id": 1,
        "credential_id": 1,
        "race_id": "81001",
        "mode": "incremental",
        "sync_class": "near",
        "reason": "schedule",
        "state": "completed",
        "requested_at": NOON,
        "deadline_seconds": 600,
    },
}


async def insert(connection: "asyncpg.Connection[Any]", table: str, **values: Any) -> None:
    """Insert a row; dicts become JSON."""
    row = {**DEFAULTS[table], **values}
    if table == "sync_runs":
        row = {"run_id": uuid.uuid4(), "subject": str(uuid.uuid4()), **row}
    places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    await connection.execute(
        f"INSERT INTO hub.{table} ({', '.join(row)}) VALUES ({places})",
        *(json.dumps(value) if isinstance(value, dict) else value for value in row.values()),
    )
