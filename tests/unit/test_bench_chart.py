"""The picture of a sweep."""

from xml.etree import ElementTree

import pytest

from bench.chart import chart

SVG = "{http://www.w3.org/2000/svg}"
LEVELS = [
    {"in_flight": 1, "payments_per_s": 20.0, "p50_ms": 40.0, "p99_ms": 80.0},
    {"in_flight": 64, "payments_per_s": 640.0, "p50_ms": 90.0, "p99_ms": 200.0},
    {"in_flight": 2048, "payments_per_s": 900.0, "p50_ms": 2000.0, "p99_ms": 2600.0},
]


def _points(picture):
    lines = ElementTree.fromstring(picture).iter(f"{SVG}polyline")
    return [[tuple(map(float, point.split(","))) for point in line.get("points").split()]
            for line in lines]  # fmt: skip


def test_more_is_further_right_and_higher():
    """Three lines with a point for each level."""
    throughput, median, slowest = _points(chart(LEVELS, title="pay-wallet"))
    for line in (throughput, median, slowest):
        across = [x for x, _ in line]
        assert across == sorted(across)
    assert throughput[0][1] > throughput[1][1] > throughput[2][1]  # SVG counts from above.
    assert all(low[1] > high[1] for low, high in zip(median, slowest, strict=True))


@pytest.mark.parametrize("levels", [LEVELS[:1], [LEVELS[0] | {"payments_per_s": 0.0}]])
def test_one_level_or_none_paid_is_a_picture_too(levels):
    """It is well-formed XML and says what it is about."""
    picture = chart(levels, title="a <b> & c")
    assert "a &lt;b&gt; &amp; c" in picture
    assert len(_points(picture)) == 3
