"""The envelope: what every message says about itself, and its way to bytes and back."""

import re
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from shared.bus.port import Message
from shared.contracts.messages import MESSAGES, BibChange, Body, Counts, Diff, Failure
from shared.contracts.records import document_of
from shared.errors import Never

B = TypeVar("B", bound=Body)


def _field_names() -> set[str]:
    names = {name for model in MESSAGES.values() for name in model.model_fields}
    typed = {*Diff.__annotations__, *BibChange.__annotations__}
    return names | typed | set(Failure.model_fields) | set(Counts.model_fields)


class Envelope(BaseModel):
    """Who said it, when, and in answer to what. AMQP properties mirror it."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    id: UUID
    type: str
    occurred_at: AwareDatetime
    correlation_id: UUID | None = None  # the sync run
    causation_id: UUID | None = None  # the message that led to this one
    source: str  # the service


def encode(
    body: Body,
    *,
    id: UUID,  # noqa: A002 — the envelope's own word
    occurred_at: datetime,
    source: str,
    correlation_id: UUID | None = None,
    causation_id: UUID | None = None,
) -> Message:
    """A message ready for the bus."""
    document = {
        "id": str(id),  # as text: drivers bring their own kinds of UUID
        "type": body.TYPE,
        "occurred_at": occurred_at,
        "correlation_id": str(correlation_id) if correlation_id else None,
        "causation_id": str(causation_id) if causation_id else None,
        "source": source,
        "data": body.content(),
    }
    return Message(
        id=str(id),
        type=body.TYPE,
        routing_key=body.routing_key(),
        body=orjson.dumps(document),
        correlation_id=str(correlation_id) if correlation_id else None,
    )


def decode(raw: bytes) -> tuple[Envelope, Body]:
    """Read a message of any known type; raises Never, naming the field but not its value, when it is none."""
    try:
        document: Any = document_of(raw)
    except (orjson.JSONDecodeError, RecursionError):
        raise Never("the message is not JSON", reason="undecodable") from None
    if not isinstance(document, dict):
        raise Never("the message is not a JSON object", reason="undecodable")
    model = MESSAGES.get(str(document.get("type")))
    if model is None:
        raise Never("the message's type is not one of ours", reason="unknown_type")
    try:
        return Envelope.model_validate(document), model.model_validate(document.get("data"))
    except ValidationError as error:
        raise Never(describe(error), reason="invalid") from None


def describe(error: ValidationError) -> str:
    """What is wrong with a message, field by field, in words of ours: pydantic's own repeat parts of the values."""
    parts = []
    for each in error.errors(include_input=False, include_url=False, include_context=False)[:5]:
        where = ".".join(_step(step) for step in each["loc"][:3]) or "data"
        parts.append(f"{where}: {_wrong(each['type'], each['msg'])}")
    return "; ".join(parts)


def _step(step: int | str) -> str:
    """A part of a place: our own field names are told, a key that somebody else chose is not."""
    return str(step) if isinstance(step, int) or _OURS.fullmatch(step) else "…"


def _wrong(kind: str, message: str) -> str:
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return message.removeprefix("Value error, ")  # a sentence of our own
    return f"is not usable ({kind.replace('_', ' ')})"


#: Names of fields are ours when some model has them.
_OURS = re.compile("|".join({"id", "type", "occurred_at", "correlation_id", "causation_id", "source", *_field_names()}))
