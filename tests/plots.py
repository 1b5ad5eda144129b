"""Small plots as SVG text: lines or bars over a scale, with marked spans, and nothing that our page does not need."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

WIDTH, HEIGHT = 860, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 34, 34
COLOURS = ("#1f6feb", "#d1242f", "#8b949e")


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or one set of bars; a break in a line is a None."""

    name: str
    values: Sequence[tuple[float, float | None]]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the horizontal axis with a word to it."""

    first: float
    last: float
    name: str


@dataclass(frozen=True, slots=True)
class Frame:
    """What a plot is drawn in."""

    title: str
    ticks: Sequence[tuple[float, str]]  # of the horizontal axis
    first: float
    last: float
    limit: tuple[float, str] | None = None  # a promise, as a dashed line
    spans: Sequence[Span] = ()


def lines(frame: Frame, series: Sequence[Series]) -> str:
    """A plot of lines."""
    x, y, parts = _axes(frame, series)
    for number, each in enumerate(series):
        path = []
        for _, run in groupby(each.values, lambda point: point[1] is None):
            places = [(f"{x(at):.1f}", f"{y(value):.1f}") for at, value in run if value is not None]
            if places:
                path.append("M" + "L".join(map(",".join, places)))
            if len(places) == 1:  # a line of one point would not be seen
                parts.append(f'<circle cx="{places[0][0]}" cy="{places[0][1]}" r="2" fill="{COLOURS[number]}"/>')
        parts.append(f'<path d="{"".join(path)}" fill="none" stroke="{COLOURS[number]}" stroke-width="1.4"/>')
    return _document(frame, series, parts)


def bars(frame: Frame, series: Sequence[Series], width: float) -> str:
    """A plot of bars, each ``width`` of the horizontal axis wide; several series stand before each other."""
    x, y, parts = _axes(frame, series)
    for number, each in enumerate(series):
        for at, value in each.values:
            if value:
                left, right = x(at), x(at + width)
                parts.append(
                    f'<rect x="{left:.1f}" y="{y(value):.1f}" width="{max(0.5, right - left - 1):.1f}"'
                    f' height="{y(0) - y(value):.1f}" fill="{COLOURS[number]}" fill-opacity="0.75"/>'
                )
    return _document(frame, series, parts)


Scale = Callable[[float], float]


def _axes(frame: Frame, series: Sequence[Series]) -> tuple[Scale, Scale, list[str]]:
    values = [value for each in series for _, value in each.values if value is not None]
    top = max([*values, frame.limit[0] if frame.limit else 0, 1]) * 1.05

    def x(at: float) -> float:
        return LEFT + (at - frame.first) / (frame.last - frame.first) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)

    parts = []
    for span in frame.spans:
        left, right = x(span.first), max(x(span.last), x(span.first) + 2)
        parts.append(
            f'<rect x="{left:.1f}" y="{TOP}" width="{right - left:.1f}" height="{HEIGHT - TOP - BOTTOM}" fill="#f2cc60"'
            f' fill-opacity="0.5"/><text x="{left + 4:.1f}" y="{TOP + 11}">{escape(span.name)}</text>'
        )
    parts += [
        f'<path d="M{LEFT},{y(value):.1f}H{WIDTH - RIGHT}" stroke="#d8dee4" stroke-width="0.7"/>'
        f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:,.0f}</text>'
        for value in _steps(top)
    ]
    parts += [
        f'<text x="{x(at):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{escape(name)}</text>'
        for at, name in frame.ticks
    ]
    if frame.limit is not None:
        limit, name = frame.limit
        parts.append(
            f'<path d="M{LEFT},{y(limit):.1f}H{WIDTH - RIGHT}" stroke="#57606a" stroke-dasharray="5 4"/>'
            f'<text x="{WIDTH - RIGHT}" y="14" text-anchor="end">- - -  {escape(name)}</text>'
        )
    return x, y, parts


def _steps(top: float) -> list[float]:
    """Four to eight round values up to the top."""
    size = next(each * 10**power for power in range(9) for each in (1, 2, 5) if top / (each * 10**power) <= 8)
    return [size * number for number in range(int(top / size) + 1)]


def _document(frame: Frame, series: Sequence[Series], parts: Sequence[str]) -> str:
    names, at = [], float(LEFT)
    for number, each in enumerate(series):
        names.append(
            f'<rect x="{at}" y="20" width="10" height="8" fill="{COLOURS[number]}"/>'
            f'<text x="{at + 14}" y="28">{escape(each.name)}</text>'
        )
        at += 30 + 6.2 * len(each.name)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="11">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
        f'<text x="{LEFT}" y="14" font-size="13" font-weight="bold">{escape(frame.title)}</text>'
        + "\n".join([*names, *parts])
        + "</svg>\n"
    )
