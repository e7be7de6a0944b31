"""Spans and metrics of every call, hand-written: one span a call costs less than one layer
of a generic instrumentation (performance.md A).

Spans go to OTLP when `TONGBAO_OTLP_ENDPOINT` is set, else to `<home>/traces/<service>.jsonl`.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from mesh.context import acting

_PROPAGATOR = TraceContextTextMapPropagator()
_tracer = trace.get_tracer("tongbao")

# Names follow the OpenTelemetry semantic conventions for RPC, spelled for Prometheus.
CALL_SECONDS = Histogram(
    "rpc_server_call_duration_seconds",
    "How long a call took, by method and status.",
    ["rpc_method", "rpc_response_status_code"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
OUTBOX_BACKLOG = Gauge("tongbao_outbox_backlog", "Rows that the relay has yet to publish.")
EVENTS_APPLIED = Counter(
    "tongbao_events_applied_total", "Events whose effects are durable.", ["source"]
)
DEAD_LETTERS = Counter(
    "tongbao_dead_letters_total", "Events that could not be applied.", ["source"]
)
STREAM_LOSSES = Counter(
    "tongbao_stream_losses_total", "Times the relay found acknowledged messages gone."
)

_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class StatementRows(Collector):
    """How many rows each coalesced statement ran with. Counted already, so told when asked."""

    def __init__(self, sizes: Callable[[], Mapping[str, Tally[int]]]) -> None:
        self._sizes = sizes

    def describe(self) -> list[HistogramMetricFamily]:
        """Return nothing: it is not known before the first statement."""
        return []

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the histogram of every statement."""
        family = HistogramMetricFamily(
            "tongbao_statement_rows", "Rows of one coalesced statement.", labels=["statement"]
        )
        for statement, sizes in self._sizes().items():
            told = Tally(sizes)  # A copy: the loop goes on counting while we add up.
            rungs = [(str(rung), sum(told[size] for size in told if size <= rung))
                     for rung in _ROWS]  # fmt: skip
            total = sum(size * count for size, count in told.items())
            family.add_metric([statement], [*rungs, ("+Inf", told.total())], total)
        yield family


class FileExporter(SpanExporter):
    """Writes spans as JSON lines."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = path.open("a", buffering=1 << 16)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Append `spans` to the file."""
        self._file.writelines(span.to_json(indent=None) + "\n" for span in spans)
        self._file.flush()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close the file."""
        self._file.close()


@contextmanager
def tracing(service: str, *, home: Path, endpoint: str | None, ratio: float) -> Iterator[None]:
    """Send spans somewhere inside the block; `ratio` of the traces that begin here are kept."""
    global _tracer
    exporter = (
        OTLPSpanExporter(endpoint=endpoint, insecure=endpoint.startswith("http://"))
        if endpoint
        else FileExporter(home / "traces" / f"{service}.jsonl")
    )
    provider = TracerProvider(
        resource=Resource.create({"service.name": f"tongbao-{service}"}),
        sampler=ParentBased(TraceIdRatioBased(ratio)),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    before, _tracer = _tracer, provider.get_tracer("tongbao")
    try:
        yield
    finally:
        _tracer = before
        provider.shutdown()  # Sends what is left.


@contextmanager
def span(name: str, *, traceparent: str = "", kind: SpanKind = SpanKind.SERVER) -> Iterator[str]:
    """Run the block in a span below `traceparent`; yield the traceparent for what follows."""
    parent = _PROPAGATOR.extract({"traceparent": traceparent}) if traceparent else None
    with _tracer.start_as_current_span(name, context=parent, kind=kind):
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier)
        yield carrier.get("traceparent", "")


def tag_span() -> None:
    """Give the current span the trace number that the flow has noted."""
    current = trace.get_current_span()
    if current.is_recording() and (trace_no := acting().trace_no):
        current.set_attribute("tongbao.trace_no", trace_no)
