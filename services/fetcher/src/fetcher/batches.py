"""Cutting a page into messages small enough for a broker."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from shared.bus.port import Message
from shared.bus.topology import MAX_MESSAGE_BYTES

#: A race record with its events is some ten kilobytes, a person one or two.
RACES_A_BATCH = 50


def cut(
    records: Sequence[Any], size: int, make: Callable[[Sequence[Any], int], Message], first_sequence: int
) -> list[Message]:
    """Messages of at most ``size`` records each, numbered from ``first_sequence``; a too large one is halved.

    A single record larger than a message may be is sent all the same and refused by the bus: Never.
    """
    messages: list[Message] = []
    for portion in _portions(records, size):
        stack = [portion]
        while stack:
            part = stack.pop()
            message = make(part, first_sequence + len(messages))
            if len(message.body) > MAX_MESSAGE_BYTES and len(part) > 1:
                half = len(part) // 2
                stack += [part[half:], part[:half]]
            else:
                messages.append(message)
    return messages


def _portions(records: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(records), size):
        yield records[start : start + size]
