"""Spans to a collector by OTLP, over gRPC or over HTTP as the address says."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Sequence
from urllib.parse import urlsplit

import structlog
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

_SECONDS = 10.0

log = structlog.get_logger()


class HttpExporter(SpanExporter):
    """Posts spans as protobuf. What a collector does not take is lost, and that is logged:
    telemetry never holds a payment up."""

    def __init__(self, url: str) -> None:
        self._url = url

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send `spans`; called by the exporting thread only."""
        request = urllib.request.Request(  # noqa: S310  # Its scheme was looked at.
            self._url,
            data=encode_spans(spans).SerializeToString(),
            headers={"Content-Type": "application/x-protobuf"},
        )
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS):  # noqa: S310
                return SpanExportResult.SUCCESS
        except (urllib.error.URLError, OSError) as error:
            log.warning("spans_not_sent", spans=len(spans), problem=str(error))
            return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Nothing is open."""


def exporter_for(endpoint: str | None) -> SpanExporter | None:
    """Return what sends spans to `endpoint`; None if there is none."""
    if not endpoint:
        return None
    parts = urlsplit(endpoint)
    if parts.path.strip("/") and parts.scheme in ("http", "https"):
        return HttpExporter(endpoint)
    return OTLPSpanExporter(endpoint=endpoint, insecure=parts.scheme == "http")
