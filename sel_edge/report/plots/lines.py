"""The plots over epochs: accuracy, frozen weights, FLOPs, time, and accuracy against savings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    MaxNLocator,
    NullLocator,
    PercentFormatter,
)
from numpy.typing import NDArray

from sel_edge.report import palette, wording
from sel_edge.report.plots import style
from sel_edge.report.plots.style import Plot
from sel_edge.report.system import TERA, Reference, System

LOG_TIME_RATIO = 20
"""Published and own times this far apart share a logarithmic axis."""


@dataclass(frozen=True)
class Comparison:
    """The two runs of a comparison, and the published ones under them."""

    dense: System
    sel: System
    reference: Reference | None = None

    @property
    def by_progress(self) -> bool:
        """Whether x is the share of each run instead of its epoch.

        A run scaled to few epochs and a published one of many have only that in common.
        """
        if self.reference is None:
            return False
        theirs = (self.reference.dense.epochs, self.reference.sel.epochs)
        return (self.dense.epochs, self.sel.epochs) != theirs

    def x(self, system: System) -> NDArray[np.float64]:
        """Where the system's epochs lie on the x axis, float64 [epochs]."""
        epochs = np.arange(1, system.epochs + 1, dtype=np.float64)
        return 100 * epochs / system.epochs if self.by_progress else epochs

    def published(self, system: System) -> System | None:
        """The published counterpart of one of the two runs."""
        if self.reference is None:
            return None
        return self.reference.dense if system is self.dense else self.reference.sel

    def colors(self, system: System) -> tuple[str, str]:
        """(strong, pale) colour of one of the two runs."""
        if system is self.dense:
            return palette.DENSE, palette.DENSE_PALE
        return palette.SEL, palette.SEL_PALE


def accuracy(runs: Comparison, system: System, name: str) -> Plot:
    """Train and test accuracy of one run."""
    figure, axes = style.canvas(f"Accuracy of {system.label}, train and test")
    strong, pale = runs.colors(system)
    published = runs.published(system)
    if published is not None:
        _line(axes, runs, published, "train_acc", pale, "published train", "--", under=True)
        _line(axes, runs, published, "test_full_acc", pale, "published test", under=True)
    _line(axes, runs, system, "train_acc", palette.INK, "train", "--")
    _line(axes, runs, system, "test_full_acc", strong, "test, all images")
    _line(axes, runs, system, "test_100_acc", strong, "test, 100 per class", ":")
    _percent_axis(axes)
    _epoch_axis(axes, runs)
    _stage_bands(axes, runs, system)
    style.legend_above(axes)
    end, train = system.last("test_full_acc"), system.last("train_acc")
    caption = (
        f"{wording.percent(end)} of the test set and {wording.percent(train)} of the training "
        f"images it saw are right after {wording.counted(system.epochs, 'epoch')}."
    )
    return Plot(name, f"Accuracy of {system.label}", caption, style.to_svg(figure))


def head_to_head(runs: Comparison) -> Plot:
    """Test accuracy of both runs."""
    figure, axes = style.canvas("Test accuracy, head to head")
    _both(axes, runs, "test_full_acc")
    _percent_axis(axes)
    _epoch_axis(axes, runs)
    style.legend_above(axes)
    caption = (
        f"On the whole test set: dense {wording.percent(runs.dense.last('test_full_acc'))}, "
        f"SEL {wording.percent(runs.sel.last('test_full_acc'))}."
    )
    return Plot("head-to-head", "Test accuracy, head to head", caption, style.to_svg(figure))


