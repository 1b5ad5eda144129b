"""Whatever happens, the lists and the truth say the same."""

from __future__ import annotations

from collections import Counter

import pytest

from runsignup_simulator import SMALL, Policy, Simulator, World, generate
from runsignup_simulator.model import Race
from runsignup_simulator.mutations import KEY_KINDS, KINDS, PERSON_KINDS, Asked, mutate
from runsignup_simulator.pace import DEFAULT_WEIGHTS
from runsignup_simulator.targets import Impossible
from runsignup_simulator.truth import people_truth

from .conftest import NOW, Asker, Clock


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in KEY_KINDS])
def test_every_kind_happens_and_reports_itself(world: World, kind: str) -> None:
    changes = mutate(world, Asked(kind), NOW + 5)
    assert kind in {change.kind for change in changes}
    for change in changes:
        assert change.race_id in world.races
        if kind in PERSON_KINDS and kind != "checked_in":
            assert world.roster(change.race_id or 0)[change.registration_id or 0].last_modified == int(NOW + 5)


def test_swapped_bibs_change_owners_in_one_second(world: World) -> None:
    one, other = mutate(world, Asked("bib_swapped"), NOW)
    assert (one.before, one.after) == (other.after, other.before)
    assert one.before != one.after


def test_bib_given_twice_is_worn_by_two_people(world: World) -> None:
    change = mutate(world, Asked("bib_given_twice"), NOW)[0]
    roster = world.roster(change.race_id or 0)
    bibs = Counter(p.bib for p in roster if p.active and p.event_id == change.event_id)
    assert bibs[change.after] >= 2


def test_asked_bib_and_person_are_taken(world: World, busiest: Race) -> None:
    person = next(p for p in world.roster(busiest.race_id) if p.active)
    asked = Asked("bib_changed", race_id=busiest.race_id, registration_id=person.registration_id, bib=4_711)
    assert mutate(world, asked, NOW)[0].after == 4_711


def test_new_registrations_get_ever_higher_ids(world: World) -> None:
    ids = [mutate(world, Asked("registered"), NOW + n)[0].registration_id or 0 for n in range(20)]
    assert ids == sorted(set(ids))
    assert ids[0] > max(
        p.registration_id for race_id in world.races for p in world.roster(race_id) if p.last_modified < NOW
    )


def test_moved_start_can_be_an_instant_or_none_at_all(world: World, busiest: Race) -> None:
    event_id = busiest.events[-1].event_id
    moved = mutate(world, Asked("start_moved", event_id=event_id, starts_at=NOW + 7_200), NOW)
    assert [change.after for change in moved] == [int(NOW + 7_200)]
    gone = mutate(world, Asked("start_moved", event_id=event_id, without_start=True), NOW)
    assert [change.after for change in gone] == [None]


def test_what_cannot_happen_says_so(world: World) -> None:
    with pytest.raises(Impossible, match="no race 1"):
        mutate(world, Asked("edited", race_id=1), NOW)
    with pytest.raises(ValueError, match="no such kind: eaten"):
        mutate(world, Asked("eaten"), NOW)
    with pytest.raises(Impossible, match="key"):
        mutate(world, Asked("key_revoked"), NOW)


def test_after_a_thousand_changes_lists_and_truth_agree(world: World, clock: Clock) -> None:
    simulator = Simulator(world, clock, Policy(quota=100_000))
    simulator.pace.change(100, None, None, clock.now)
    for _ in range(10):
        clock.now += 1
        simulator.advance()
    assert simulator.pace.done > 900
    assert {change.kind for change in simulator.pace.log} >= set(DEFAULT_WEIGHTS) - {"cleared"}
    for partner in world.partners.values():
        asker = Asker(simulator, partner)
        for race_id in partner.race_ids:
            race = world.races[race_id]
            walked = {row["registration_id"]: row for row in asker.walk(race, 37)}
            truth = {
                int(p["registration_id"]): p for p in people_truth(world, race, clock.now, scope="all", status="active")
            }
            assert walked.keys() == truth.keys()
            for id_, row in walked.items():
                assert str(row["event_id"]) == truth[id_]["event_id"]
                assert (str(row["bib_num"] or "").strip() or None) == truth[id_]["bib"]


def test_changes_follow_the_seed(clock: Clock) -> None:
    def history() -> list[object]:
        simulator = Simulator(generate(SMALL, NOW), clock)
        simulator.pace.change(50, None, None, NOW)
        simulator.pace.run(simulator.world, NOW + 4)
        return list(simulator.pace.log)

    assert history() == history()


def test_pace_never_touches_what_no_client_can_see(world: World, clock: Clock) -> None:
    simulator = Simulator(world, clock)
    away = [race_id for race_id in world.races if race_id % 2]
    for race_id in away[:-1]:
        mutate(world, Asked("race_left_list", race_id=race_id), NOW)
    mutate(world, Asked("permission_revoked", race_id=away[-1]), NOW)
    simulator.pace.change(100, None, None, NOW)
    simulator.pace.run(world, NOW + 3)
    assert simulator.pace.log
    assert not {change.race_id for change in simulator.pace.log} & set(away)
