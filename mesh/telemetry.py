"""Spans and metrics of every call, hand-written: one span a call costs less than one layer
of a generic instrumentation (performance.md A).

Spans go to OTLP when `TONGBAO_OTLP_ENDPOINT` is set, else to `<home>/traces/<service>.jsonl`.
"""

from __future__ import annotations

import random
import re
from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from mesh.context import Acting, acting
from mesh.otlp import exporter_for

_PROPAGATOR = TraceContextTextMapPropagator()
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_KEPT = frozenset("13579bdf")  # Last digits of a traceparent whose trace is kept.
_tracer = trace.get_tracer("tongbao")
_ratio = 0.0  # Of the traces that begin here, how many are kept.

# Names follow the OpenTelemetry semantic conventions for RPC, spelled for Prometheus.
CALL_SECONDS = Histogram(
    "rpc_server_call_duration_seconds",
    "How long a call took, by method and status.",
    ["rpc_method", "rpc_response_status_code"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
INBOX_LAG = Gauge("tongbao_inbox_lag", "Messages of a stream that are yet to be read.", ["source"])
EVENTS_APPLIED = Counter(
    "tongbao_events_applied_total", "Events whose effects are durable.", ["source"]
)
DEAD_LETTERS = Counter(
    "tongbao_dead_letters_total", "Events that could not be applied.", ["source"]
)
CASES_OVERDUE = Gauge(
    "tongbao_cases_overdue", "Cases that nobody has resolved by their deadline.", ["kind"]
)
BOOK_TAMPERED = Gauge(
    "tongbao_ledger_book_tampered",
    "1 for a book that is not where its last checkpoint was, else 0.",
    ["book"],
)
HISTORY_OVERDUE = Gauge(
    "tongbao_ledger_history_overdue_seconds",
    "For how long the oldest closed accounting day has been due for its files; 0: none.",
    ["book"],
)
PARTITIONS_NOT_MADE = Gauge(
    "tongbao_partitions_not_made",
    "1 when partitions for the time to come could not be made, else 0.",
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


class PoolUse(Collector):
    """How long statements wait for a connection of the pool. Counted there already."""

    def __init__(self, stats: Callable[[], Mapping[str, int]]) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        """Yield size, requests, those that waited, and the seconds they waited."""
        told = self._stats()
        size = "Connections to PostgreSQL."
        yield GaugeMetricFamily("tongbao_pool_connections", size, told.get("pool_size", 0))
        for name, text, key, scale in _POOL_COUNTERS:
            yield CounterMetricFamily(name, text, told.get(key, 0) / scale)


_POOL_COUNTERS = (
    ("tongbao_pool_requests", "Connections asked for.", "requests_num", 1),
    ("tongbao_pool_waits", "Of these, how often one had to be waited for.", "requests_queued", 1),
    ("tongbao_pool_wait_seconds", "How long, in all.", "requests_wait_ms", 1000),
    ("tongbao_pool_failures", "How often none was to be had.", "requests_errors", 1),
)


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
    global _tracer, _ratio
    exporter = exporter_for(endpoint) or FileExporter(home / "traces" / f"{service}.jsonl")
    provider = TracerProvider(
        resource=Resource.create({"service.name": f"tongbao-{service}"}),
        sampler=ParentBased(ALWAYS_ON),  # Who is not kept comes not so far: see `span`.
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    before, _tracer = (_tracer, _ratio), provider.get_tracer("tongbao")
    _ratio = ratio
    try:
        yield
    finally:
        _tracer, _ratio = before
        provider.shutdown()  # Sends what is left.


def span(
    name: str, *, traceparent: str = "", kind: SpanKind = SpanKind.SERVER
) -> AbstractContextManager[str]:
    """Run the block in a span below `traceparent`; it yields the traceparent for what follows.

    Most traces are not kept: then there is no span, only ids, and it costs next to nothing.
    """
    if not _TRACEPARENT.fullmatch(traceparent):
        if random.random() >= _ratio:  # noqa: S311 nothing is secret here
            ids = random.getrandbits(128) | 1, random.getrandbits(64) | 1
            return nullcontext(f"00-{ids[0]:032x}-{ids[1]:016x}-00")
        traceparent = ""
    elif not _is_kept(traceparent):
        return nullcontext(traceparent)
    return _kept_span(name, traceparent=traceparent, kind=kind)


def traced(name: str, who: Acting, *, kind: SpanKind) -> AbstractContextManager[Acting]:
    """Run the block in a span of one item or event of `who`; it yields who acts below it.

    Most traces are not kept: then there is no span, and this costs next to nothing.
    """
    return _traced(name, who, kind=kind) if _is_kept(who.traceparent) else nullcontext(who)


def _is_kept(traceparent: str) -> bool:
    return traceparent[-1:] in _KEPT


@contextmanager
def _kept_span(name: str, *, traceparent: str, kind: SpanKind) -> Iterator[str]:
    parent = _PROPAGATOR.extract({"traceparent": traceparent}) if traceparent else None
    # No texts of exceptions: they may hold what nobody should read.
    with _tracer.start_as_current_span(
        name, context=parent, kind=kind, record_exception=False, set_status_on_exception=False
    ) as current:
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier)
        try:
            yield carrier.get("traceparent", "")
        except BaseException as error:
            current.set_status(StatusCode.ERROR, type(error).__name__)
            raise


@contextmanager
def _traced(name: str, who: Acting, *, kind: SpanKind) -> Iterator[Acting]:
    with _kept_span(name, traceparent=who.traceparent, kind=kind) as below:
        if who.trace_no:
            trace.get_current_span().set_attribute("tongbao.trace_no", who.trace_no)
        yield replace(who, traceparent=below)


def tag_span() -> None:
    """Give the current span the trace number that the flow has noted."""
    current = trace.get_current_span()
    if current.is_recording() and (trace_no := acting().trace_no):
        current.set_attribute("tongbao.trace_no", trace_no)
