"""The schedule: how often a race is asked for, by the time to its nearest start."""

from pathlib import Path

from pydantic import Field

from shared.cadences import PlanSettings


class SchedulerSettings(PlanSettings):
    """All in the environment, prefix ``HUB_``; the rest of the schedule's stands in `shared/cadences.py`."""

    plan_seconds: int = Field(default=300, ge=1)  # between two looks at which hours to come do not fit a budget
    tick_seconds: float = Field(default=1.0, gt=0)  # between two looks at what is due; a notification comes sooner
    deadline_raceday_seconds: int = Field(default=180, ge=1)  # from a run's first call to completion; then it expires
    deadline_near_seconds: int = Field(default=600, ge=1)
    deadline_far_seconds: int = Field(default=1800, ge=1)
    deadline_full_seconds: int = Field(default=1800, ge=1)  # at least this for a full pass
    deadline_backfill_seconds: int = Field(default=7200, ge=1)  # whatever is nearer goes first, for as long as it takes
    backfill_runs: int = Field(default=4, ge=1)  # of a backfill, on their way at once
    request_seconds: int = Field(default=600, ge=1)  # a request that no fetcher began by then is sent again
    summary_file: Path | None = None  # the last day in numbers, as JSON, written each hour
    archive_days: float = Field(default=14, ge=0)  # raw batches are kept this long
