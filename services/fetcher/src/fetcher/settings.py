"""The limits inside which providers are called."""

from pydantic import Field
from pydantic_settings import BaseSettings

from shared.settings import SOURCES


class FetcherSettings(BaseSettings):
    """All in the environment, prefix ``HUB_``."""

    model_config = SOURCES

    calls_in_flight: int = Field(default=2, ge=1)  # per caller registration, over all replicas
    call_seconds: float = Field(default=60.0, gt=0)  # total time-out of one call
    call_attempts: int = Field(default=2, ge=1)  # tries of one call, seconds apart; each counts as a call
    reserve_share: float = Field(default=0.10, ge=0, lt=1)  # of a budget, for race-day work and operators only
    backfill_share: float = Field(default=0.50, gt=0, le=1)  # of a budget, to which a backfill may bring the count
    slow_seconds: float = Field(default=20.0, gt=0)  # an answer that takes longer is slow
    slow_answers: int = Field(default=3, ge=1)  # so many slow answers in a row park a key
    park_seconds: float = Field(default=300.0, gt=0)  # for so long
    fetch_concurrency: int = Field(default=8, ge=1)  # requests a fetcher handles at once
    page_size: int = Field(default=2500, ge=50, le=2500)
    lease_seconds: float = Field(
        default=60.0, gt=0
    )  # renewed each third of it; a run whose fetcher died is taken over then
