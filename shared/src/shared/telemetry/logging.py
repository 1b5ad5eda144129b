"""Logs for two readers: a sentence for people, and a stable ``action`` with ids, counts and durations for machines.

No person and no secret is ever passed to a logger; what other libraries might print of URLs is silenced at the door.
"""

import logging
import sys
from typing import TextIO

import structlog

#: Libraries that print addresses with keys in them, or connection strings.
QUIET = ("httpx", "httpcore", "aio_pika", "aiormq", "asyncio", "asyncpg")


def configure_logging(form: str = "human", level: str = "INFO", stream: TextIO | None = None) -> None:
    """Set up structlog once: ``human`` lines or ``json``, to standard error or another stream."""
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=stream is None and sys.stderr.isatty(), pad_event_to=0)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )
