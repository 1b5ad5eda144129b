"""The control interface under `/_sim`: what a test does to the provider, and what it may know (README: table)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

import orjson

from . import truth
from .fewest import fewest_calls
from .model import Race
from .mutations import Asked, mutate
from .requests import Request
from .responses import JSON, Response, answer
from .simulator import Simulator

PREFIX = "/_sim"
NDJSON = "application/x-ndjson"

Body = dict[str, Any]
Handler = Callable[[Simulator, Request, Body], Any]


def control(simulator: Simulator, request: Request, body: bytes) -> Response | Iterator[bytes]:
    """Carries out a command. A mistake is HTTP 400 with one sentence, never a silent nothing."""
    name = request.path.removeprefix(PREFIX).strip("/")
    handler = HANDLERS.get((request.method, name))
    if handler is None:
        known = ", ".join(f"{method} {path}" for method, path in HANDLERS)
        return _json({"error": f"no {request.method} {name} here; there are {known}"}, 404)
    try:
        values = orjson.loads(body) if body.strip() else {}
        if not isinstance(values, dict):
            raise ValueError("the body is a JSON object")
        simulator.advance()
        result = handler(simulator, request, values)
    except (ValueError, TypeError) as mistake:
        return _json({"error": str(mistake)}, 400)
    return result if isinstance(result, Iterator) else _json(result)


def _partners(simulator: Simulator, request: Request, body: Body) -> Any:
    return [
        {
            "name": partner.name,
            "form": partner.form,
            "key": partner.key,
            "secret": partner.secret,
            "race_ids": list(partner.race_ids),
            "revoked": partner.revoked,
        }
        for partner in simulator.world.partners.values()
    ]


def _mutate(simulator: Simulator, request: Request, body: Body) -> Any:
    """Like `Asked`, plus `count`. Stops with an error at the first that is impossible; what was done stays done."""
    count = int(body.pop("count", 1))
    if isinstance(body.get("starts_at"), str):
        body["starts_at"] = instant(body["starts_at"])
    asked = _build(Asked, body)
    done = []
    for _ in range(count):
        done.extend(mutate(simulator.world, asked, simulator.now()))
    return [asdict(change) for change in done]


def _set_pace(simulator: Simulator, request: Request, body: Body) -> Any:
    unknown = set(body) - {"per_second", "kinds", "race_ids"}
    if unknown:
        raise ValueError(f"no such field: {', '.join(sorted(unknown))}")
    race_ids = None if body.get("race_ids") is None else tuple(map(int, body["race_ids"]))
    simulator.pace.change(float(body.get("per_second", 0)), body.get("kinds"), race_ids, simulator.now())
    return simulator.pace.report()


def _set_clock(simulator: Simulator, request: Request, body: Body) -> Any:
    """`offset_seconds` against the process's clock, or the instant that it is `now`."""
    if "now" in body:
        simulator.offset_seconds += instant(body["now"]) - simulator.now()
    elif "offset_seconds" in body:
        simulator.offset_seconds = float(body["offset_seconds"])
    else:
        raise ValueError("the clock needs offset_seconds or now")
    return _clock(simulator, request, body)


def _clock(simulator: Simulator, request: Request, body: Body) -> Any:
    return {"now": truth.utc(simulator.now()), "epoch": simulator.now(), "offset_seconds": simulator.offset_seconds}


def _set_config(simulator: Simulator, request: Request, body: Body) -> Any:
    if body.pop("forget_quota", False):
        simulator.admission.forget()
    simulator.policy = simulator.policy.changed(body)
    return asdict(simulator.policy)


def _clear_faults(simulator: Simulator, request: Request, body: Body) -> Any:
    asked = request.query.get("id")
    return {"cleared": simulator.faults.clear(None if asked is None else int(asked))}


