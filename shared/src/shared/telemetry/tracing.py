"""Traces across the broker, off unless `HUB_OTLP_ENDPOINT` is set. They want the extra `tracing`.

A run's id is its trace's id: whoever publishes, handles or calls for a run adds a span to one trace, in whichever
process, and nothing has to travel with the messages for it. Spans carry ids, names of queues and endpoints, never an
address, a person or a secret; of an error its kind alone.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING
from uuid import UUID

from shared.errors import Misconfigured

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Tracer

_tracer: "Tracer | None" = None
_run: ContextVar[int | None] = ContextVar("run", default=None)


def configure_tracing(service: str, endpoint: str) -> Callable[[], None]:
    """Send spans to an OTLP collector (HTTP) from now on; what to call in the end. Raises Misconfigured."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise Misconfigured(
            "HUB_OTLP_ENDPOINT is set and the extra `tracing` is not installed; "
            "pip install --no-deps --require-hashes -r requirements-tracing.lock, or unset it"
        ) from None
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    return trace_with(service, BatchSpanProcessor(exporter))


def trace_with(service: str, processor: "SpanProcessor") -> Callable[[], None]:
    """Hand spans to a processor from now on; what to call in the end."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class RunIds(RandomIdGenerator):
        """The trace of a run is called by the run's id."""

        def generate_trace_id(self) -> int:
            return _run.get() or super().generate_trace_id()

    global _tracer  # noqa: PLW0603 — one for the process, as the logs and the metrics are
    provider = TracerProvider(resource=Resource.create({"service.name": service}), id_generator=RunIds())
    provider.add_span_processor(processor)
    _tracer = provider.get_tracer("project88hub")

    def end() -> None:
        global _tracer  # noqa: PLW0603
        _tracer = None
        provider.shutdown()

    return end


@contextmanager
def span(name: str, run_id: UUID | str | None, **facts: str | int) -> Iterator[None]:
    """A span of a run's trace around a block; nothing at all when tracing is off."""
    if _tracer is None:
        yield
        return
    from opentelemetry.context import Context
    from opentelemetry.trace import get_current_span

    run = _number(run_id)
    inside = get_current_span().get_span_context().trace_id == run  # a part of what this run is at; else a root
    token = _run.set(run)
    try:
        with _tracer.start_as_current_span(
            name,
            context=None if inside else Context(),
            attributes={f"hub.{key}": value for key, value in facts.items()},
            record_exception=False,
            set_status_on_exception=False,
        ) as current:
            try:
                yield
            except BaseException as error:
                current.set_attribute("hub.error", type(error).__name__)
                raise
    finally:
        _run.reset(token)


def _number(run_id: UUID | str | None) -> int | None:
    try:
        return UUID(str(run_id)).int if run_id else None
    except ValueError:  # a foreign message may say anything
        return None
