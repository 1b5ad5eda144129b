"""What becomes of a record, whatever the order in which messages come."""

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.participant import Participant, Removal
from tests.builders import EVENT, RACE, at
from writer.merging import (
    Decision,
    Loss,
    Outcome,
    Version,
    differences,
    judge,
    judge_removal,
    latest_of_each,
    may_remove,
    worth_telling,
)

BLANK = dict.fromkeys(Participant._fields)


def a_participant(registration_id: str = "7001", *, modified: float | None = 0, **fields: Any) -> Participant:
    bib = fields.get("bib")
    return Participant(
        **{
            **BLANK,
            "registration_id": registration_id,
            "race_id": RACE,
            "event_id": EVENT,
            "address": "{}",
            "team_info": "{}",
            "payment_info": "{}",
            "additional_data": "{}",
            "provider_modified_at": None if modified is None else at(modified),
            "content_hash": f"{bib}@{modified}".encode(),
            **fields,
        }
    )


def a_removal(*, modified: float | None = 0) -> Removal:
    return Removal("7001", RACE, EVENT, "removed", None, None if modified is None else at(modified), None, None)


def a_version(
    *,
    bib: str | None = None,
    modified: float | None = 0,
    fetched: float = 0,
    presence: float = 0,
    removed: bool = False,
) -> Version:
    moment = None if modified is None else at(modified)
    return Version(f"{bib}@{modified}".encode(), moment, at(fetched), at(presence), removed)


@dataclass
class Row:
    """One stored row, written as the writer writes it."""

    version: Version | None = None
    bib: str | None = None
    overwrites: list[tuple[Any, Any]] = field(default_factory=list)

    def present(self, incoming: Participant, fetched_at: datetime) -> None:
        decision = judge(incoming, fetched_at, self.version)
        old = self.version
        if old is None or decision.write_fields:
            presence = fetched_at if old is None else max(old.presence_at, fetched_at)
            removed = old is not None and old.is_removed and decision.outcome is not Outcome.RESTORED
            if old is not None:
                self.overwrites.append((old.provider_modified_at, incoming.provider_modified_at))
            self.version = Version(incoming.content_hash, incoming.provider_modified_at, fetched_at, presence, removed)
            self.bib = incoming.bib
        elif decision.outcome is Outcome.RESTORED:
            assert old is not None
            self.version = Version(old.content_hash, old.provider_modified_at, old.fetched_at, fetched_at, False)

    def gone(self, removal: Removal, fetched_at: datetime) -> None:
        match judge_removal(removal, fetched_at, self.version):
            case Outcome.ADDED:
                self.version = Version(b"", removal.provider_modified_at, fetched_at, fetched_at, True)
            case Outcome.REMOVED | Outcome.UNCHANGED:
                old = self.version
                assert old is not None
                presence = max(old.presence_at, fetched_at)
                self.version = Version(old.content_hash, old.provider_modified_at, old.fetched_at, presence, True)


@st.composite
def edits_and_looks(draw: st.DrawFn) -> list[tuple[Participant, datetime]]:
    """A person edited some times, each edit with its instant, and what looks at later moments found, in any order."""
    edits = sorted(draw(st.sets(st.integers(0, 50), min_size=1, max_size=6)))
    looks = draw(st.lists(st.integers(edits[0], 60), min_size=1, max_size=8))
    found = []
    for look in looks:
        edit = max(each for each in edits if each <= look)
        found.append((a_participant(modified=edit, bib=str(edit)), at(look)))
    repeated = found + draw(st.lists(st.sampled_from(found), max_size=4))
    return draw(st.permutations(repeated))


@given(edits_and_looks())
def test_any_order_of_any_repetition_ends_with_the_newest_version(messages: list[tuple[Participant, datetime]]) -> None:
    row = Row()
    for participant, fetched_at in messages:
        row.present(participant, fetched_at)
    newest = max(messages, key=lambda each: (each[0].provider_modified_at, each[1]))[0]
    assert row.bib == newest.bib


@given(edits_and_looks())
def test_an_older_version_never_overwrites_a_newer_one(messages: list[tuple[Participant, datetime]]) -> None:
    row = Row()
    for participant, fetched_at in messages:
        row.present(participant, fetched_at)
    assert all(before <= after for before, after in row.overwrites)


