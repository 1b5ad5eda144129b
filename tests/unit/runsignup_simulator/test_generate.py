"""The world has the sizes of real life, the same for the same seed."""

from __future__ import annotations

import itertools
from datetime import datetime

import pytest

from runsignup_simulator import FULL, SMALL, World, WorldPlan, bench_plan, generate
from runsignup_simulator.spelling import zone
from runsignup_simulator.world import future_events

NOW = 1_795_521_600.0


@pytest.fixture(scope="module")
def full() -> World:
    return generate(FULL, NOW)


def counts(world: World, now: float = NOW) -> dict[int, int]:
    return {e.event_id: world.active_count(r, e) for r in world.races.values() for e in future_events(r, now)}


def test_full_world_has_thirteen_partners_of_both_credential_forms(full: World) -> None:
    assert len(full.partners) == 13
    assert {partner.form for partner in full.partners.values()} == {"v1", "v2"}


def test_full_world_has_1329_events_of_which_231_are_future(full: World) -> None:
    assert sum(len(race.events) for race in full.races.values()) == 1_329
    assert len(counts(full)) == 231


def test_full_world_has_150000_people_more_than_50000_of_them_in_future_events(full: World) -> None:
    everybody = sum(full.active_count(race, event) for race in full.races.values() for event in race.events)
    assert everybody == 150_000
    assert sum(counts(full).values()) == 56_623


def test_exactly_one_event_has_25000_people_and_some_have_nobody(full: World) -> None:
    sizes = sorted(counts(full).values())
    assert sizes[-1] == 25_000
    assert sizes[-2] < 25_000
    assert sizes[0] == 0


def test_invented_rosters_are_as_large_as_planned(full: World) -> None:
    race = max(full.races.values(), key=lambda race: sum(full.active_count(race, event) for event in race.events))
    planned = [full.active_count(race, event) for event in race.events]
    roster = full.roster(race.race_id)
    assert [roster.count(event.event_id) for event in race.events] == planned


def test_most_plain_starts_are_on_a_weekend_in_the_race_zone(full: World) -> None:
    days = [
        datetime.fromtimestamp(event.starts_at or 0, zone(race.timezone)).weekday()
        for race in full.races.values()
        for event in race.events
        if not event.virtual
    ]
    assert 0.78 < sum(day >= 5 for day in days) / len(days) < 0.92


def test_nine_zones_virtual_multi_day_bundle_and_volunteer_events_occur(full: World) -> None:
    events = [event for race in full.races.values() for event in race.events]
    assert len({race.timezone for race in full.races.values()}) == 9
    assert 0.08 < sum(event.virtual for event in events) / len(events) < 0.18
    assert any(event.sub_event_ids for event in events)
    assert any(event.volunteer for event in events)
    assert any(
        event.ends_at and not event.virtual and event.ends_at - event.starts_at > 86_400
        for event in events
        if event.starts_at
    )


def test_some_races_start_within_four_hours_and_some_within_a_day(full: World) -> None:
    starts = [event.starts_at or 0 for race in full.races.values() for event in race.events]
    assert any(NOW < start < NOW + 4 * 3_600 for start in starts)
    assert any(NOW + 4 * 3_600 < start < NOW + 24 * 3_600 for start in starts)


def test_one_race_is_linked_to_two_partners(full: World) -> None:
    linked = [race_id for partner in full.partners.values() for race_id in partner.race_ids]
    assert len(linked) - len(set(linked)) == 1


def test_races_are_reused_every_year_under_rising_edition_ids(full: World) -> None:
    for race in full.races.values():
        editions = [(event.race_event_days_id, event.event_id) for event in race.events]
        assert editions == sorted(editions)
    assert any(len({event.race_event_days_id for event in race.events}) > 3 for race in full.races.values())


def test_registration_ids_roughly_ascend_with_time(full: World) -> None:
    people = sorted(full.roster(next(iter(full.races))))
    times = [person.registered_at for person in people]
    assert all(later > earlier - 1_200 for earlier, later in itertools.pairwise(times))
    assert all(person.registered_at <= person.last_modified <= NOW for person in people)


def test_same_seed_gives_the_same_people_and_another_seed_others() -> None:
    one, same, other = generate(SMALL, NOW), generate(SMALL, NOW), generate(WorldPlan(seed=7), NOW)
    assert one.races == same.races
    assert one.partners == same.partners
    # The order in which rosters are looked at does not matter.
    ids = list(one.races)
    first = {id_: list(one.roster(id_)) for id_ in ids}
    second = {id_: list(same.roster(id_)) for id_ in reversed(ids)}
    assert first == second
    assert set(one.partners).isdisjoint(other.partners)


def test_bundle_people_appear_in_the_sub_events_with_the_same_bib(full: World) -> None:
    bundles = [(race, event) for race in full.races.values() for event in race.events if event.sub_event_ids]
    race, event = max(bundles, key=lambda pair: full.active_count(*pair))
    roster = full.roster(race.race_id)
    owners = [roster[id_] for id_ in roster.ids([event.event_id])]
    copies = {(p.event_id, p.via_registration_id): p for p in roster if p.via_registration_id}
    assert owners
    for owner in owners:
        for sub in event.sub_event_ids:
            copy = copies[sub, owner.registration_id]
            assert (copy.bib, copy.runner) == (owner.bib, owner.runner)


def test_hostile_people_occur_and_all_mail_is_to_example_com(full: World) -> None:
    people = [person for race_id in list(full.races)[:40] for person in full.roster(race_id)]
    names = {person.runner.first_name for person in people}
    assert any("\x00" in name for name in names)
    assert any(len(name) == 300 for name in names)
    assert any("🏃" in name for name in names)
    assert all(p.runner.email is None or p.runner.email.endswith("@example.com") for p in people)
    assert {type(person.transaction_id) for person in people} == {str, int, type(None)}
    assert any(person.runner.user_id is None for person in people)
    assert {person.runner.gender for person in people} >= {"F", "M", "X"}


@pytest.mark.parametrize("seed", range(1, 9))
def test_every_seed_makes_a_world(seed: int) -> None:
    world = generate(WorldPlan(seed=seed), NOW + seed * 11 * 86_400)
    sizes = counts(world, NOW + seed * 11 * 86_400)
    assert (len(sizes), sum(sizes.values())) == (231, 56_623)


def test_bench_plan_takes_its_own_numbers() -> None:
    world = generate(bench_plan(future_people=70_000, largest_event=9_000), NOW)
    assert sum(counts(world).values()) == 70_000
    assert max(counts(world).values()) == 9_000


def test_weekend_plan_has_every_event_in_the_future() -> None:
    plan = WorldPlan(events=937, future_events=937, people=120_000, future_people=120_000, largest_event=9_000)
    world = generate(plan, NOW)
    assert len(counts(world)) == 937
    assert 200 < sum(bool(future_events(race, NOW)) for race in world.races.values()) < 400


def test_impossible_plan_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="largest event <= future people"):
        WorldPlan(largest_event=60_000)
