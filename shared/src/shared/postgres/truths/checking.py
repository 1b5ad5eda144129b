"""What a truth is, how all of them are checked, and where the outcome is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.postgres.pool import Connection

#: Ids told of what breaks a truth; the number tells the rest.
EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Truth:
    """Something that must hold at any time.

    ``sql`` gets the present instant as $1 and returns a text for each thing that breaks it: ids, never a person.
    """

    name: str
    means: str  # what a failure means and what to do, a sentence
    sql: str


@dataclass(frozen=True, slots=True)
class Checked:
    """A truth, and what broke it when it was looked at last."""

    name: str
    means: str
    checked_at: datetime
    broken: int
    examples: tuple[str, ...]


async def check(connection: Connection, truths: Sequence[Truth], now: datetime) -> list[Checked]:
    """Look at each truth and keep what was found; safe to repeat. Reads only, but for the outcome."""
    found = []
    for truth in truths:
        broken = [str(row[0]) for row in await connection.fetch(truth.sql, now)]
        await connection.execute(
            "INSERT INTO checks (name, means, checked_at, broken, examples) VALUES ($1, $2, $3, $4, $5)"
            " ON CONFLICT (name) DO UPDATE SET means = $2, checked_at = $3, broken = $4, examples = $5",
            truth.name,
            truth.means,
            now,
            len(broken),
            broken[:EXAMPLES],
        )
        found.append(Checked(truth.name, truth.means, now, len(broken), tuple(broken[:EXAMPLES])))
    return found


async def last_checked(connection: Connection) -> list[Checked]:
    """What was found the last time, by name."""
    rows = await connection.fetch("SELECT name, means, checked_at, broken, examples FROM checks ORDER BY name")
    return [
        Checked(row["name"], row["means"], row["checked_at"], row["broken"], tuple(row["examples"])) for row in rows
    ]
