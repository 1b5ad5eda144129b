"""The busiest weekend has the sizes and peaks of a real one."""

from collections import Counter

from tests.weekend.calendar import AFTER, BEFORE, Sizes, at, busiest_weekend, timed
from tests.weekend.scripts import FRIDAY


def test_the_calendar_has_the_sizes_and_peaks_of_a_real_one() -> None:
    calendar = busiest_weekend(1, FRIDAY, Sizes())
    world = calendar.world
    assert (len(world.partners), len(world.races)) == (13, 285)
    assert sum(len(race.events) for race in world.races.values()) == 937
    races = [world.races[race_id] for race_id in calendar.race_ids]
    assert len(races) == 36
    peaks = set()
    for minute in {at(event.starts_at or 0) - BEFORE for race in races for event in timed(race)}:
        within: Counter[int] = Counter()
        for race in races:
            within[race.race_id] += sum(
                at(event.starts_at or 0) - BEFORE <= minute <= at(event.starts_at or 0) + AFTER for event in timed(race)
            )
        peaks.add((sum(within.values()), sum(map(bool, within.values()))))
    assert max(peaks)[0] == 49
    assert (49, 12) in peaks
    assert max(races for _, races in peaks) == 12


def test_forty_races_of_one_key_are_on_no_other() -> None:
    calendar = busiest_weekend(1, FRIDAY, Sizes(on_saturday=40, on_sunday=0, peak=None, together=40))
    owners = Counter(
        key
        for key, partner in calendar.world.partners.items()
        for race_id in calendar.race_ids
        if race_id in partner.race_ids
    )
    assert list(owners.values()) == [40]
