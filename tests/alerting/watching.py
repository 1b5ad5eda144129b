"""A Prometheus that scrapes the services with the committed rules, made faster; and who looks at it every second."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests import services
from tests.acceptance.house import until
from tests.alerting.trials import Trial
from tests.unit.deploy.test_dashboards import EXPRESSIONS, OBSERVABILITY

RULES = (OBSERVABILITY / "prometheus" / "rules" / "hub.yml").read_text()
SPEED = 20
PATIENCE = 500.0  # the scheduler checks itself every five minutes


def faster(rules: str) -> str:
    """The same rules with every duration, every age and what a budget is prolonged by divided."""
    seconds = {"h": 3600, "m": 60}
    shorter = re.sub(
        r"(\[|offset |for: )(\d+)([hm])", lambda it: f"{it[1]}{int(it[2]) * seconds[it[3]] // SPEED}s", rules
    )
    return re.sub(r"(\], |_seconds\) > )(\d+)", lambda it: f"{it[1]}{int(it[2]) // SPEED}", shorter)


@asynccontextmanager
async def prometheus(folder: Path, ports: dict[str, int]) -> AsyncIterator[httpx.AsyncClient]:
    """Scrape these services every two seconds."""
    targets = [{"targets": [f"127.0.0.1:{port}"], "labels": {"service": name}} for name, port in ports.items()]
    settings = {
        "global": {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": "hub", "static_configs": targets}],
    }
    (folder / "rules.yml").write_text(faster(RULES))
    (folder / "prometheus.yml").write_text(json.dumps(settings))
    address = f"127.0.0.1:{services.free_port()}"
    options = (f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data")
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "prometheus", *options, f"--web.listen-address={address}", stdout=log, stderr=log
        )
    try:
        async with httpx.AsyncClient(base_url=f"http://{address}", timeout=10, trust_env=False) as http:

            async def ready() -> bool:
                try:
                    return (await http.get("/-/ready")).is_success
                except httpx.TransportError:
                    return False

            await until(ready, "Prometheus to be ready")
            yield http
    finally:
        process.terminate()
        await process.wait()


@dataclass(slots=True)
class Watch:
    """What fires, which expressions of the dashboards had data, and which alerts did both: fire and clear."""

    http: httpx.AsyncClient
    firing: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)
    proven: set[str] = field(default_factory=set)

    async def look(self) -> None:
        """Until cancelled."""
        while True:
            alerts = (await self.http.get("/api/v1/alerts")).json()["data"]["alerts"]
            self.firing = {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}
            for each in set(EXPRESSIONS) - self.seen:
                if (await self.http.get("/api/v1/query", params={"query": each})).json()["data"]["result"]:
                    self.seen.add(each)
            await asyncio.sleep(1)

    async def prove(self, trial: Trial) -> None:
        """Break something, wait until all its alerts fire, mend it, wait until all are silent; a table's row each."""
        since = time.monotonic()
        await trial.provoke()
        fired = await self._wait(trial.alerts, since, fires=True)
        since = time.monotonic()
        await trial.mend()
        cleared = await self._wait(trial.alerts, since, fires=False)
        for name in trial.alerts:
            self.proven.add(name)
            print(f"| {name} | {trial.broken} | {fired[name]:.0f} | {trial.mended} | {cleared[name]:.0f} |", flush=True)

    async def _wait(self, names: tuple[str, ...], since: float, *, fires: bool) -> dict[str, float]:
        took: dict[str, float] = {}

        async def all_are() -> bool:
            for name in names:
                if (name in self.firing) is fires:
                    took.setdefault(name, time.monotonic() - since)
            return len(took) == len(names)

        await until(all_are, f"{', '.join(names)} to {'fire' if fires else 'clear'}", PATIENCE)
        return took
