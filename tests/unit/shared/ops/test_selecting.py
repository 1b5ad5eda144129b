"""Which partner is meant."""

import pytest

from shared.ops.failing import WrongUsage
from shared.ops.selecting import Partner, choose, number


def a_partner(partner_id: int, name: str) -> Partner:
    return Partner(partner_id, name, True, (), 0, 0)


PARTNERS = [a_partner(1, "Fast Timing"), a_partner(2, "1"), a_partner(3, "Twin"), a_partner(4, "twin")]


def test_a_partner_is_found_by_name_whatever_its_capitals() -> None:
    assert choose(PARTNERS, " fast TIMING ").partner_id == 1


def test_a_number_is_a_partners_number_before_it_is_a_name() -> None:
    assert choose(PARTNERS, "1").partner_id == 1


def test_a_name_that_two_partners_have_is_asked_back_by_number() -> None:
    with pytest.raises(WrongUsage, match="3, 4"):
        choose(PARTNERS, "Twin")


def test_an_unknown_partner_is_answered_with_the_known_ones() -> None:
    with pytest.raises(WrongUsage, match="1 Fast Timing") as caught:
        choose(PARTNERS, "s3cret-in-the-wrong-place")
    assert "s3cret" not in str(caught.value)


def test_without_any_partner_the_next_step_is_told() -> None:
    with pytest.raises(WrongUsage, match="hub partner add"):
        choose([], "Fast Timing")


def test_only_what_can_be_an_id_is_repeated() -> None:
    assert number("81009") == "81009"
    assert "s3cret" not in number("s3cret")
