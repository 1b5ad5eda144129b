"""How bibs are watched."""

from pydantic import Field
from pydantic_settings import BaseSettings

from shared.settings import SOURCES


class BibWatcherSettings(BaseSettings):
    """All in the environment, prefix ``HUB_``."""

    model_config = SOURCES

    follow_up: bool = True  # a detected bib change asks for that race again
    sweep_seconds: float = Field(default=5.0, gt=0)  # the feed is looked at by itself this often
    sweep_diffs: int = Field(default=2000, ge=1)  # diffs looked at in one transaction
