"""`python -m tests.contracts.update`: write the golden schemas anew, after a change that needs no new version.

That is an optional field more. Anything else is a new type, with both alive for a while. Samples are never updated:
what was once sent must stay readable.
"""

from shared.contracts import MESSAGES
from tests.contracts.schema import SCHEMAS, text_of


def update() -> None:
    SCHEMAS.mkdir(exist_ok=True)
    for old in SCHEMAS.glob("*.json"):
        if old.stem not in MESSAGES:
            old.unlink()
            print(f"removed {old.name}")
    for message_type in MESSAGES:
        path, text = SCHEMAS / f"{message_type}.json", text_of(message_type)
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            print(f"wrote {path.name}")


if __name__ == "__main__":
    update()
