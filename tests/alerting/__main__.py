"""Makes each alert fire and clear on a running hub, with a Prometheus that scrapes it, and tells how long both took.

python -m tests.alerting        about a quarter of an hour; wants Debian's `prometheus`

The rules are the committed ones, every duration in them a twentieth: two hours without a completed run are six minutes.
What is broken is real. Beside it: which expressions of the dashboards never had data. 0 only if every alert did both.
"""

import asyncio
import re
import sys
import tempfile
from pathlib import Path

from shared.postgres.migrate import migrate
from shared.postgres.roles import grant
from tests import services
from tests.acceptance.house import SERVICES, as_it_is, distributed_hub, until
from tests.alerting.trials import PLENTY, trials
from tests.alerting.watching import RULES, Watch, prometheus
from tests.unit.deploy.test_dashboards import EXPRESSIONS

WORLD = ("--world", "small", "--people", "3000", "--future-people", "2500", "--quota", str(PLENTY))
#: A race-day race every five seconds, and decisions that do not wait for minutes.
COMPRESSED = {
    "HUB_INTERVAL_RACEDAY_SECONDS": "5",
    "HUB_INTERVAL_NEAR_SECONDS": "10",
    "HUB_INTERVAL_FAR_SECONDS": "30",
    "HUB_INTERVAL_LONG_SECONDS": "30",
    "HUB_DISCOVERY_SECONDS": "10",
    "HUB_PLAN_SECONDS": "5",
    "HUB_CALL_ATTEMPTS": "1",
    **{f"HUB_DEADLINE_{which}_SECONDS": "20" for which in ("RACEDAY", "NEAR", "FAR", "FULL")},
}


async def run(folder: Path, server: str, broker: services.BreakableBroker) -> int:
    """Start everything, try one alert after the other; the exit code."""
    ports = {name.replace("_", "-"): services.free_port() for name in SERVICES}

    def command(service: str, environment: dict[str, str]) -> tuple[tuple[str, ...], dict[str, str]]:
        line, known = as_it_is(service, environment)
        return line, known | {"HUB_METRICS_PORT": str(ports[service.replace("_", "-")])}

    database = services.database_named(server, "hub_alerting")
    await services.execute(server, "create database hub_alerting")
    await migrate(database)
    await services.make_roles(server)
    await grant(database, {})
    amqp = broker.fresh()
    async with distributed_hub(database, amqp, folder, *WORLD, environment=COMPRESSED, command=command) as hub:
        await hub.onboard()
        await until(hub.loaded, "the first load", 90)
        await hub.database.execute("UPDATE provider_keys SET calls_per_hour = $1", PLENTY)
        beside, *others, last = await trials(hub, broker)
        async with prometheus(folder, ports) as http, asyncio.TaskGroup() as group:
            watch = Watch(http)
            looking = group.create_task(watch.look())
            checked = group.create_task(watch.prove(beside))
            for each in others:
                await watch.prove(each)
            await checked  # the last one stops everybody
            await watch.prove(last)
            looking.cancel()
    print("never had data:", *sorted(set(EXPRESSIONS) - watch.seen), sep="\n  ")
    return 0 if watch.proven == set(re.findall(r"- alert: (\w+)", RULES)) else 1


def main() -> int:
    """Get a broker and a database of our own, and leave nothing behind."""
    reaper = services.Reaper()
    try:
        server, broker = services.get_database(reaper), services.get_breakable_broker(reaper)
        with tempfile.TemporaryDirectory(prefix="hub-alerting-") as folder:
            return asyncio.run(run(Path(folder), server.url, broker))
    finally:
        reaper.close()


if __name__ == "__main__":
    sys.exit(main())
