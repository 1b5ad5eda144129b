"""Which services live: each says so every few seconds."""

from datetime import datetime, timedelta
from uuid import UUID

from shared.postgres.pool import Database

#: A service that said nothing for so long counts as gone.
SILENT = timedelta(seconds=8)


async def record_beat(database: Database, service: str, instance: UUID, started_at: datetime, now: datetime) -> None:
    """Say that an instance of a service lives."""
    await database.execute(
        "INSERT INTO service_beats (service, instance, started_at, beat_at) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (service, instance) DO UPDATE SET beat_at = $4",
        service,
        instance,
        started_at,
        now,
    )


async def retire(database: Database, instance: UUID) -> None:
    """Say that an instance has stopped, and forget those that died silently long ago."""
    await database.execute(
        "DELETE FROM service_beats WHERE instance = $1 OR beat_at < (SELECT max(beat_at) FROM service_beats)"
        " - interval '1 day'",
        instance,
    )


async def living(database: Database, now: datetime) -> dict[str, int]:
    """How many instances of each service live."""
    rows = await database.fetch(
        "SELECT service, count(*) AS instances FROM service_beats WHERE beat_at > $1 GROUP BY service", now - SILENT
    )
    return {row["service"]: row["instances"] for row in rows}
