"""A batch's records, left as they came until somebody asks for one.

Most batches of a full pass say nothing new. Their `identities` tell it, and then nobody needs the records: to decode
them would cost more than all the rest of applying such a batch.
"""

from collections.abc import Iterator, Sequence
from typing import Any, overload

import orjson

from shared.errors import Never

#: Where a message's records begin when they come last, as `encode` writes them. No text in a message can hold this: in
#: it, the quotes would stand behind backslashes.
BEGIN, END = b',"records":[', b"]}}"


class Unopened(Sequence[Any]):
    """A JSON array of records, decoded once it is asked for."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self._records: list[Any] | None = None

    def _open(self) -> list[Any]:
        if self._records is None:
            try:
                self._records = orjson.loads(self.text)
            except orjson.JSONDecodeError:
                raise Never("the message's records are not JSON", reason="undecodable") from None
        return self._records

    @overload
    def __getitem__(self, place: int) -> Any: ...
    @overload
    def __getitem__(self, place: slice) -> list[Any]: ...
    def __getitem__(self, place: int | slice) -> Any:
        return self._open()[place]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._open())

    def __len__(self) -> int:
        return len(self._open())


def document_of(raw: bytes) -> Any:
    """A message as JSON values, its records unopened if it says itself who they are; raises what orjson raises."""
    start = raw.find(BEGIN)
    if start >= 0 and raw.endswith(END):
        try:
            document = orjson.loads(raw[:start] + b"}}")
            if document["data"]["identities"]:
                document["data"]["records"] = Unopened(raw[start + len(BEGIN) - 1 : 1 - len(END)])
                return document
        except (orjson.JSONDecodeError, KeyError, TypeError):
            pass  # somebody else's order of fields
    return orjson.loads(raw)
