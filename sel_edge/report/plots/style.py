"""How every plot looks, and turning a matplotlib figure into an SVG file."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sel_edge.report import palette

WIDTH_IN = 4.6
"""Drawn this wide, text is 10 to 11 px high on a phone screen of 390 px."""

_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": palette.MUTED,
    "axes.grid": True,
    "axes.labelcolor": palette.MUTED,
    "axes.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.unicode_minus": True,
    "figure.facecolor": palette.PAPER,
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 9.5,
    "grid.color": palette.GRID,
    "grid.linewidth": 0.7,
    "legend.borderaxespad": 0.0,
    "legend.columnspacing": 1.2,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "legend.handlelength": 1.7,
    "legend.labelcolor": palette.INK,
    "lines.linewidth": 2.0,
    "lines.solid_capstyle": "round",
    "savefig.facecolor": palette.PAPER,
    "svg.fonttype": "none",
    "svg.hashsalt": "sel-edge",
    "text.color": palette.INK,
    "text.parse_math": False,
    "xtick.color": palette.MUTED,
    "xtick.labelsize": 9,
    "xtick.major.size": 0,
    "ytick.color": palette.MUTED,
    "ytick.labelsize": 9,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
}


@dataclass(frozen=True)
class Plot:
    """A finished plot.

    Attributes:
        name: the file name without its ending.
        title: what it shows, in a few words.
        caption: what to see in it, in a sentence, with numbers from the data.
        svg: the file's content, text kept as text.
    """

    name: str
    title: str
    caption: str
    svg: bytes


@contextmanager
def styled() -> Iterator[None]:
    """Draw inside this block; class names in scripts that the font lacks are no warning."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", module=".*")
        yield


def canvas(title: str, height_in: float = 3.1) -> tuple[Figure, Axes]:
    """A titled figure with one pair of axes."""
    figure = blank(title, height_in)
    return figure, figure.add_subplot()


def blank(title: str, height_in: float) -> Figure:
    """A titled figure without axes."""
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    figure.suptitle(title, x=0.015, ha="left", fontsize=11, fontweight="bold")
    return figure


def legend_above(axes: Axes, columns: int = 2) -> None:
    """A legend between title and axes, where it covers no data."""
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.02), ncols=columns)


def to_svg(figure: Figure) -> bytes:
    """The figure as SVG with its dark-screen style sheet; equal figures give equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    style = f"<style>{palette.dark_mode_css()}</style>".encode()
    return buffer.getvalue().replace(b"<defs>", style + b"<defs>", 1)
