"""How long a run may take, from its first call to its completion: then it expires, and its race is due again."""

from pydantic import Field
from pydantic_settings import BaseSettings

from shared.domain.run import Mode, SyncClass
from shared.settings import SOURCES


class DeadlineSettings(BaseSettings):
    """All in the environment, prefix ``HUB_``; seconds. A lost message costs this long at the most."""

    model_config = SOURCES

    deadline_raceday_seconds: int = Field(default=180, ge=1)  # also of a follow-up, and of what an operator asks for
    deadline_near_seconds: int = Field(default=600, ge=1)
    deadline_far_seconds: int = Field(default=1800, ge=1)
    deadline_full_seconds: int = Field(default=1800, ge=1)  # at least this for a full pass
    deadline_backfill_seconds: int = Field(default=7200, ge=1)  # whatever is nearer goes first, for as long as it takes

    def deadline(self, sync_class: SyncClass, mode: Mode) -> int:
        """Of a run of this class."""
        allowed = {
            SyncClass.RACEDAY: self.deadline_raceday_seconds,
            SyncClass.NEAR: self.deadline_near_seconds,
            SyncClass.ROUTINE: self.deadline_far_seconds,
            SyncClass.BACKFILL: self.deadline_backfill_seconds,
        }[sync_class]
        return max(allowed, self.deadline_full_seconds) if mode is Mode.FULL else allowed
