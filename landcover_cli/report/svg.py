"""Charts as inline SVG: small, sharp at any size, and every text in them escaped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

_WIDTH, _HEIGHT = 360, 210
"""Narrow on purpose: at this width the text stays readable on a phone."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 8, 10, 34
LINE_COLORS = ("#1f6fb2", "#d1701f", "#3a8f4d", "#8a5cb0", "#7a7a7a", "#b0413e")
STACK_COLORS = ("#7a1f2b", "#c9623c", "#efc66b", "#8fb9a8", "#2f5f8a")


def line_chart(x: Sequence[float], series: Mapping[str, Sequence[float | None]], label: str) -> Markup:
    """Lines over a common axis; gaps where a value is None."""
    values = [value for line in series.values() for value in line if value is not None]
    low, high = _nice_span(min(values, default=0.0), max(values, default=1.0))
    first, last = (min(x), max(x)) if x else (0.0, 1.0)
    parts = [_axes(low, high, [(_across(at, first, last), f"{at:g}") for at in _ticks(first, last)])]
    for number, (_, line) in enumerate(series.items()):
        points = [
            None if value is None else (_across(at, first, last), _down(value, low, high))
            for at, value in zip(x, line, strict=True)
        ]
        parts.append(_polyline(points, LINE_COLORS[number % len(LINE_COLORS)]))
    return _svg(parts, label)


def stacked_bars(columns: Mapping[str, Sequence[float]], label: str) -> Markup:
    """Columns of shares that add up to the whole of each column."""
    step = (_WIDTH - _LEFT - _RIGHT) / max(1, len(columns))
    every = max(1, math.ceil(len(columns) / 6))
    ticks = [(_LEFT + step * (number + 0.5), name) for number, name in enumerate(columns) if number % every == 0]
    parts = [_axes(0, 100, ticks, "%")]
    for number, counts in enumerate(columns.values()):
        total = sum(counts)
        below = 0.0
        for color, count in zip(STACK_COLORS, counts, strict=True):
            if not count:
                continue
            top, bottom = _down(100 * (below + count) / total, 0, 100), _down(100 * below / total, 0, 100)
            parts.append(
                Markup('<rect x="{}" y="{}" width="{}" height="{}" fill="{}"/>').format(
                    _n(_LEFT + step * (number + 0.08)), _n(top), _n(step * 0.84), _n(bottom - top), color
                )
            )
            below += count
    return _svg(parts, label)


def _svg(parts: Sequence[Markup], label: str) -> Markup:
    head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(_WIDTH, _HEIGHT, label)
    return head + Markup("").join(parts) + Markup("</svg>")


def _axes(low: float, high: float, ticks: Sequence[tuple[float, str]], unit: str = "") -> Markup:
    parts = []
    for value in _ticks(low, high):
        y = _n(_down(value, low, high))
        parts.append(
            Markup(
                '<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/><text x="{}" y="{}" text-anchor="end">{}</text>'
            ).format(_LEFT, _WIDTH - _RIGHT, y, y, _LEFT - 5, _n(_down(value, low, high) + 4), f"{value:g}{unit}")
        )
    for x, text in ticks:
        parts.append(_text(x, _HEIGHT - _BOTTOM + 18, "middle", text))
    return Markup("").join(parts)


def _text(x: float, y: float, anchor: str, text: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(_n(x), _n(y), anchor, text)


def _polyline(points: Sequence[tuple[float, float] | None], color: str) -> Markup:
    path, pen = [], "M"
    for point in points:
        if point is None:
            pen = "M"
            continue
        path.append(f"{pen}{_n(point[0])} {_n(point[1])}")
        pen = "L"
    dots = [point for point in points if point is not None]
    if len(dots) == 1:
        return Markup('<circle cx="{}" cy="{}" r="3" fill="{}"/>').format(_n(dots[0][0]), _n(dots[0][1]), color)
    return Markup('<path d="{}" fill="none" stroke="{}" stroke-width="2" stroke-linejoin="round"/>').format(
        " ".join(path), color
    )


def _across(value: float, first: float, last: float) -> float:
    span = last - first
    inner = _WIDTH - _LEFT - _RIGHT
    return _LEFT + (inner / 2 if span == 0 else inner * (value - first) / span)


def _down(value: float, low: float, high: float) -> float:
    return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - (value - low) / (high - low))


def _nice_span(low: float, high: float) -> tuple[float, float]:
    """A span with round ends around the values; never empty."""
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = low - 0.5, high + 0.5
    step = _step(high - low)
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


def _ticks(low: float, high: float) -> list[float]:
    if high <= low:
        return [low]
    step = _step(high - low)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _step(span: float) -> float:
    """1, 2 or 5 times a power of ten, so that a span has about four steps."""
    rough = span / 4
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))


def _n(value: float) -> str:
    return f"{value:.1f}"
