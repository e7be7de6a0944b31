"""Which calls have a span, and what the calls behind them are told."""

import json
import re

import pytest
from opentelemetry.trace import SpanKind

from mesh.context import Acting
from mesh.telemetry import span, traced, tracing

KEPT, NOT_KEPT = (f"00-{1:032x}-{2:016x}-0{flag}" for flag in (1, 0))


@pytest.fixture
def spans(tmp_path):
    """Names of the spans that were written, after leaving the block of `tracing`."""

    def written():
        file = tmp_path / "traces" / "toy.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [json.loads(line)["name"] for line in lines]

    def trace(ratio):
        return tracing("toy", home=tmp_path, endpoint=None, ratio=ratio)

    return trace, written


def test_a_trace_that_is_kept_is_kept_on(spans):
    """A span of our own below it; what follows is told of ours."""
    trace, written = spans
    with trace(0.0), span("call", traceparent=KEPT) as below:
        assert below[:36] == KEPT[:36]
        assert below[36:] != KEPT[36:]
        assert below[-1] in "13"  # Kept; the other bit says that its number was drawn.
    assert written() == ["call"]


def test_a_trace_that_is_not_kept_passes_as_it_is(spans):
    """No span, also where all new ones are kept."""
    trace, written = spans
    with trace(1.0), span("call", traceparent=NOT_KEPT) as below:
        assert below == NOT_KEPT
    assert written() == []


@pytest.mark.parametrize(("ratio", "flag"), [(1.0, "0[13]"), (0.0, "00")])
@pytest.mark.parametrize("traceparent", ["", "nonsense", "00-1-2-01"])
def test_a_new_trace_is_kept_or_not(spans, ratio, flag, traceparent):
    """It has ids in any case, so that the lines of one call can be found."""
    trace, written = spans
    with trace(ratio), span("call", traceparent=traceparent) as below:
        assert re.fullmatch(rf"00-[0-9a-f]{{32}}-[0-9a-f]{{16}}-{flag}", below)
    assert written() == (["call"] if ratio else [])


def test_an_item_of_a_kept_trace_has_a_span(spans):
    """With its owner's trace below it; one that is not kept is left alone."""
    trace, written = spans
    who = Acting(app_id="mall", trace_no="MALL-1", traceparent=KEPT)
    with trace(0.0):
        with traced("item", who, kind=SpanKind.SERVER) as below:
            assert (below.app_id, below.traceparent != KEPT) == ("mall", True)
        other = Acting(traceparent=NOT_KEPT)
        with traced("item", other, kind=SpanKind.SERVER) as same:
            assert same is other
    assert written() == ["item"]
