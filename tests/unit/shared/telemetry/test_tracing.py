"""One run, one trace, whatever process and broker lie between; and nothing at all when nobody asked for it."""

import asyncio
from collections.abc import Iterator
from random import Random
from uuid import UUID, uuid4

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared.bus.inprocess import InProcessBus
from shared.bus.port import Delivery, Message
from shared.runtime.traced import TracedBus
from shared.telemetry.tracing import span, trace_with
from tests.fakes import ManualClock

RUN, OTHER = uuid4(), uuid4()
SECRET = "s3cret-Quorvexil"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    end = trace_with("fetcher", SimpleSpanProcessor(exporter))
    yield exporter
    end()


def trace_of(each: ReadableSpan) -> UUID:
    assert each.context is not None
    return UUID(int=each.context.trace_id)


async def handled(bus: InProcessBus) -> None:
    """A message published and handled, with a call on the way."""
    traced, both = TracedBus(bus), asyncio.Event()
    seen: list[Delivery] = []

    async def handle(delivery: Delivery) -> None:
        with span("call runsignup participants", delivery.message.correlation_id, sync_class="near"):
            seen.append(delivery)
        if len(seen) == 2:
            both.set()

    consumer = await traced.consume(["watch"], handle, concurrency=1)
    kind = "participants.changed.v1"
    await traced.publish([Message("m-1", kind, kind, b"{}", str(RUN)), Message("m-2", kind, kind, b"{}", str(OTHER))])
    await asyncio.wait_for(both.wait(), 10)
    await consumer.stop()


async def test_what_a_run_causes_is_one_trace_called_by_its_id(spans: InMemorySpanExporter) -> None:
    await handled(InProcessBus(clock=ManualClock(), random=Random(1), providers=("runsignup",)))
    assert {trace_of(each) for each in spans.get_finished_spans()} == {RUN, OTHER}
    done = {each.name: each for each in spans.get_finished_spans() if trace_of(each) == RUN}
    assert set(done) == {
        "publish participants.changed.v1", "handle participants.changed.v1", "call runsignup participants",
    }  # fmt: skip
    call, handle = done["call runsignup participants"], done["handle participants.changed.v1"]
    assert call.parent is not None
    assert handle.parent is None
    assert handle.context is not None
    assert call.parent.span_id == handle.context.span_id
    assert dict(handle.attributes or {}) == {"hub.queue": "watch", "hub.attempt": 1, "hub.message": "m-1"}


def test_of_an_error_its_kind_is_told_and_nothing_else(spans: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match=SECRET), span("call", "no run at all"):
        raise ValueError(SECRET)
    (failed,) = spans.get_finished_spans()
    assert dict(failed.attributes or {}) == {"hub.error": "ValueError"}
    assert failed.events == ()
    assert failed.status.description is None


def test_without_a_collector_a_span_is_nothing() -> None:
    with span("call", RUN):
        pass
