"""What a person takes in the database, and whether each index is worth its bytes."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.postgres import Database
from tests.bench.figures import Figure

TABLES = ("participants", "raw_batches", "changes", "applied_batches")


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes a person, and how often each index of the participants was used since the first load began."""

    table: dict[str, float]  # with indexes and TOAST
    indexes: dict[str, tuple[float, int]]  # bytes a person, scans


async def sizes(database: Database, people: int) -> Sizes:
    """Read the server's own counts."""
    tables = {name: await database.fetchval(f"SELECT pg_total_relation_size('hub.{name}')") / people for name in TABLES}
    rows = await database.fetch(
        "SELECT indexrelname AS name, pg_relation_size(indexrelid) AS bytes, idx_scan AS scans"
        " FROM pg_stat_user_indexes WHERE schemaname = 'hub' AND relname = ANY($1) ORDER BY 1",
        ["participants", "changes"],
    )
    return Sizes(tables, {row["name"]: (row["bytes"] / people, row["scans"]) for row in rows})


def figures(rounds: Sequence[Sizes]) -> list[Figure]:
    """Of the last round: sizes do not vary."""
    last = rounds[-1]
    indexes = "; ".join(f"{name} {size:.0f} bytes, {scans:,} scans" for name, (size, scans) in last.indexes.items())
    return [
        Figure("database, a participant with its indexes", last.table["participants"], "bytes", None, indexes),
        Figure(
            "archive, a participant",
            last.table["raw_batches"],
            "bytes",
            None,
            f"kept a fortnight; beside it the change feed {last.table['changes']:.0f} bytes,"
            f" the inbox {last.table['applied_batches']:.0f}",
        ),
    ]
