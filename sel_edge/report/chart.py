"""Inline SVG without any library: scales, axes and a line chart.

A chart is drawn twice, once for a phone and once for a wide screen, so that its text keeps its
size; the page's style sheet shows the one that fits and gives every part its colour by class.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

NARROW, WIDE = 344, 900
"""Widths in CSS pixels: what a phone of 390 px leaves, and the page's full column."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Scale:
    """A straight map from data (low..high) to pixels (start..end)."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.start + share * (self.end - self.start)


@dataclass(frozen=True)
class Series:
    """One line of a chart: its name, its style class, and its points; None where it is broken."""

    name: str
    style: str
    points: Sequence[tuple[float, float | None]]


def tag(name: str, content: str = "", **attributes: str | float) -> Markup:
    """An SVG element; attributes and plain content are escaped, `class_` and `_` become - names."""
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_short(value))}"'
        for key, value in attributes.items()
    )
    return Markup(f"<{name}{shown}>{escape(content)}</{name}>")  # noqa: S704 - all parts escaped


def join(parts: Iterable[str]) -> Markup:
    """Several elements as one."""
    return Markup("").join(parts)


def both_widths(draw: Callable[[int], Markup]) -> Markup:
    """The chart for phones and for wide screens; the style sheet hides one of them."""
    return join(
        tag("div", draw(width), class_=style)
        for width, style in ((NARROW, "narrow"), (WIDE, "wide"))
    )


def svg(width: int, height: float, label: str, content: Markup) -> Markup:
    """The outermost element, with a label for those who cannot see it."""
    return tag(
        "svg",
        join([tag("title", label), content]),
        viewBox=f"0 0 {width} {height:.0f}",
        role="img",
        aria_label=label,
        class_="chart",
    )


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers within low..high, at most `most` of them (one more at times), ascending."""
    span = high - low
    if span <= 0:
        return [low]
    rough = span / max(most, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def path(points: Sequence[tuple[float, float | None]], style: str) -> Markup:
    """A line through pixel points, broken where y is None; a lone point becomes a dot."""
    runs: list[list[Point]] = [[]]
    for x, y in points:
        if y is None:
            runs.append([])
        else:
            runs[-1].append((x, y))
    lines = ["M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in run) for run in runs if len(run) > 1]
    dots = [tag("circle", cx=run[0][0], cy=run[0][1], r=2.5) for run in runs if len(run) == 1]
    return tag("g", join([tag("path", d="".join(lines)), *dots]), class_=f"line {style}")


def horizontal_axis(scale: Scale, bottom: float, label: str, most: int) -> Markup:
    """Tick numbers and the axis' name below a panel that ends at `bottom`."""
    parts = []
    for value in ticks(scale.low, scale.high, most):
        x = scale(value)
        anchor = "middle" if x < scale.end - 14 else "end"
        parts.append(tag("text", f"{value:,.10g}", x=x, y=bottom + 15, text_anchor=anchor))
    middle = (scale.start + scale.end) / 2
    parts.append(tag("text", label, x=middle, y=bottom + 31, text_anchor="middle"))
    return tag("g", join(parts), class_="axis")


def vertical_axis(
    scale: Scale, left: float, right: float, values: Sequence[float], words: Callable[[float], str]
) -> Markup:
    """Grid lines and tick texts left of a panel."""
    parts = []
    for value in values:
        y = scale(value)
        parts.append(tag("line", x1=left, x2=right, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", words(value), x=left - 6, y=y + 4, text_anchor="end"))
    return tag("g", join(parts), class_="axis")


def line_chart(series: Sequence[Series], x_label: str, label: str) -> Markup:
    """Shares of 1 over a rising number, as lines in percent with a legend below.

    Args:
        series: at least one with a point; y in 0..1.
        x_label: what x counts, with its unit.
        label: the chart in words.
    """
    xs = [x for one in series for x, _ in one.points]

    def draw(width: int) -> Markup:
        left, right, top, bottom = 46.0, width - 8.0, 8.0, 168.0
        x = Scale(min(xs), max(xs), left + 4, right - 4)
        y = Scale(0, 1, bottom, top)
        grid = [0.0, 0.25, 0.5, 0.75, 1.0]
        parts = [vertical_axis(y, left, right, grid, lambda value: f"{100 * value:.0f} %")]
        parts += [
            path([(x(at), None if v is None else y(v)) for at, v in one.points], one.style)
            for one in series
        ]
        parts.append(horizontal_axis(x, bottom, x_label, width // 60))
        return svg(width, bottom + 40, label, join(parts))

    keys = [
        tag("span", join([tag("i", class_=f"swatch {one.style}"), escape(one.name)]), class_="key")
        for one in series
    ]
    return join([both_widths(draw), tag("div", join(keys), class_="legend")])


def _short(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
