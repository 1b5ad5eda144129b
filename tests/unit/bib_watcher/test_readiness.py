"""Which batches may be acted on: a race's in order, and no race for another's sake."""

from hypothesis import given
from hypothesis import strategies as st

from bib_watcher.readiness import Batch, Race, ready

ONE: Race = (2, 1, "501")
OTHER: Race = (2, 1, "502")


def test_what_stands_behind_an_unsettled_batch_of_its_race_waits() -> None:
    batches = [Batch(1, ONE, True), Batch(2, ONE, False), Batch(3, OTHER, True), Batch(4, ONE, True)]
    assert ready(batches) == {ONE: [1], OTHER: [3]}


def test_the_race_that_was_first_in_the_feed_comes_first() -> None:
    assert list(ready([Batch(1, OTHER, True), Batch(2, ONE, True), Batch(3, OTHER, True)])) == [OTHER, ONE]


@given(st.lists(st.tuples(st.sampled_from([ONE, OTHER]), st.booleans())))
def test_each_race_gets_the_beginning_of_its_own_batches_up_to_the_first_unsettled(
    places: list[tuple[Race, bool]],
) -> None:
    batches = [Batch(number, race, settled) for number, (race, settled) in enumerate(places)]
    found = ready(batches)
    for race in (ONE, OTHER):
        own = [each for each in batches if each.race == race]
        length = len(found.get(race, []))
        assert found.get(race, []) == [each.batch_id for each in own[:length]]
        assert all(each.is_settled for each in own[:length])
        assert length == len(own) or not own[length].is_settled
