"""The stand-in as a whole: world, door, misfortunes, book of calls, and a clock that is passed in."""

from __future__ import annotations

import random
from collections.abc import Callable
from email.utils import formatdate

from .access import caller_accepted, identify
from .admission import ANONYMOUS, Admission
from .audit import Audit
from .damage import Delivery, damage
from .faults import Faults
from .pace import Pace
from .policy import Policy
from .requests import Request
from .respond import respond
from .responses import Response
from .world import World

Clock = Callable[[], float]


class Simulator:
    """Decides everything about a call but does no I/O: `begin`, deliver, `finish`.

    `answer` does all of it at once, for a mock transport.
    """

    def __init__(self, world: World, now: Clock, policy: Policy | None = None) -> None:
        self.world = world
        self.policy = policy or Policy()
        self.audit = Audit()
        self.admission = Admission(self.audit)
        self.faults = Faults(random.Random(f"{world.seed}-faults"))
        self.pace = Pace()
        self.offset_seconds = 0.0
        self._clock = now

    def now(self) -> float:
        return self._clock() + self.offset_seconds

    def begin(self, request: Request) -> Delivery:
        """The call arrives: it is counted, then refused, answered or broken."""
        self.advance()
        now = self.now()
        key = identify(self.world, request).key or ANONYMOUS
        refusal = self.admission.enter(request, key, now, self.policy)
        try:
            return self._decide(request, key, refusal, now)
        except Exception:
            # A defect of ours is loud, but must not look like the client's calls in flight.
            self.finish(request)
            raise

    def _decide(self, request: Request, key: str, refusal: Response | None, now: float) -> Delivery:
        if not caller_accepted(self.policy, request):
            self.audit.caller_refusals += 1
        response = refusal or respond(self.world, request, now, self.policy)
        delivery = Delivery(response, now, delay_seconds=self.policy.latency_seconds)
        fault = self.faults.strike(request, key, now)
        if fault is not None:
            delivery = damage(fault, delivery)
        outcome = "reset" if delivery.reset else str(delivery.response.status)
        self.audit.account(key).by_status[outcome] += 1
        return delivery

    def finish(self, request: Request) -> None:
        """The answer has left, or the client has: the call is no longer in flight."""
        self.admission.leave(request)

    def answer(self, request: Request) -> Response:
        """A whole call in one step, with its `Date` header. Delays, cuts and resets need the server."""
        delivery = self.begin(request)
        self.finish(request)
        return self.dated(delivery)

    def dated(self, delivery: Delivery) -> Response:
        if delivery.date_offset is None:
            return delivery.response
        base = self.now() if delivery.late_date else delivery.answered_at
        return delivery.response.with_header("Date", formatdate(base + delivery.date_offset, usegmt=True))

    def advance(self) -> None:
        """Lets happen what the pace says has happened by now."""
        self.pace.run(self.world, self.now())
