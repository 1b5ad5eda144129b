"""Person by person, field by field: is what is stored what the provider has?"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from shared.ops.demo.provider import PretendProvider
from shared.postgres import Database

TEXT_FIELDS = (
    "race_id",
    "event_id",
    "user_id",
    "first_name",
    "middle_name",
    "last_name",
    "email",
    "gender",
    "phone",
    "profile_image_url",
    "bib",
    "chip",
    "age",
)
JSON_FIELDS = ("address", "team_info", "payment_info", "additional_data")
TIME_FIELDS = {"registered_at": "registered_at", "modified_at": "provider_modified_at"}


@dataclass(slots=True)
class Comparison:
    """What was found; ids and field names only."""

    compared: int = 0
    identical: int = 0
    missing: list[str] = field(default_factory=list)  # the provider has them, we do not
    surplus: list[str] = field(default_factory=list)  # we show them, the provider does not
    different: dict[str, list[str]] = field(default_factory=dict)  # registration: fields

    @property
    def is_clean(self) -> bool:
        """Everybody is there, nobody too many, every field equal."""
        return not (self.missing or self.surplus or self.different)


def differing_fields(truth: Mapping[str, Any], row: Mapping[str, Any]) -> list[str]:
    """The mapped fields in which a stored row differs from the truth."""
    wrong = [name for name in TEXT_FIELDS if truth[name] != row[name]]
    wrong += [name for name in JSON_FIELDS if truth[name] != orjson.loads(row[name])]
    wrong += [name for name, column in TIME_FIELDS.items() if truth[name] != _text(row[column])]
    if truth["dob"] != _text(row["dob"]):
        wrong.append("dob")
    return wrong


def _text(moment: Any) -> str | None:
    return None if moment is None else str(moment.isoformat())


async def compare(
    database: Database, provider: PretendProvider, keys: Mapping[str, int], into: Comparison, *, scope: str = "future"
) -> None:
    """Compare every active person of every future (or all) event; ``keys`` says which partner each key belongs to."""
    for key, timing_partner_id in keys.items():
        rows = await database.fetch(
            """
            SELECT p.* FROM participants p
            JOIN events e USING (provider_id, timing_partner_id, event_id)
            WHERE p.timing_partner_id = $1 AND p.removed_at IS NULL
            """,
            timing_partner_id,
        )
        stored = {row["registration_id"]: dict(row) for row in rows}
        async for truth in provider.truth(key, scope=scope):
            into.compared += 1
            row = stored.pop(truth["registration_id"], None)
            if row is None:
                into.missing.append(truth["registration_id"])
            elif wrong := differing_fields(truth, row):
                into.different[truth["registration_id"]] = wrong
            else:
                into.identical += 1
        into.surplus += sorted(stored)
