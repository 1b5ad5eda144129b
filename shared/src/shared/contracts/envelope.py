"""The envelope: what every message says about itself, and its way to bytes and back."""

from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from shared.bus.port import Message
from shared.contracts.messages import MESSAGES, Body
from shared.errors import Never

B = TypeVar("B", bound=Body)


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
        document: Any = orjson.loads(raw)
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
    """What is wrong with a message, field by field, without any of its values."""
    parts = []
    for each in error.errors(include_input=False, include_url=False, include_context=False)[:5]:
        where = ".".join(str(part) for part in each["loc"]) or "the message"
        parts.append(f"{where}: {each['msg']}")
    return "; ".join(parts)
