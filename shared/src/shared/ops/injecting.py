"""`hub inject`: hand-written messages, validated all together, and published all or none."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import orjson
import typer

from shared.bus.port import Message
from shared.bus.topology import MAX_MESSAGE_BYTES
from shared.contracts import Body, Envelope, ParticipantsFetched, SyncRequest, decode, encode
from shared.errors import Never
from shared.ops import show
from shared.ops.desk import Desk, at_desk
from shared.ops.failing import WrongUsage
from shared.postgres import Database
from shared.postgres.outbox import tell
from shared.providers.registry import PROVIDERS

#: Wrong lines that are told one by one.
TOLD = 20


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("inject")(inject)


@dataclass(frozen=True, slots=True)
class Entry:
    """One message as it was written, and where."""

    place: str
    document: Any  # None: it is not JSON


def inject(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="One JSON message a line, or a JSON array.")],
    check: Annotated[bool, typer.Option("--check", help="Only validate.")] = False,
    json: show.Json = False,
) -> None:
    """Publish hand-written messages. All are validated first; if one is wrong, none is published (exit 2).

    A message is a whole envelope, or just {"type": ..., "data": ...}: what is missing of the envelope is filled in,
    and a sync request's run_id too. MESSAGES.md tells the types.

    Example: hub inject messages.jsonl
    """
    entries = list(parse(_read(file)))
    if not entries:
        raise WrongUsage("there is no message in it; one JSON object a line, or a JSON array of them")
    messages, live = at_desk(lambda desk: _publish(desk, entries, check=check))
    if json:
        facts = [{"id": each.id, "type": each.type, "run_id": each.correlation_id} for each in messages]
        show.document({"published": not check, "messages": facts, "services_live": live})
        return
    if check:
        show.say(f"Valid: {show.many(len(messages), 'message')}; nothing was published.")
    else:
        when = "on the way" if live else "published once a service runs (hub up)"
        show.say(f"Accepted: {show.many(len(messages), 'message')}; {when}.")


def _read(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise WrongUsage(
            f"the file cannot be read ({type(error).__name__}); name another one, or - for standard input"
        ) from None


def parse(raw: bytes) -> Iterator[Entry]:
    """The messages of a text, each with its place: an array's item, else a line."""
    if raw.lstrip().startswith(b"["):
        try:
            items = orjson.loads(raw)
        except orjson.JSONDecodeError:
            yield Entry("the array", None)
            return
        yield from (Entry(f"item {place}", item) for place, item in enumerate(items, 1))
        return
    for place, line in enumerate(raw.split(b"\n"), 1):
        if line.strip():
            try:
                yield Entry(f"line {place}", orjson.loads(line))
            except orjson.JSONDecodeError:
                yield Entry(f"line {place}", None)


def complete(document: dict[str, Any], new_id: UUID, now: datetime) -> dict[str, Any]:
    """The envelope filled in where it was left out; an id that is given is kept, so that a repetition is one."""
    filled = {"id": str(new_id), "occurred_at": now.isoformat(), "source": "hub", **document}
    data = filled.get("data")
    if filled.get("type") == SyncRequest.TYPE and isinstance(data, dict):
        filled["data"] = {"run_id": filled["id"], **data}
    if filled.get("type") == ParticipantsFetched.TYPE and isinstance(data, dict):
        # A record edited by hand would pass for the one that it was made from: the writer looks itself.
        filled["data"] = {**data, "identities": None}
    return filled


def validate(entry: Entry, new_id: UUID, now: datetime) -> tuple[Envelope, Body]:
    """Read a message; raises Never, naming fields but no values."""
    if entry.document is None:
        raise Never("it is not JSON")
    if not isinstance(entry.document, dict):
        raise Never("it is not a JSON object")
    envelope, body = decode(orjson.dumps(complete(entry.document, new_id, now)))
    provider = getattr(body, "provider", None)
    if provider is not None and provider not in PROVIDERS:
        raise Never(f"provider: not one that is known ({', '.join(PROVIDERS)})")
    if isinstance(body, SyncRequest) and body.kind in {"race", "bib"} and not body.race_id:
        raise Never(f"race_id: a request of kind {body.kind} needs one")
    if isinstance(body, SyncRequest) and body.kind == "bib" and not body.bib:
        raise Never("bib: a request of kind bib needs one")
    return envelope, body


def as_message(envelope: Envelope, body: Body) -> Message:
    """The message as our own services would have written it; raises Never when it is too large for a broker."""
    message = encode(
        body,
        id=envelope.id,
        occurred_at=envelope.occurred_at,
        source=envelope.source,
        correlation_id=envelope.correlation_id or getattr(body, "run_id", None),
        causation_id=envelope.causation_id,
    )
    if len(message.body) > MAX_MESSAGE_BYTES:
        raise Never(f"it has {len(message.body):,} bytes, {MAX_MESSAGE_BYTES:,} are allowed")
    return message


async def _publish(desk: Desk, entries: list[Entry], *, check: bool) -> tuple[list[Message], bool]:
    messages, wrong, now = [], [], desk.clock.now()
    for entry in entries:
        try:
            envelope, body = validate(entry, desk.new_id(), now)
            await _check_owner(desk.database, body)
            messages.append(as_message(envelope, body))
        except Never as error:
            wrong.append(f"{entry.place}: {error}")
    if wrong:
        for sentence in wrong[:TOLD]:
            show.tell(show.err(), sentence, 2)
        raise WrongUsage(f"{len(wrong)} of {len(entries)} messages are wrong, so none was published; correct them")
    if not check:
        async with desk.database.transaction("publishing") as connection:
            for message in messages:
                await tell(connection, message, now=now)
    return messages, not await desk.silent()


async def _check_owner(database: Database, body: Body) -> None:
    """Whoever acts on a message needs a key that exists, and is the partner's."""
    credential_id, partner_id = getattr(body, "credential_id", None), getattr(body, "timing_partner_id", None)
    if credential_id is None:
        return
    owner = await database.fetchval(
        "SELECT timing_partner_id FROM public.partner_provider_credentials WHERE partner_provider_credential_id = $1",
        credential_id if credential_id < 2**31 else 0,
    )
    if owner is None:
        raise Never("credential_id: there is no such credential (see: hub partner list --json)")
    if owner != partner_id:
        raise Never("timing_partner_id: the credential belongs to another partner")