def _truth(simulator: Simulator, request: Request, body: Body) -> Iterator[bytes]:
    """One JSON object a line; race by race, so that a large world is never in memory twice."""
    query, world, now = request.query, simulator.world, simulator.now()
    include = frozenset(filter(None, query.get("include", "").split(",")))
    if not include <= set(truth.INCLUDES):
        raise ValueError(f"include is some of {', '.join(truth.INCLUDES)}")
    races = _races(simulator, query)
    scope, status = _scope(query), query.get("status")

    def lines() -> Iterator[bytes]:
        for race in races:
            people = truth.people_truth(world, race, now, scope=scope, include=include, status=status)
            batch = []
            for person in people:
                batch.append(orjson.dumps(person))
                if len(batch) == 500:
                    yield b"\n".join(batch) + b"\n"
                    batch.clear()
            if batch:
                yield b"\n".join(batch) + b"\n"

    return lines()


def _truth_events(simulator: Simulator, request: Request, body: Body) -> Iterator[bytes]:
    found = [
        event
        for race in _races(simulator, request.query)
        for event in truth.events_truth(simulator.world, race, simulator.now(), scope=_scope(request.query))
    ]
    return iter([b"".join(orjson.dumps(event) + b"\n" for event in found)])


def _races(simulator: Simulator, query: Mapping[str, str]) -> list[Race]:
    """Of one key or of all; also races that left the list or whose permission is gone: what was stored stays."""
    world, key = simulator.world, query.get("key")
    if key is not None and key not in world.partners:
        raise ValueError("no partner has this key")
    ids = list(world.races) if key is None else list(world.partners[key].race_ids)
    if "race_id" in query:
        ids = [id_ for id_ in ids if id_ == int(query["race_id"])]
    return [world.races[id_] for id_ in sorted(ids)]


def _scope(query: Mapping[str, str]) -> str:
    scope = query.get("scope", "future")
    if scope not in ("future", "all"):
        raise ValueError("scope is future or all")
    return scope


def _build(kind: type[Asked], body: Body) -> Asked:
    known = {field.name for field in fields(kind)}
    unknown = set(body) - known
    if unknown or "kind" not in body:
        raise ValueError(
            f"unknown or missing: {', '.join(sorted(unknown)) or 'kind'}; there are {', '.join(sorted(known))}"
        )
    if body.get("race_ids") is not None:
        body["race_ids"] = tuple(int(id_) for id_ in body["race_ids"])
    # The truth spells ids as text, so text is taken for them.
    numbers = ("race_id", "event_id", "registration_id", "to_event_id", "minutes", "people")
    body.update({name: int(body[name]) for name in numbers if body.get(name) is not None})
    return kind(**body)


def instant(value: str | float) -> float:
    """Unix seconds or ISO 8601; without an offset it is UTC."""
    if isinstance(value, int | float):
        return float(value)
    at = datetime.fromisoformat(value)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _json(value: Any, status: int = 200) -> Response:
    return answer(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS), JSON, status)


HANDLERS: dict[tuple[str, str], Handler] = {
    ("GET", "partners"): _partners,
    ("POST", "mutate"): _mutate,
    ("GET", "pace"): lambda simulator, request, body: simulator.pace.report(int(request.query.get("last", "100"))),
    ("POST", "pace"): _set_pace,
    ("POST", "faults"): lambda simulator, request, body: {"id": simulator.faults.add(body, simulator.now()).id},
    ("GET", "faults"): lambda simulator, request, body: [asdict(fault) for fault in simulator.faults.listed],
    ("DELETE", "faults"): _clear_faults,
    ("GET", "clock"): _clock,
    ("POST", "clock"): _set_clock,
    ("GET", "config"): lambda simulator, request, body: asdict(simulator.policy),
    ("POST", "config"): _set_config,
    ("GET", "audit"): lambda simulator, request, body: (
        simulator.audit.report() | {"in_flight": simulator.admission.in_flight}
    ),
    ("GET", "truth"): _truth,
    ("GET", "truth/events"): _truth_events,
    ("GET", "fewest"): lambda simulator, request, body: fewest_calls(simulator.world, simulator.now()),
}
