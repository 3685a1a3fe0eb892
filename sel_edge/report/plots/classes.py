"""The plots with one part per class: embarrassment, confidence, accuracy bars."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, PercentFormatter

from sel_edge.report import palette, wording
from sel_edge.report.plots import style
from sel_edge.report.plots.lines import Comparison
from sel_edge.report.plots.style import Plot
from sel_edge.report.system import System

MOST_PANELS = 24
MOST_BARS = 40
NAME_WIDTH = 16


def embarrassment(runs: Comparison) -> Plot:
    """E of every class over the run, one small panel each."""
    title = "Embarrassment E of each class"
    figure, worst = _panels(runs, "E", f"{title}, nats", None)
    caption = "Mean cross-entropy on the training images at temperature 1.5; lower is surer."
    if worst is not None:
        name, value = worst
        caption += f" The most embarrassed class ends at {value:.2f} ({name})."
    return Plot("embarrassment", title, caption, style.to_svg(figure))


def confidence(runs: Comparison) -> Plot:
    """C of every class over the run, one small panel each."""
    title = "Confidence C of each class"
    figure, _ = _panels(runs, "C", title, 1.03)
    caption = "C = max(0, 1 − E): zero until a class is learned, one when it holds no surprise."
    return Plot("confidence", title, caption, style.to_svg(figure))


def bars(runs: Comparison) -> Plot:
    """Accuracy of each class after the last epoch, dense beside SEL."""
    names = list(runs.sel.classes)
    names.sort(key=lambda name: runs.sel.last(f"acc_{name}") or 0.0, reverse=True)
    shown = names[-MOST_BARS:]
    figure, axes = style.canvas("Accuracy of each class", 1.2 + 0.36 * len(shown))
    y = np.arange(len(shown))
    for system, shift in ((runs.dense, -0.2), (runs.sel, 0.2)):
        strong, _ = runs.colors(system)
        values = [system.last(f"acc_{name}") or 0.0 for name in shown]
        axes.barh(y + shift, values, 0.36, color=strong, label=system.label)
        published = runs.published(system)
        if published is not None:
            marks = [published.last(f"acc_{name}") for name in shown]
            known = [
                (value, at + shift) for value, at in zip(marks, y, strict=True) if value is not None
            ]
            if known:
                marker = "D" if system is runs.sel else "o"
                axes.plot(
                    *zip(*known, strict=True),
                    marker,
                    ms=4.5,
                    mfc=palette.PAPER,
                    mec=palette.INK,
                    label=published.label,
                )
    axes.set_yticks(y, [wording.printable(name, NAME_WIDTH) for name in shown])
    axes.tick_params(axis="y", labelcolor=palette.INK)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(0, 1.01)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("accuracy on the first 100 test images of the class")
    axes.grid(axis="y", visible=False)
    style.legend_above(axes)
    caption = "Sorted by SEL's accuracy" + (
        f"; the {MOST_BARS} weakest of {len(names)} classes." if len(shown) < len(names) else "."
    )
    return Plot("per-class", "Accuracy of each class", caption, style.to_svg(figure))


def _panels(
    runs: Comparison, part: str, title: str, top: float | None
) -> tuple[Figure, tuple[str, float] | None]:
    """Small panels of `part`_<class> over the run, and the class that ends highest."""
    ends = {name: runs.sel.last(f"{part}_{name}") for name in runs.sel.classes}
    known = {name: value for name, value in ends.items() if value is not None}
    ranked = sorted(known, key=lambda name: known[name], reverse=part == "E")
    worst = (wording.printable(ranked[0]), known[ranked[0]]) if ranked else None
    shown = [name for name in runs.sel.classes if name in set(ranked[:MOST_PANELS])]
    rows = max(1, math.ceil(len(shown) / 2))
    if len(ranked) > len(shown):
        title += f" (the {MOST_PANELS} weakest)"
    figure = style.blank(title, 1.1 + 0.92 * rows)
    grid = figure.subplots(rows, 2, sharex=True, sharey=True, squeeze=False)
    cells: list[Axes] = list(grid.flat)
    for axes, name in zip(cells, shown, strict=False):
        _panel(axes, runs, f"{part}_{name}")
        axes.set_title(wording.printable(name, 22), fontsize=9, loc="left", pad=3)
    for axes in cells[len(shown) :]:
        axes.set_visible(False)
    cells[0].set_ylim(0, top)
    cells[0].yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    _shared_axis(figure, cells, runs, len(shown))
    return figure, worst


def _panel(axes: Axes, runs: Comparison, column: str) -> None:
    for system in (runs.dense, runs.sel):
        strong, pale = runs.colors(system)
        published = runs.published(system)
        if published is not None and published.has(column):
            _draw(axes, runs, published, column, pale, 1.3)
        if system.has(column):
            _draw(axes, runs, system, column, strong, 1.8)


def _draw(
    axes: Axes, runs: Comparison, system: System, column: str, color: str, width: float
) -> None:
    x = runs.x(system)
    marker = "o" if len(x) == 1 else ""
    axes.plot(
        x, system.column(column), color=color, lw=width, marker=marker, ms=4, label=system.label
    )


def _shared_axis(figure: Figure, cells: list[Axes], runs: Comparison, shown: int) -> None:
    if runs.by_progress:
        cells[0].set_xlim(0, 101)
        cells[0].xaxis.set_major_locator(FixedLocator([0, 50, 100]))
        cells[0].xaxis.set_major_formatter(PercentFormatter(100))
    else:
        cells[0].xaxis.set_major_locator(MaxNLocator(4, integer=True))
    if shown % 2 and shown > 1:
        cells[shown - 2].tick_params(labelbottom=True)
    figure.supxlabel(
        "share of the run's epochs" if runs.by_progress else "epoch",
        fontsize=9.5,
        color=palette.MUTED,
    )
    handles = {
        label: handle
        for axes in cells
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    if handles:
        cells[0].legend(
            list(handles.values()),
            list(handles),
            loc="lower left",
            bbox_to_anchor=(0, 1.4),
            ncols=2,
        )
