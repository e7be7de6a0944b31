"""Throughput and waiting time over payments in flight, as one SVG picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 300  # Of one panel.
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 36, 44
_STEPS = (1, 2, 2.5, 5, 10)

Level = Mapping[str, Any]


def chart(levels: Sequence[Level], *, title: str) -> str:
    """Return the picture: payments a second above, p50 and p99 in milliseconds below.

    Each level has `in_flight`, `payments_per_s`, `p50_ms` and `p99_ms`.
    """
    panels = [
        _panel(levels, {"payments_per_s": "#1b6ca8"}, title=f"{title}: payments a second"),
        _panel(levels, {"p50_ms": "#8a8a8a", "p99_ms": "#b3392f"}, title="p50, p99 in ms"),
    ]
    body = "".join(
        f'<g transform="translate(0,{place * HEIGHT})">{panel}</g>'
        for place, panel in enumerate(panels)
    )
    size = f'width="{WIDTH}" height="{HEIGHT * len(panels)}"'
    font = 'font-family="sans-serif" font-size="12"'
    ground = '<rect width="100%" height="100%" fill="white"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>{ground}{body}</svg>\n'


def _panel(levels: Sequence[Level], lines: Mapping[str, str], *, title: str) -> str:
    """Return one pair of axes with a line for each name in `lines`, in its colour."""
    top = _above(max(float(level[name]) for level in levels for name in lines))
    x, y = _across(levels), _upwards(top)
    parts = [f'<text x="{_LEFT}" y="20" font-weight="bold">{escape(title)}</text>']
    for part in range(5):
        value = top * part / 4
        at = y(value)
        parts.append(f'<path d="M{_LEFT} {at:.1f}H{WIDTH - _RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{value:g}</text>')
    for level in levels:
        at, below = x(level["in_flight"]), HEIGHT - _BOTTOM + 18
        parts.append(f'<text x="{at:.1f}" y="{below}" text-anchor="middle">'
                     f"{level['in_flight']}</text>")  # fmt: skip
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">in flight</text>')
    for name, colour in lines.items():
        points = [(x(level["in_flight"]), y(float(level[name]))) for level in levels]
        path = " ".join(f"{across:.1f},{up:.1f}" for across, up in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{across:.1f}" cy="{up:.1f}" r="3" fill="{colour}"/>'
                  for across, up in points]  # fmt: skip
    return "".join(parts)


def _across(levels: Sequence[Level]) -> Callable[[int], float]:
    """Return where a number in flight lies: as far to the next as twice as many."""
    logs = [math.log2(level["in_flight"]) for level in levels]
    least, span = min(logs), (max(logs) - min(logs)) or 1
    width = WIDTH - _LEFT - _RIGHT - 20
    return lambda in_flight: _LEFT + 10 + (math.log2(in_flight) - least) / span * width


def _upwards(top: float) -> Callable[[float], float]:
    height = HEIGHT - _TOP - _BOTTOM
    return lambda value: HEIGHT - _BOTTOM - value / top * height


def _above(value: float) -> float:
    """Return the next round number at or above `value`."""
    power = 10 ** math.floor(math.log10(max(value, 1)))
    return float(next(step * power for step in _STEPS if step * power >= value))
