"""The recorded shapes, and raw people with everything at its default: a test names only what matters to it."""

import json
from pathlib import Path
from typing import Any

from shared.providers.port import Answer

SAMPLES = Path(__file__).parents[4] / "samples" / "runsignup"


def sample(case: str) -> Answer:
    folder = SAMPLES / case
    (headers,) = folder.glob("*.json")
    return Answer(int(headers.stem), json.loads(headers.read_text()), (folder / "body").read_bytes())


def answer(document: Any, status: int = 200, **headers: str) -> Answer:
    body = json.dumps(document).encode()
    return Answer(status, {name.replace("_", "-"): text for name, text in headers.items()}, body)


def raw_person(registration_id: Any = 7100001, *, user: Any = None, **fields: Any) -> dict[str, Any]:
    return {
        "registration_id": registration_id,
        "event_id": 900101,
        "user": {"first_name": "Ada", "last_name": "Lindqvist", "gender": "F"} if user is None else user,
        "last_modified": 1810850564,
        **fields,
    }
