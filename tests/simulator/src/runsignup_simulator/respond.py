"""`respond`: the whole API as one function from a request to a response, without any I/O."""

from __future__ import annotations

from collections.abc import Callable

from .access import caller_accepted, identify
from .endpoints.neighbours import bib_validation_settings, checkin_timestamps, entity_info
from .endpoints.participants import participants
from .endpoints.race import race
from .endpoints.races import races
from .endpoints.removed import removed_participants
from .policy import Policy
from .question import Question
from .requests import Request
from .responses import Response, page
from .world import World

DEFAULT_POLICY = Policy()
FORMATS = ("json", "xml")

_OF_A_RACE: dict[str, Callable[[Question], Response]] = {
    "participants": participants,
    "removed-participants": removed_participants,
    "get-bib-validation-settings": bib_validation_settings,
}
_FIXED: dict[tuple[str, ...], Callable[[Question], Response]] = {
    ("races",): races,
    ("v2", "auth-info", "entity-info.json"): entity_info,
    ("v2", "participants", "checkin-timestamps.json"): checkin_timestamps,
}


def respond(world: World, request: Request, now: float, policy: Policy = DEFAULT_POLICY) -> Response:
    """The provider's answer. Limits and faults are not decided here: see `Simulator`."""
    if not request.route:
        return page(404, "Not Found")
    question = Question(world, request, identify(world, request), policy, now)
    method = _method(request.route)
    if not caller_accepted(policy, request):
        return question.refuse(17)
    if method is None:
        return question.refuse(1)
    if request.method != "GET":
        return question.refuse(2)
    if question.wire_format not in FORMATS:
        return question.refuse(10)
    return method(question)


def _method(route: tuple[str, ...]) -> Callable[[Question], Response] | None:
    if len(route) == 2 and route[0] == "race":
        return race
    if len(route) == 3 and route[0] == "race":
        return _OF_A_RACE.get(route[2])
    return _FIXED.get(route)
