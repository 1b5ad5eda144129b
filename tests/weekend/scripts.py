"""The weekends that are played: the whole one, and what of it is played again under other conditions."""

from datetime import UTC, datetime, timedelta

from runsignup_simulator.spelling import EASTERN
from tests.weekend.calendar import Sizes, busiest_weekend
from tests.weekend.happenings import Amounts, prepare
from tests.weekend.play import Script

#: Friday evening, when the bibs of the weekend begin to be handed out; it lasts until Sunday, 22:00.
FRIDAY = datetime(2027, 6, 4, 18, tzinfo=EASTERN).astimezone(UTC)
#: The hub begins with an empty database, so long before: early enough to announce the hours that do not fit a budget.
LOADING = timedelta(hours=4)

#: How long nothing happens any more. On a Saturday morning Sunday's bibs are being handed out, and seen once an hour.
QUIET, HOURLY = timedelta(minutes=10), timedelta(minutes=70)

NAMES = ("weekend", "half", "one-key")


def script(name: str, seed: int) -> Script:
    """``weekend``: all of it. ``half``: its busiest hours at half the budget. ``one-key``: 40 races of one key."""
    saturday = FRIDAY + timedelta(hours=6)
    begins, ends = FRIDAY, FRIDAY + timedelta(hours=52)
    if name != "weekend":
        begins, ends = saturday + timedelta(hours=6), saturday + timedelta(hours=9)
    gathered = Sizes(on_saturday=40, on_sunday=0, peak=None, together=40)
    calendar = busiest_weekend(seed, FRIDAY, gathered if name == "one-key" else Sizes())
    return Script(
        seed=seed,
        calendar=calendar,
        happenings=prepare(calendar, begins, seed, Amounts()),
        loads_from=begins - LOADING,
        begins=begins,
        ends=ends,
        brown_out=(saturday + timedelta(hours=6.5), saturday + timedelta(hours=6, minutes=50)),
        killed_at=saturday + timedelta(hours=31.5) if name == "weekend" else None,
        calls_per_hour=500 if name == "half" else 1000,
        settling=QUIET if name == "weekend" else HOURLY,
    )