@given(
    looks=st.lists(
        st.tuples(st.integers(0, 99), st.booleans()), min_size=1, max_size=8, unique_by=lambda each: each[0]
    ),
    data=st.data(),
)
def test_presence_ends_with_what_was_fetched_last_when_every_return_is_an_edit(
    looks: list[tuple[int, bool]], data: st.DataObject
) -> None:
    """A provider that takes somebody back edits the registration, so what is there again is newer than its removal."""
    row = Row()
    for second, there in data.draw(st.permutations(looks)):
        if there:
            row.present(a_participant(modified=second, bib=str(second)), at(second))
        else:
            row.gone(a_removal(modified=second), at(second))
    assert row.version is not None
    assert row.version.is_removed is not max(looks)[1]


@pytest.mark.parametrize(
    ("stored", "incoming", "fetched", "outcome"),
    [
        (None, a_participant(), 0, Outcome.ADDED),
        (a_version(bib="1"), a_participant(bib="1"), 9, Outcome.UNCHANGED),
        (a_version(bib="1"), a_participant(bib="2", modified=5), 9, Outcome.UPDATED),
        (a_version(bib="1", modified=9), a_participant(bib="2", modified=5), 99, Outcome.STALE),
        # equally modified, but the mapping changed or a field that moves no date did: what was fetched later counts
        (a_version(bib="1", fetched=5), a_participant(bib="2"), 9, Outcome.UPDATED),
        (a_version(bib="1", fetched=9), a_participant(bib="2"), 5, Outcome.STALE),
        # replayed: the same fetch time, another hash
        (a_version(bib="1", fetched=5), a_participant(bib="2"), 5, Outcome.UPDATED),
        # without a date, by the fetch time alone; with one is newer than without
        (a_version(bib="1", modified=None, fetched=5), a_participant(bib="2", modified=None), 4, Outcome.STALE),
        (a_version(bib="1", modified=None, fetched=5), a_participant(bib="2", modified=-9), 4, Outcome.UPDATED),
        # gone: back only when seen after it left
        (a_version(removed=True, presence=5), a_participant(bib="2", modified=3), 6, Outcome.RESTORED),
        (a_version(removed=True, presence=5), a_participant(bib="2", modified=3), 5, Outcome.UPDATED),
        (a_version(removed=True, presence=5), a_participant(), 4, Outcome.UNCHANGED),
        (a_version(removed=True, presence=5), a_participant(), 6, Outcome.RESTORED),
    ],
)
def test_what_becomes_of_a_record(
    stored: Version | None, incoming: Participant, fetched: float, outcome: Outcome
) -> None:
    assert judge(incoming, at(fetched), stored).outcome is outcome


def test_who_comes_back_with_an_older_version_keeps_the_newer_fields() -> None:
    decision = judge(
        a_participant(bib="1", modified=3), at(9), a_version(bib="2", modified=5, removed=True, presence=7)
    )
    assert (decision.outcome, decision.write_fields) == (Outcome.RESTORED, False)


@pytest.mark.parametrize(
    ("stored", "modified", "fetched", "outcome"),
    [
        (None, 0, 0, Outcome.ADDED),
        (a_version(), 3, 4, Outcome.REMOVED),
        (a_version(removed=True), 3, 4, Outcome.UNCHANGED),
        (a_version(presence=4), 3, 4, Outcome.STALE),  # seen at the same moment: there
        (a_version(presence=9), 3, 4, Outcome.STALE),
        (a_version(modified=5), 3, 9, Outcome.STALE),  # edited after it left: it came back
        (a_version(modified=5), 5, 9, Outcome.REMOVED),
        (a_version(modified=5), None, 9, Outcome.REMOVED),
        (a_version(modified=None), 3, 9, Outcome.REMOVED),
    ],
)
def test_what_becomes_of_an_entry_in_the_list_of_removed(
    stored: Version | None, modified: float | None, fetched: float, outcome: Outcome
) -> None:
    assert judge_removal(a_removal(modified=modified), at(fetched), stored) is outcome


def test_of_two_records_of_one_registration_the_later_modified_counts() -> None:
    new, old = a_participant(modified=9, bib="9"), a_participant(modified=1, bib="1")
    assert latest_of_each([new, old]) == [new]
    assert latest_of_each([old, new]) == [new]


