"""How the writer works."""

from pydantic import Field
from pydantic_settings import BaseSettings

from shared.settings import SOURCES


class WriterSettings(BaseSettings):
    """All in the environment, prefix ``HUB_``."""

    model_config = SOURCES

    write_concurrency: int = Field(default=4, ge=1)  # batches of one race take turns; so others go on meanwhile
    removal_share: float = Field(default=0.05, ge=0, le=1)  # a pass that would remove more than this share ...
    removal_people: int = Field(default=25, ge=0)  # ... and more people than this is held back
