"""Every setting of the code stands in .env.example with its default, and nothing else does."""

import re
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from bib_watcher.settings import BibWatcherSettings
from fetcher.settings import FetcherSettings
from scheduler.settings import SchedulerSettings
from shared.ops.backfill_forecast import Limits
from shared.ops.schema import RoleSettings
from shared.settings import Settings
from writer.settings import WriterSettings

ROOT = Path(__file__).parents[3]
ALL: tuple[type[BaseSettings], ...] = (
    Settings,
    SchedulerSettings,
    FetcherSettings,
    WriterSettings,
    BibWatcherSettings,
    RoleSettings,
    Limits,  # others' settings, read for what they mean to an operator
)
LINE = re.compile(r"^# (HUB_[A-Z_]+)=(\S*)", re.MULTILINE)


def listed() -> dict[str, str]:
    return dict(LINE.findall((ROOT / ".env.example").read_text()))


def test_every_setting_is_listed_and_every_listed_one_exists() -> None:
    known = {f"HUB_{name.upper()}" for each in ALL for name in each.model_fields}
    assert set(listed()) == known


@pytest.mark.parametrize("kind", ALL)
def test_listed_defaults_are_the_defaults(kind: type[BaseSettings]) -> None:
    page = listed()
    for name, field in kind.model_fields.items():
        said = page[f"HUB_{name.upper()}"]
        if isinstance(field.default, bool):
            assert said == str(field.default).lower()
        elif isinstance(field.default, int | float):
            assert float(said) == float(field.default)