def frozen(runs: Comparison) -> Plot:
    """Gradients zeroed beside weights that really stayed as they were."""
    figure, axes = style.canvas("Frozen on paper, frozen in fact")
    published = runs.published(runs.sel)
    if published is not None:
        label = "published, zeroed"
        _line(axes, runs, published, "sparsity", palette.SEL_PALE, label, under=True)
    _line(axes, runs, runs.sel, "sparsity", palette.SEL, "gradients zeroed", "--")
    unchanged = 1 - runs.sel.column("changed_fraction")
    if np.isfinite(unchanged).any():
        x = runs.x(runs.sel)
        axes.plot(x, unchanged, color=palette.SEL, label="weights unchanged", marker=_marker(x))
    _percent_axis(axes, "share of all parameters")
    _epoch_axis(axes, runs)
    _stage_bands(axes, runs, runs.sel)
    style.legend_above(axes)
    zeroed = wording.percent(runs.sel.last("sparsity"))
    caption = f"In the last epoch SEL zeroed {zeroed} of the gradients of a step"
    if np.isfinite(unchanged[-1]):
        caption += f"; {wording.percent(float(unchanged[-1]))} of the weights stayed as they were"
    if unchanged[-1] < (runs.sel.last("sparsity") or 0.0):
        caption += ", because Adam's momentum also moves weights whose gradient was zeroed"
    return Plot("frozen", "Fraction frozen", caption + ".", style.to_svg(figure))


def cumulative_flops(runs: Comparison) -> Plot:
    """Cumulative FLOPs, paper and executed, on a logarithmic axis."""
    figure, axes = style.canvas("Cumulative FLOPs, on paper and executed", 3.4)
    for system in (runs.dense, runs.sel):
        strong, pale = runs.colors(system)
        published = runs.published(system)
        x = runs.x(system)
        if published is not None:
            label = f"{published.label}, paper"
            paper = published.column("flops_T") * TERA
            axes.plot(runs.x(published), paper, "--", color=pale, lw=1.3, label=label, zorder=1)
        for name, kind, line in (("flops_T", "paper", "--"), ("executed_flops_T", "executed", "-")):
            if system.has(name):
                label = f"{system.label}, {kind}"
                values = system.column(name) * TERA
                axes.plot(x, values, line, color=strong, label=label, marker=_marker(x))
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: wording.scaled(value, "")))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel("FLOPs since the start")
    _epoch_axis(axes, runs)
    style.legend_above(axes)
    return Plot("flops", "Cumulative FLOPs", _flops_caption(runs), style.to_svg(figure))


def training_time(runs: Comparison) -> Plot:
    """Cumulative training time."""
    figure, axes = style.canvas("Time")
    systems = [runs.dense, runs.sel]
    if runs.reference is not None:
        systems += [runs.reference.dense, runs.reference.sel]
    ends = [end for end in (system.last("time_s") for system in systems) if end]
    long = max(ends, default=0) > 180
    _both(axes, runs, "time_s", 1 / 60 if long else 1.0)
    axes.set_ylabel(f"time since the start, {'min' if long else 's'}")
    if ends and max(ends) > LOG_TIME_RATIO * min(ends):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.set_ylim(bottom=0)
    _epoch_axis(axes, runs)
    style.legend_above(axes)
    caption = (
        f"Training with its evaluations took {wording.duration(runs.dense.last('time_s'))} dense "
        f"and {wording.duration(runs.sel.last('time_s'))} with SEL."
    )
    return Plot("time", "Time", caption, style.to_svg(figure))


def accuracy_against_saved(runs: Comparison) -> Plot:
    """Test accuracy of each epoch against the FLOPs saved so far, paper and executed."""
    figure, axes = style.canvas("Accuracy against FLOPs saved", 3.4)
    spent: list[float] = [1.0]
    kinds = (("flops_T", "paper", "--"), ("executed_flops_T", "executed", "-"))
    pairs = [(runs.dense, runs.dense, 1.0), (runs.sel, runs.dense, 1.0)]
    if runs.reference is not None:
        pairs.insert(0, (runs.reference.sel, runs.reference.dense, 0.6))
    for system, whole, width in pairs:
        color = runs.colors(system)[0] if width == 1 else palette.SEL_PALE
        for name, kind, line in kinds:
            total = whole.last(name)
            if not total or not system.has(name):
                continue
            share = system.column(name) / total
            spent += [float(value) for value in share if value > 0]
            label, accuracies = f"{system.label}, {kind}", system.column("test_full_acc")
            axes.plot(share, accuracies, line, color=color, lw=2 * width, label=label)
            axes.plot(share[-1:], accuracies[-1:], "o", color=color, ms=6 * width)
    _saved_axis(axes, min(spent), max(spent))
    _percent_axis(axes)
    style.legend_above(axes)
    caption = (
        "Each line is one run from its first epoch to its last (dot); right is cheaper. Zero is "
        "the whole dense run. " + _flops_caption(runs)
    )
    return Plot("accuracy-saved", "Accuracy against FLOPs saved", caption, style.to_svg(figure))


