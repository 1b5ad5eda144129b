"""How facts are printed: tables for people (80 columns, colour only on a terminal), JSON for programs."""

import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

import orjson
import typer
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

#: The option that every command which prints facts has.
Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")]

#: Words that are coloured wherever they stand in a table.
STYLES = {
    **dict.fromkeys(("failed", "expired", "refused", "bad", "late", "duplicate", "out_of_range"), "red"),
    **dict.fromkeys(("disabled", "warn", "held", "queued", "replaced", "unsealed", "skipped", "removed"), "yellow"),
    **dict.fromkeys(("active", "ok", "completed", "fresh", "kept", "given", "added"), "green"),
}


def out() -> Console:
    """Standard output, as it is now. Rich honours NO_COLOR, and a pipe gets neither colour nor more than 80 columns."""
    return Console(highlight=False, emoji=False, markup=False, soft_wrap=False)


def err() -> Console:
    """Standard error, likewise: progress goes there when standard output is a document."""
    return Console(stderr=True, highlight=False, emoji=False, markup=False)


def say(text: str, hang: int = 0, style: str = "", styled: int | None = None) -> None:
    """Text, no wider than the terminal; what is wrapped goes on in column ``hang``.

    A style colours its first so many characters, or all of it.
    """
    tell(out(), text, hang, style, styled)


def tell(console: Console, text: str, hang: int = 0, style: str = "", styled: int | None = None) -> None:
    """Text on a console, likewise."""
    lines = Text("\n".join(wrap(each, console.width, hang) for each in text.split("\n")))
    lines.stylize(style, 0, styled)
    console.print(lines, soft_wrap=True)


#: What is not broken: a word, be it longer than a line, and a command, which may be copied from the screen.
_WORD = re.compile(r"(\s*)(`[^`]*`\S*|hub(?: [a-z][a-z-]*){1,2}(?: --[a-z-]+| [A-Z]\b| \d{1,9}\b)*\S*|\S+)")


def wrap(line: str, room: int, hang: int = 0) -> str:
    """A line as several, each no wider than the room."""
    lines = [""]
    for blanks, word in _WORD.findall(line):
        if lines[-1].strip() and cell_len(lines[-1] + blanks + word) > room:
            lines.append(" " * hang + word)
        else:
            lines[-1] += blanks + word
    return "\n".join(lines)


def document(value: Any) -> None:
    """One JSON document, UTF-8 whatever the terminal speaks."""
    _write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z, default=str))


def line(value: Any) -> None:
    """One JSON object on a line of its own, at once."""
    _write(orjson.dumps(value, option=orjson.OPT_UTC_Z, default=str))


def _write(body: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(body + b"\n")
    sys.stdout.buffer.flush()


def table(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table; a column ``>…`` is aligned to the right; if room is short, ``*…`` gives way and ``~…`` goes on below."""
    console = out()
    cells = [[_cell(each) for each in row] for row in rows]
    names = [column.lstrip(">*~") for column in columns]
    widths = [max([cell_len(name), *(row[place].cell_len for row in cells)]) for place, name in enumerate(names)]
    grid = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column, name, width in zip(columns, names, fit(columns, widths, console.width), strict=True):
        side: JustifyMethod = "right" if column.startswith(">") else "left"
        whole = not column.startswith("~")
        grid.add_column(name, justify=side, no_wrap=whole, overflow="ellipsis", width=width, header_style="dim")
    for row in cells:
        grid.add_row(*row)
    console.print(grid)


def fit(columns: Sequence[str], widths: Sequence[int], room: int) -> list[int]:
    """Widths for the room, two blanks between; elastic columns give way, the widest first, to 6 at the least."""
    fitted = list(widths)
    elastic = [place for place, column in enumerate(columns) if column.startswith(("*", "~"))]
    over = sum(fitted) + 2 * (len(fitted) - 1) - room
    while over > 0 and elastic:
        widest = max(elastic, key=lambda place: fitted[place])
        if fitted[widest] <= 6:
            break
        fitted[widest] -= 1
        over -= 1
    return fitted


def _cell(value: object) -> Text:
    text = "" if value is None else f"{value:,}" if type(value) is int else clean(str(value)).strip()
    return Text(text, style=STYLES.get(text.split(" ")[0], ""))


def clean(text: str) -> str:
    """Text that cannot steer a terminal: control and direction characters are left out."""
    return "".join(each for each in text if not unicodedata.category(each).startswith("C"))


def since(moment: datetime | None, now: datetime) -> str:
    """How long ago, in one unit: 12 s, 7 min, 3 h, 5 d."""
    return "never" if moment is None else length(now - moment)


def length(span: timedelta) -> str:
    """A duration, in one unit."""
    seconds = max(0, int(span.total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def many(number: int, what: str) -> str:
    """A number of things: 1 race, 2 races, 3 people."""
    return f"{number:,} {what if number == 1 else 'people' if what == 'person' else what + 's'}"


def stamp(moment: datetime | None) -> str:
    """An instant, to the second, UTC."""
    return moment.strftime("%Y-%m-%d %H:%M:%SZ") if moment else ""


def size(number: int) -> str:
    """Bytes, in one unit."""
    amount = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
