"""How bibs are watched."""

from pydantic import Field

from shared.deadlines import DeadlineSettings


class BibWatcherSettings(DeadlineSettings):
    """All in the environment, prefix ``HUB_``."""

    raceday_hours: float = Field(default=4, gt=0)  # a blank within so long of a start is told as what it is
    after_start_hours: float = Field(default=1, ge=0)
    follow_up: bool = True  # a detected bib change asks for that race again
    sweep_seconds: float = Field(default=5.0, gt=0)  # the feed is looked at by itself this often
    sweep_diffs: int = Field(default=2000, ge=1)  # about so many bib diffs of a race are acted on in one transaction
    # A run's diffs are acted on together once it is over, or, while it goes on, this long after they were written.
    settle_seconds: float = Field(default=10.0, ge=0)