def _saved_axis(axes: Axes, least: float, most: float) -> None:
    """A logarithmic axis of FLOPs spent, labelled with the share saved and growing rightwards."""
    ticks = [2.0**power for power in range(10, 0, -1)] + [1.0, 0.1, 0.01, 0.001, 1e-4, 1e-5]
    if least > 0.04:
        ticks += [0.5, 0.2]
    axes.set_xscale("log")
    axes.set_xlim(most * 1.3, least / 1.3)
    axes.xaxis.set_major_locator(FixedLocator([t for t in ticks if least / 2 <= t <= most * 1.3]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda spent, _: wording.signed(f"{100 * (1 - spent):.5g} %"))
    )
    axes.set_xlabel("FLOPs saved against the whole dense run")


def _flops_caption(runs: Comparison) -> str:
    parts = []
    for name, kind in (("flops_T", "On paper"), ("executed_flops_T", "in operations executed")):
        dense, sel = runs.dense.last(name), runs.sel.last(name)
        if dense and sel is not None:
            parts.append(f"{kind} SEL took {wording.saved(1 - sel / dense, 'fewer')} FLOPs")
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "." if text else "No FLOPs were recorded."


def _both(axes: Axes, runs: Comparison, name: str, scale: float = 1.0) -> None:
    for system in (runs.dense, runs.sel):
        strong, pale = runs.colors(system)
        published = runs.published(system)
        if published is not None:
            _line(axes, runs, published, name, pale, published.label, "-", scale, under=True)
        _line(axes, runs, system, name, strong, system.label, "-", scale)


def _line(
    axes: Axes,
    runs: Comparison,
    system: System,
    name: str,
    color: str,
    label: str,
    line: str = "-",
    scale: float = 1.0,
    under: bool = False,
) -> None:
    if not system.has(name):
        return
    x = runs.x(system)
    width = 1.3 if under else 2.0
    layer = 1.5 if under else 2.5
    axes.plot(
        x,
        system.column(name) * scale,
        linestyle=line,
        color=color,
        lw=width,
        zorder=layer,
        label=label,
        marker=_marker(x),
    )


def _marker(x: NDArray[np.float64]) -> str:
    """One epoch makes no line, so it gets a dot."""
    return "o" if len(x) == 1 else ""


def _percent_axis(axes: Axes, label: str = "accuracy") -> None:
    """From 0 to 100 %, with room above for the numbers of the stages."""
    axes.set_ylim(-0.01, 1.13)
    axes.yaxis.set_major_locator(FixedLocator([0, 0.2, 0.4, 0.6, 0.8, 1]))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylabel(label)


def _epoch_axis(axes: Axes, runs: Comparison) -> None:
    if runs.by_progress:
        axes.set_xlim(0, 101)
        axes.xaxis.set_major_formatter(PercentFormatter(100))
        axes.set_xlabel("share of the run's epochs")
        return
    longest = max(runs.dense.epochs, runs.sel.epochs)
    axes.set_xlim(min(1, longest - 1), longest + 0.3)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("epoch")


def _stage_bands(axes: Axes, runs: Comparison, system: System) -> None:
    """A faint band for every second stage, with the stage's number at the top."""
    scale = 100 / system.epochs if runs.by_progress else 1.0
    for number, (first, last, _) in enumerate(system.stages(), start=1):
        left, right = (first - 1) * scale, last * scale
        if number % 2:
            axes.axvspan(left, right, color=palette.BAND, lw=0, zorder=0)
        axes.annotate(
            str(number),
            ((left + right) / 2, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, -3),
            textcoords="offset points",
            ha="center",
            va="top",
            color=palette.MUTED,
            fontsize=8.5,
        )
