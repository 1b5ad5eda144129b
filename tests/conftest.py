"""Services and clean surroundings for every tier. Which tier a test belongs to: README.md in this folder."""

import os
import signal
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import hypothesis
import pytest
import structlog

from tests import services

#: Read before the environment is scrubbed, through `services`; everything else of ours is taken out, so that a
#: developer's own settings never reach a test.
KEPT = ("HUB_TEST_",)

#: How this run got its services; each process that runs tests has its own.
SERVICES = pytest.StashKey[list[str]]()


# A machine is as fast as its other users let it: no example is wrong because it took long.
hypothesis.settings.register_profile("hub", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("hub")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SERVICES] = []
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background: what we start would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two, each with services of its own; one with services that were given: a test wants them for itself."""
    return 1 if {"HUB_TEST_AMQP_URL", "HUB_TEST_DATABASE_URL"} & set(os.environ) else 2


def pytest_sessionfinish(session: pytest.Session) -> None:
    if (told := getattr(session.config, "workeroutput", None)) is not None:
        told["services"] = session.config.stash[SERVICES]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[SERVICES].extend(getattr(node, "workeroutput", {}).get("services", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    told = config.stash[SERVICES]
    for line in sorted(told):
        terminalreporter.line(line)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in tuple(os.environ):
        if name.startswith(("HUB_", "DB_")) and not name.startswith(KEPT):
            monkeypatch.delenv(name)
    yield
    structlog.reset_defaults()  # a command that was run here logs to a stream that is closed after its test


@pytest.fixture(scope="session")
def reaper() -> Iterator[services.Reaper]:
    reaper = services.Reaper()
    yield reaper
    reaper.close()


@pytest.fixture(scope="session")
def rabbitmq(reaper: services.Reaper, pytestconfig: pytest.Config) -> services.Broker:
    """The RabbitMQ of this run; say `amqp_url` for a place of your own in it."""
    broker = services.get_broker(reaper)
    pytestconfig.stash[SERVICES].append(f"RabbitMQ: {broker.how}")
    return broker


@pytest.fixture
def amqp_url(rabbitmq: services.Broker) -> Iterator[str]:
    """A virtual host for this test alone."""
    url = rabbitmq.fresh()
    yield url
    rabbitmq.drop(url)


@pytest.fixture(scope="session")
def breakable_rabbitmq(reaper: services.Reaper, pytestconfig: pytest.Config) -> services.BreakableBroker:
    """A RabbitMQ to break, beside the one of this run.

    RabbitMQ 3.10 that is killed after virtual hosts with quorum queues were deleted sometimes never elects the leader
    of a queue that is still there; so nothing is ever deleted on this one.
    """
    broker = services.get_breakable_broker(reaper)
    pytestconfig.stash[SERVICES].append(f"RabbitMQ to break: {broker.how}")
    return broker


class Broker:
    """A virtual host of this test's own, on a broker that the test may kill, start and pause."""

    def __init__(self, server: services.BreakableBroker) -> None:
        self.url = server.fresh()
        self.kill = server.kill
        self.start = server.start
        self.pause = server.pause
        self.resume = server.resume


@pytest.fixture
async def broker(breakable_rabbitmq: services.BreakableBroker) -> AsyncIterator[Broker]:
    broker = Broker(breakable_rabbitmq)
    yield broker
    await broker.start()  # its virtual host is left: to delete queues that have just recovered takes seconds


@pytest.fixture(scope="session")
def postgres(reaper: services.Reaper, pytestconfig: pytest.Config) -> services.Database:
    """The PostgreSQL of this run; say `database_url` for a database of your own in it."""
    server = services.get_database(reaper)
    pytestconfig.stash[SERVICES].append(f"PostgreSQL: {server.how}")
    return server


@pytest.fixture(scope="session")
def _template() -> dict[str, str]:
    """Holds the name of the migrated template once a test has needed it."""
    return {}


@pytest.fixture
async def empty_database_url(postgres: services.Database) -> AsyncIterator[str]:
    """A database without any table, for tests of the migrations themselves."""
    name = f"hub_test_{uuid.uuid4().hex[:12]}"
    await services.execute(postgres.url, f"create database {name}")
    yield services.database_named(postgres.url, name)
    await services.execute(postgres.url, f"drop database {name} with (force)")


@pytest.fixture
async def database_url(postgres: services.Database, _template: dict[str, str]) -> AsyncIterator[str]:
    """A migrated database for this test alone, cloned from a template in a few milliseconds."""
    if not _template:
        from shared.postgres.migrate import migrate
        from shared.postgres.roles import grant

        name = f"hub_template_{uuid.uuid4().hex[:12]}"
        await services.execute(postgres.url, f"create database {name}")
        await migrate(services.database_named(postgres.url, name))
        await services.make_roles(postgres.url)
        await grant(services.database_named(postgres.url, name), {})
        _template["name"] = name
    name = f"hub_test_{uuid.uuid4().hex[:12]}"
    await services.clone(postgres.url, _template["name"], name)
    yield services.database_named(postgres.url, name)
    await services.execute(postgres.url, f"drop database {name} with (force)")