def test_of_two_records_equally_modified_the_later_in_the_batch_counts() -> None:
    first, second = a_participant(bib="1"), a_participant(bib="2")
    assert latest_of_each([first, second]) == [second]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.integers(0, 5)), max_size=9))
def test_a_batch_holds_each_registration_once(rows: list[tuple[str, int | None]]) -> None:
    kept = latest_of_each([a_participant(name, modified=modified) for name, modified in rows])
    assert sorted(each.registration_id for each in kept) == sorted({name for name, _ in rows})


def test_a_diff_names_each_changed_field_with_before_and_after() -> None:
    before = a_participant(bib="1", dob=date(1986, 1, 6), last_name="Lindqvist")._asdict()
    after = a_participant(bib="2", dob=date(1986, 1, 7), last_name="Lindqvist")
    assert differences(before, after) == {"bib": ("1", "2"), "dob": ("1986-01-06", "1986-01-07")}


def test_json_spelled_differently_is_no_difference() -> None:
    before = a_participant(address='{"city":"Oslo", "zip": null}')._asdict()
    assert differences(before, a_participant(address='{"zip":null,"city":"Oslo"}')) == {}


def test_json_that_says_something_else_is_a_difference() -> None:
    before = a_participant(address='{"city":"Oslo"}')._asdict()
    after = a_participant(address='{"city":"Bergen"}')
    assert differences(before, after) == {"address": ({"city": "Oslo"}, {"city": "Bergen"})}


def test_any_record_replaces_an_adopted_row_and_none_brings_back_whom_an_older_one_cannot() -> None:
    adopted = Version(b"", at(9), at(9), at(9), is_removed=False)
    assert judge(a_participant(modified=1), at(5), adopted) == Decision(Outcome.UPDATED, write_fields=True)
    gone = Version(b"", at(9), at(9), at(9), is_removed=True)
    assert judge(a_participant(modified=1), at(5), gone).outcome is Outcome.STALE


def test_of_an_adopted_row_only_what_both_systems_spell_alike_is_told() -> None:
    changes = {"bib": (None, "7"), "payment_info": ({"race_fee": 0.0}, {"race_fee": None}), "notes": (None, "x")}
    known = {"content_hash": b"1", "removed_at": None}
    assert worth_telling(known, changes) == changes
    assert worth_telling(known | {"content_hash": b""}, changes) == {"bib": (None, "7")}


FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "bib": st.none() | st.text(max_size=3),
        "age": st.none() | st.integers(-5, 120),
        "first_name": st.none() | st.text(max_size=3),
        "dob": st.none() | st.dates(),
        "additional_data": st.sampled_from(['{"a":1}', '{"a": 1}', '{"a":2}', "{}"]),
    },
)


@given(FIELDS, FIELDS)
def test_a_diff_applied_to_the_row_before_gives_the_row_after(old: dict[str, Any], new: dict[str, Any]) -> None:
    before, after = a_participant(**old)._asdict(), a_participant(**new)
    diff = differences(before, after)
    for name in old.keys() | new.keys():
        if name in diff:
            assert diff[name][0] != diff[name][1]
        elif name != "additional_data":
            assert before[name] == getattr(after, name)


@pytest.mark.parametrize(
    ("loss", "verdict"),
    [
        (Loss(missing=3, active=10, seen=7, unreadable=0), (True, "")),
        (Loss(missing=3, active=10, seen=7, unreadable=1), (False, "unreadable")),
        (Loss(missing=3, active=3, seen=0, unreadable=0), (False, "empty")),
        (Loss(missing=15, active=30, seen=15, unreadable=0), (True, "")),  # a small race may lose half of its people
        (Loss(missing=16, active=30, seen=14, unreadable=0), (False, "too_many")),  # and not more
        (Loss(missing=4, active=5, seen=1, unreadable=0), (True, "")),  # but four people are four people
        (Loss(missing=26, active=520, seen=494, unreadable=0), (True, "")),  # exactly a twentieth
        (Loss(missing=26, active=519, seen=493, unreadable=0), (False, "too_many")),
        (Loss(missing=1000, active=1000, seen=1, unreadable=0), (False, "too_many")),
    ],
)
def test_a_loss_is_believed_unless_it_is_too_large_or_not_proven(loss: Loss, verdict: tuple[bool, str]) -> None:
    assert may_remove(loss, share=0.05, people=25) == verdict
