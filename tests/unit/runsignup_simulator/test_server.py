"""The process and its HTTP: one line when ready, connections kept, limits seen from outside, a clean end."""

from __future__ import annotations

import asyncio
import json
import signal
import sys

import httpx
import pytest

from runsignup_simulator import Policy, Simulator, serve
from runsignup_simulator.model import Race

from .conftest import Asker, Clock, ids_of


@pytest.fixture(autouse=True)
def _no_network() -> None:
    """Loopback is allowed here: the stand-in's own HTTP is what is tested."""


async def test_one_connection_carries_many_calls(simulator: Simulator) -> None:
    async with serve(simulator) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.split(":")[2].split("/")[0]))
        for _ in range(3):
            writer.write(b"GET /rest/races?format=json HTTP/1.1\r\nHost: here\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            assert (await reader.readexactly(length)).startswith(b'{"races":')
        writer.close()
        await writer.wait_closed()


async def test_answers_are_packed_only_when_started_so(simulator: Simulator) -> None:
    for packed in (False, True):
        async with serve(simulator, packed=packed) as server, httpx.AsyncClient() as http:
            answer = await http.get(f"{server.url}/races?format=json&start_date=2000-01-01")
            assert (answer.headers.get("content-encoding") == "gzip") == packed
            assert answer.json()["races"]


async def test_three_calls_at_once_are_one_too_many(simulator: Simulator) -> None:
    simulator.policy = Policy(latency_seconds=0.1, throttle_forms=("json_429",))
    async with serve(simulator) as server, httpx.AsyncClient() as http:
        answers = await asyncio.gather(*(http.get(f"{server.url}/races?format=json") for _ in range(3)))
        assert sorted(answer.status_code for answer in answers) == [200, 200, 429]
        report = (await http.get(f"{server.control_url}/audit")).json()
    assert (report["max_in_flight"], report["in_flight_violations"], report["in_flight"]) == (3, 1, 0)
    assert report["busy_seconds"] >= 0.3


async def test_client_that_gave_up_is_no_longer_in_flight(simulator: Simulator) -> None:
    simulator.policy = Policy(latency_seconds=30)
    async with serve(simulator) as server:
        async with httpx.AsyncClient(timeout=0.2) as http:
            with pytest.raises(httpx.ReadTimeout):
                await http.get(f"{server.url}/races")
        async with asyncio.timeout(5):  # the server looks every 50 ms
            while simulator.admission.in_flight:  # noqa: ASYNC110  # the server knows no event for it
                await asyncio.sleep(0.01)


async def test_control_interface_moves_the_world(
    simulator: Simulator, clock: Clock, asker: Asker, busiest: Race
) -> None:
    async with serve(simulator) as server, httpx.AsyncClient(base_url=server.control_url) as sim:
        partners = (await sim.get("partners")).json()
        assert {partner["key"] for partner in partners} == set(simulator.world.partners)
        moved = (await sim.post("clock", json={"now": "2026-12-01T08:00:00+00:00"})).json()
        assert moved["now"] == "2026-12-01T08:00:00+00:00"
        asked = {"kind": "bib_given", "race_id": str(busiest.race_id), "count": 3}
        done = (await sim.post("mutate", json=asked)).json()
        assert len(done) >= 3
        assert (await sim.post("config", json={"quota": 12})).json()["quota"] == 12
        fault = (await sim.post("faults", json={"kind": "html_200", "times": 1})).json()
        assert (await sim.get("faults")).json()[0]["id"] == fault["id"]
        assert (await sim.delete("faults")).json() == {"cleared": 1}
        assert (await sim.post("pace", json={"per_second": 50})).json()["per_second"] == 50
        clock.now += 1
        async with asyncio.timeout(5):  # the pace is looked at ten times a second
            while not (await sim.get("pace")).json()["done"]:  # noqa: ASYNC110  # seen from outside
                await asyncio.sleep(0.01)
        await sim.post("pace", json={"per_second": 0})
        truth = (await sim.get("truth", params={"key": asker.partner.key, "race_id": busiest.race_id})).text
        people = [json.loads(line) for line in truth.splitlines()]
        active = [person for person in people if person["status"] == "active"]
        events = (await sim.get("truth/events", params={"race_id": busiest.race_id})).text
        assert sum(json.loads(line)["active"] for line in events.splitlines()) == len(active)
        fewest = (await sim.get("fewest")).json()
        assert fewest[asker.partner.key]["discovery"] == 1
        assert (await sim.get("nothing")).status_code == 404


async def test_process_says_where_it_is_and_ends_on_sigterm(busiest: Race) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "runsignup_simulator", "--world", "small", "--now", "2026-11-24T12:00:00",
        "--mutations-per-second", "5", "--gzip", "--warm",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(30):  # starting an interpreter on a busy machine
        where = json.loads(await process.stdout.readline())
        async with httpx.AsyncClient() as http:
            partner = (await http.get(f"{where['control']}/partners")).json()[0]
            answer = await http.get(
                f"{where['url']}/race/{busiest.race_id}/participants",
                params={
                    "format": "json",
                    "api_key": partner["key"],
                    "api_secret": partner["secret"],
                    "event_id": ids_of(busiest),
                },
            )
            assert answer.headers["date"].startswith("Tue, 24 Nov 2026 12:00")
            assert "registration_id" in answer.text
        process.send_signal(signal.SIGTERM)
        rest, errors = await process.communicate()
    assert (process.returncode, rest, errors) == (0, b"", b"")


async def test_taken_port_is_one_sentence_and_a_failure(simulator: Simulator) -> None:
    async with serve(simulator) as server:
        port = server.url.split(":")[2].split("/")[0]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "runsignup_simulator", "--world", "small", "--port", port,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, errors = await process.communicate()
    assert (process.returncode, output, errors.count(b"\n")) == (2, b"", 1)
