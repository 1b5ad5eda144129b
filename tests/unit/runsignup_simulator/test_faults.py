"""Every misfortune strikes once over real HTTP, and then no more."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from runsignup_simulator import Server, Simulator, serve
from runsignup_simulator.faults import BAD_ROWS, KINDS
from runsignup_simulator.model import Race

from .conftest import Asker, Clock, ids_of, rows_of


@pytest.fixture(autouse=True)
def _no_network() -> None:
    """Loopback is allowed here: the stand-in's own HTTP is what is tested, within one process."""


@pytest.fixture
async def server(simulator: Simulator) -> AsyncIterator[Server]:
    async with serve(simulator) as running:
        yield running


class Visitor:
    """Asks for one page of the busiest race over HTTP."""

    def __init__(self, http: httpx.AsyncClient, asker: Asker, race: Race) -> None:
        self._http, self._asker, self._race = http, asker, race

    async def page(self) -> httpx.Response:
        partner = self._asker.partner
        return await self._http.get(
            f"race/{self._race.race_id}/participants",
            params={
                "format": "json",
                "api_key": partner.key,
                "api_secret": partner.secret,
                "event_id": ids_of(self._race),
                "sort": "registration_id ASC",
                "results_per_page": 20,
            },
        )

    async def rows(self) -> list[Any]:
        return rows_of((await self.page()).json())


@pytest.fixture
async def visitor(server: Server, asker: Asker, busiest: Race) -> AsyncIterator[Visitor]:
    async with httpx.AsyncClient(base_url=server.url, timeout=5) as http:
        yield Visitor(http, asker, busiest)


def inject(server: Server, **values: Any) -> None:
    server.simulator.faults.add({"times": 1, **values}, server.simulator.now())


@pytest.mark.parametrize(
    ("values", "status", "seen"),
    [
        ({"kind": "http_500"}, 500, lambda r: "html" in r.headers["content-type"]),
        ({"kind": "http_503", "retry_after": "7"}, 503, lambda r: r.headers["retry-after"] == "7"),
        ({"kind": "page_522"}, 522, lambda r: "522" in r.text),
        ({"kind": "html_200"}, 200, lambda r: r.text.startswith("<html>")),
        (
            {"kind": "wrong_content_type"},
            200,
            lambda r: r.headers["content-type"] == "text/plain" and rows_of(r.json()),
        ),
        ({"kind": "error_body", "code": 7}, 200, lambda r: r.json()["error"]["error_code"] == 7),
        ({"kind": "error_body", "shape": "text", "status": 401}, 401, lambda r: isinstance(r.json()["error"], str)),
        ({"kind": "no_date_header"}, 200, lambda r: "date" not in r.headers),
        ({"kind": "clock_skew", "seconds": -600}, 200, lambda r: r.headers["date"] == "Tue, 24 Nov 2026 11:50:00 GMT"),
        ({"kind": "bad_json"}, 200, lambda r: r.text.startswith("[{")),
        ({"kind": "deep_json", "depth": 1_000}, 200, lambda r: r.text == "[" * 1_000 + "]" * 1_000),
        ({"kind": "redirect"}, 302, lambda r: r.headers["location"] == "http://elsewhere.example.com/rest/"),
        ({"kind": "huge_body", "megabytes": 3}, 200, lambda r: len(r.content) > 3_000_000),
        ({"kind": "gzip_bomb", "megabytes": 3}, 200, lambda r: r.headers["content-encoding"] == "gzip"),
        ({"kind": "empty_answer"}, 200, lambda r: rows_of(r.json()) == []),
        ({"kind": "short_page"}, 200, lambda r: len(rows_of(r.json())) == 10),
        ({"kind": "duplicate_row"}, 200, lambda r: len(rows_of(r.json())) == 21),
        ({"kind": "missing_keys"}, 200, lambda r: "age" not in rows_of(r.json())[0]),
        ({"kind": "extra_keys"}, 200, lambda r: "a_field_of_next_year" in rows_of(r.json())[0]),
        ({"kind": "slow", "seconds": 0.1}, 200, lambda r: r.elapsed.total_seconds() >= 0.1),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
async def test_answer_is_broken_once(
    server: Server, visitor: Visitor, values: dict[str, Any], status: int, seen: Callable[[httpx.Response], object]
) -> None:
    inject(server, **values)
    broken = await visitor.page()
    assert broken.status_code == status
    assert seen(broken)
    assert len(await visitor.rows()) == 20
    assert [fault.struck for fault in server.simulator.faults.listed] == [1]


async def test_reset_connection_has_no_answer(server: Server, visitor: Visitor) -> None:
    inject(server, kind="reset")
    with pytest.raises(httpx.TransportError):
        await visitor.page()
    assert len(await visitor.rows()) == 20


async def test_cut_body_is_shorter_than_promised(server: Server, visitor: Visitor) -> None:
    inject(server, kind="cut_body")
    with pytest.raises(httpx.RemoteProtocolError):
        await visitor.page()
    assert len(await visitor.rows()) == 20


@pytest.mark.parametrize("choice", BAD_ROWS)
async def test_one_row_of_a_page_is_bad(server: Server, visitor: Visitor, choice: str) -> None:
    good = await visitor.rows()
    inject(server, kind="bad_row", choice=choice)
    bad = await visitor.rows()
    assert sum(one != other for one, other in zip(good, bad, strict=True)) == 1


async def test_fault_strikes_only_what_it_was_aimed_at(server: Server, visitor: Visitor, busiest: Race) -> None:
    faults = server.simulator.faults
    for aim in (
        {"endpoint": "removed-participants"},
        {"race_id": str(busiest.race_id + 1)},
        {"key": "somebody"},
        {"path": "/v2/"},
        {"contains": "page=2"},
        {"probability": 0.0},
        {"times": 0},
        {"for_seconds": 0},
    ):
        faults.add({"kind": "http_500", **aim}, server.simulator.now())
    assert (await visitor.page()).status_code == 200
    assert not any(fault.struck for fault in faults.listed)
    faults.add({"kind": "http_500", "endpoint": "participants", "skip": 1, "race_id": busiest.race_id}, 0)
    assert [(await visitor.page()).status_code for _ in range(3)] == [200, 500, 500]
    assert faults.clear() == 9
    assert (await visitor.page()).status_code == 200


@pytest.mark.parametrize("late", [False, True])
async def test_date_of_a_slow_answer_is_when_the_rows_were_read_unless_asked_otherwise(
    server: Server, visitor: Visitor, clock: Clock, late: bool
) -> None:
    inject(server, kind="slow", seconds=0.2, late_date=late)
    asked = asyncio.create_task(visitor.page())
    async with asyncio.timeout(5):  # the answer takes 200 ms
        while not server.simulator.admission.in_flight:  # noqa: ASYNC110  # the server knows no event for it
            await asyncio.sleep(0.01)
    clock.now += 60
    assert (await asked).headers["date"] == f"Tue, 24 Nov 2026 12:0{int(late)}:00 GMT"


def test_every_kind_has_a_test() -> None:
    source = __import__("pathlib").Path(__file__).read_text()
    assert [kind for kind in KINDS if f'"{kind}"' not in source] == []


def test_bomb_is_small_on_the_wire() -> None:
    assert len(gzip.compress(b" " * 3_000_000)) < 10_000
