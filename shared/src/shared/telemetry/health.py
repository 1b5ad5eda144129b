"""Liveness, readiness and metrics over HTTP, for compose, Kubernetes and Prometheus.

Liveness is a by-product of work: loops say that they turn, and a process whose loop stopped turning is not alive.
"""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, ClassVar
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

#: A loop that has not turned for so long is stuck.
STUCK_SECONDS = 120.0


class Health:
    """What this process knows of itself; written by loops, read by the probe's thread."""

    beats: ClassVar[dict[str, float]] = {}
    ready: ClassVar[bool] = False

    @classmethod
    def beat(cls, loop: str) -> None:
        """A loop turned."""
        cls.beats[loop] = time.monotonic()

    @classmethod
    def stuck(cls) -> list[str]:
        """Loops that turned once and stopped turning."""
        now = time.monotonic()
        return sorted(loop for loop, at in cls.beats.items() if now - at > STUCK_SECONDS)


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 — the base class's name
        """Probes are not news."""


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """``/live``, ``/ready`` and ``/metrics``."""
    path = environ.get("PATH_INFO", "")
    if path == "/metrics":
        page: Iterable[bytes] = make_wsgi_app()(environ, start_response)
        return page
    if path == "/live":
        stuck = Health.stuck()
        status, body = ("503 Service Unavailable", f"stuck: {', '.join(stuck)}\n") if stuck else ("200 OK", "alive\n")
    elif path == "/ready":
        status, body = ("200 OK", "ready\n") if Health.ready else ("503 Service Unavailable", "not ready\n")
    else:
        status, body = "404 Not Found", "one of /live, /ready, /metrics\n"
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [body.encode()]


def serve(host: str, port: int) -> Callable[[], None]:
    """Serve health in a thread of its own; the returned function stops it."""
    server: WSGIServer = make_server(host, port, application, handler_class=_Quiet)
    thread = threading.Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join(timeout=2)

    return stop
