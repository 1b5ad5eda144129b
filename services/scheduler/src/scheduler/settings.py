"""The schedule: how often a race is asked for, by the time to its nearest start."""

from pathlib import Path

from pydantic import Field

from shared.cadences import PlanSettings
from shared.deadlines import DeadlineSettings


class SchedulerSettings(PlanSettings, DeadlineSettings):
    """All in the environment, prefix ``HUB_``; the rest stands in `shared/cadences.py` and `shared/deadlines.py`."""

    plan_seconds: int = Field(default=300, ge=1)  # between two looks at which hours to come do not fit a budget
    tick_seconds: float = Field(default=1.0, gt=0)  # between two looks at what is due; a notification comes sooner
    backfill_runs: int = Field(default=4, ge=1)  # of a backfill, on their way at once
    request_seconds: int = Field(default=600, ge=1)  # a request that no fetcher began by then is sent again
    summary_file: Path | None = None  # the last day in numbers, as JSON, written each hour
    archive_days: float = Field(default=14, ge=0)  # raw batches are kept this long
