"""The wire to the pretend provider: the client's real requests, answered in this process, at the clock's time."""

from datetime import datetime

import httpx

from runsignup_simulator.control import PREFIX as CONTROL
from runsignup_simulator.control import control
from runsignup_simulator.requests import parse_request
from runsignup_simulator.responses import Response
from runsignup_simulator.simulator import Simulator
from shared.clock import Clock


class Wire(httpx.AsyncBaseTransport):
    """Takes an answer's time, and the client's patience, from the clock."""

    def __init__(
        self, simulator: Simulator, clock: Clock, patience_seconds: float, calls: list[tuple[datetime, str]]
    ) -> None:
        self._simulator = simulator
        self._clock = clock
        self._patience = patience_seconds
        self._calls = calls  # when which method was called

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
        asked = parse_request(request.method, request.url.raw_path.decode("latin-1"), headers)
        if asked.path.startswith(CONTROL):
            told = control(self._simulator, asked, await request.aread())
            if isinstance(told, Response):
                return httpx.Response(told.status, content=told.body)
            return httpx.Response(200, content=b"".join(told))
        self._calls.append((self._clock.now(), asked.endpoint))
        delivery = self._simulator.begin(asked)
        try:
            await self._clock.sleep(min(delivery.delay_seconds, self._patience))
            if delivery.delay_seconds > self._patience:
                raise httpx.ReadTimeout("no answer", request=request)
            if delivery.reset:
                raise httpx.ReadError("reset", request=request)
            answer = self._simulator.dated(delivery)
            return httpx.Response(answer.status, headers=list(answer.headers), content=answer.body)
        finally:
            self._simulator.finish(asked)
