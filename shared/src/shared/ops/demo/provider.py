"""The pretend RunSignUp: a process of its own, and its control interface."""

import asyncio
import importlib.util
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from shared.errors import Misconfigured

START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Partner:
    """A timing partner of the pretend world, with the key that opens its races."""

    name: str
    form: str
    key: str
    secret: str


class PretendProvider:
    """The control interface: who there is, what should happen, and the truth."""

    def __init__(self, url: str, http: httpx.AsyncClient) -> None:
        self.url = url
        self._http = http

    async def get(self, path: str, **parameters: str) -> Any:
        """A JSON document of the control interface."""
        answer = await self._http.get(path, params=parameters)
        answer.raise_for_status()
        return orjson.loads(answer.content)

    async def post(self, path: str, **document: Any) -> Any:
        """Ask the pretend world for something."""
        answer = await self._http.post(path, json=document)
        answer.raise_for_status()
        return orjson.loads(answer.content)

    async def partners(self) -> list[Partner]:
        """Every partner."""
        return [
            Partner(each["name"], each["form"], each["key"], each["secret"]) for each in await self.get("/partners")
        ]

    async def truth(
        self, key: str, race_ids: Sequence[str] = (), scope: str = "future"
    ) -> AsyncIterator[dict[str, Any]]:
        """Everybody of a key's future (or all) events, active ones, as a correct client should have stored them."""
        async for person in self.lines("/truth", key=key, status="active", race_id=list(race_ids), scope=scope):
            yield person

    async def lines(self, path: str, **parameters: str | list[str]) -> AsyncIterator[dict[str, Any]]:
        """A document of one JSON object a line."""
        answer = await self._http.get(path, params=parameters)
        answer.raise_for_status()
        for line in answer.content.splitlines():
            yield orjson.loads(line)

    async def delete(self, path: str) -> None:
        """Take something back."""
        (await self._http.delete(path)).raise_for_status()


@asynccontextmanager
async def pretend_provider(*arguments: str) -> AsyncIterator[PretendProvider]:
    """Start the simulator as a process and stop it at the end; raises Misconfigured when it is not installed."""
    if importlib.util.find_spec("runsignup_simulator") is None:
        raise Misconfigured("the simulator is not installed; run `make install`, which brings it")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "runsignup_simulator",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us; we stop it
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            said = orjson.loads(await process.stdout.readline())
        async with httpx.AsyncClient(base_url=said["control"], timeout=60, trust_env=False) as http:
            yield PretendProvider(said["url"], http)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
