"""What a plot shows of a broken line."""

from tests.plots import Frame, Series, lines


def test_a_value_between_two_breaks_is_a_point_and_others_are_a_line() -> None:
    frame = Frame("runs", [], 0, 6)
    alone = lines(frame, [Series("rate", [(0, 5.0), (1, 6.0), (2, None), (3, 7.0), (4, None), (5, 8.0)])])
    assert alone.count("<circle") == 2  # the fourth and the last
    assert "<circle" not in lines(frame, [Series("rate", [(0, 5.0), (1, 6.0)])])
