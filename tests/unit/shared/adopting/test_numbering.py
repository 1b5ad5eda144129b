"""Which number means which provider: what the keys prove is believed before a name."""

from shared.postgres.adopting.numbering import renumber

AS_THEY_CAME = {1: "RunSignUp", 2: "ChronoTrack", 3: "Race Roster", 4: "Haku", 5: "Copernico"}


def test_the_fixed_numbers_stay_and_further_providers_keep_theirs() -> None:
    found = renumber({1: "Chronotrack", 2: "RunSignUp", 7: "Copernico"}, {2})
    assert (found.moved, found.further, found.notes, found.doubt) == ({}, {7: "Copernico"}, (), None)


def test_without_a_table_of_providers_nothing_moves() -> None:
    assert renumber({}, set()).moved == {}


def test_providers_counted_as_they_came_move_to_their_fixed_numbers() -> None:
    found = renumber(AS_THEY_CAME, {1})
    assert found.moved == {1: 2, 2: 1, 5: 6}
    assert found.further == {6: "Copernico"}
    assert len(found.notes) == 3


def test_keys_under_2_that_fetched_runsignups_people_prove_that_2_was_meant_all_along() -> None:
    found = renumber(AS_THEY_CAME, {2})
    assert found.moved == {}
    assert "ChronoTrack" in found.notes[0]


def test_a_name_counts_where_no_key_proves_anything() -> None:
    assert renumber(AS_THEY_CAME, set()).moved == {1: 2, 2: 1, 5: 6}
    assert renumber({9: "Run Sign-Up"}, set()).moved == {9: 2}


def test_what_cannot_be_told_is_asked() -> None:
    assert "--runsignup" in str(renumber({2: "Chronotrack"}, set()).doubt)
    assert "--runsignup" in str(renumber(AS_THEY_CAME, {3}).doubt)
    assert renumber(AS_THEY_CAME, {3}, said=1).moved == {1: 2, 2: 1, 5: 6}
