"""The schedule's settings: the environment's, over them a partner's, over those a race's (the table ``cadences``)."""

from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings

from shared.domain.cadence import Cadence
from shared.settings import SOURCES

log = structlog.get_logger()


class CadenceValues(BaseModel):
    """How often a race is asked for, by the time to its nearest start."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    interval_far_seconds: int = Field(default=3600, ge=1)  # more than 24 h before a start
    interval_near_seconds: int = Field(default=900, ge=1)  # within 24 h
    interval_raceday_seconds: int = Field(default=60, ge=1)  # within 4 h, until an hour past the start
    interval_long_seconds: int = Field(default=3600, ge=1)  # virtual and multi-day events, until registration ends
    interval_tail_seconds: int = Field(default=21600, ge=1)  # events that are over, for a while
    near_hours: float = Field(default=24, gt=0)
    raceday_hours: float = Field(default=4, gt=0)
    after_start_hours: float = Field(default=1, ge=0)
    tail_hours: float = Field(default=48, ge=0)  # so long after its last hour an event is asked for no more
    long_hours: float = Field(default=24, gt=0)  # a longer event that begins at midnight is not chased
    full_pass_hours: float = Field(default=24, gt=0)
    removals_every: int = Field(default=5, ge=1)  # rounds
    jitter: float = Field(default=0.1, ge=0, lt=1)  # share of an interval, so that forty races do not tick together

    def cadence(self) -> Cadence:
        """The settings, as the decisions know them."""
        return Cadence(
            far=timedelta(seconds=self.interval_far_seconds),
            near=timedelta(seconds=self.interval_near_seconds),
            raceday=timedelta(seconds=self.interval_raceday_seconds),
            long=timedelta(seconds=self.interval_long_seconds),
            tail=timedelta(seconds=self.interval_tail_seconds),
            near_window=timedelta(hours=self.near_hours),
            raceday_window=timedelta(hours=self.raceday_hours),
            after_start=timedelta(hours=self.after_start_hours),
            tail_window=timedelta(hours=self.tail_hours),
            long_length=timedelta(hours=self.long_hours),
            full_pass=timedelta(hours=self.full_pass_hours),
            removals_every=self.removals_every,
            jitter=self.jitter,
        )


class CadenceSettings(CadenceValues, BaseSettings):
    """The environment's, prefix ``HUB_``."""

    model_config = SOURCES


class PlanSettings(CadenceSettings):
    """What the forecast of a budget stands on beside the cadence."""

    discovery_seconds: int = Field(default=3600, ge=1)  # between two looks at a credential's list of races
    reserve_share: float = Field(default=0.10, ge=0, lt=1)  # of a budget, for race-day work and operators only


class Cadences:
    """The cadence of each race: its own settings over its partner's over the environment's."""

    def __init__(self, base: CadenceValues, layers: Mapping[tuple[int, str], Mapping[str, Any]]) -> None:
        self._base = {name: getattr(base, name) for name in CadenceValues.model_fields}
        self._default = base.cadence()
        self._layers = layers
        self._of_race = lru_cache(maxsize=None)(self._overlaid)

    def of(self, timing_partner_id: int, race_id: str) -> Cadence:
        """A race's cadence; settings that cannot be are passed over, and told in the log."""
        if not self._layers:
            return self._default
        mine = race_id if (timing_partner_id, race_id) in self._layers else ""
        return self._of_race(timing_partner_id, mine)

    @property
    def wanted(self) -> timedelta:
        """How long after its last moment an event is asked for, by whichever cadence asks longest."""
        return max([self._default.wanted, *(self.of(partner, race).wanted for partner, race in self._layers)])

    def _overlaid(self, timing_partner_id: int, race_id: str) -> Cadence:
        values = CadenceValues(**self._base)
        for name in dict.fromkeys(("", race_id)):
            layer = self._layers.get((timing_partner_id, name), {})
            try:
                values = CadenceValues.model_validate({**values.model_dump(), **layer})
            except ValidationError as error:
                log.warning(
                    "Settings of a cadence cannot be used; correct them with `hub cadence`.",
                    action="cadence_unusable",
                    partner=timing_partner_id,
                    race=name or None,
                    fields=sorted({str(each["loc"][0]) for each in error.errors() if each["loc"]}),
                )
        return values.cadence()
