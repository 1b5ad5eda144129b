"""A whole message as a JSON Schema: the envelope, and in it the body of its type."""

import json
from pathlib import Path
from typing import Any

from shared.contracts import MESSAGES, Envelope

SCHEMAS = Path(__file__).parent / "schemas"
SAMPLES = Path(__file__).parent / "samples"
UPDATE = ".venv/bin/python -m tests.contracts.update"


def schema_of(message_type: str) -> dict[str, Any]:
    """What a consumer accepts under this type."""
    body = MESSAGES[message_type].model_json_schema()
    envelope = Envelope.model_json_schema()
    shared_parts = {**envelope.pop("$defs", {}), **body.pop("$defs", {})}
    envelope["properties"]["type"] = {"const": message_type}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **envelope,
        "title": message_type,
        "properties": {**envelope["properties"], "data": body},
        "required": [*envelope["required"], "data"],
        "$defs": shared_parts,
    }


def text_of(message_type: str) -> str:
    """As it stands in its golden file."""
    return json.dumps(schema_of(message_type), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def fields_of(schema: dict[str, Any]) -> set[str]:
    """The name of every field of a message's body, those of objects inside it included."""
    found = set(schema.get("properties", {}))
    for part in schema.get("$defs", {}).values():
        found |= set(part.get("properties", {}))
    return found
