"""Grids of test images, framed by whether the network was right and how sure it was.

Written as SVG directly: one compressed picture per class under vector frames is a tenth of the
size of a picture per image.
"""

from __future__ import annotations

import base64
import io
import math

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from sel_edge.core.runlog import Samples
from sel_edge.report import palette, wording
from sel_edge.report.chart import join, tag
from sel_edge.report.plots.style import Plot

COLUMNS = 10
PER_CLASS = 20
MOST_CLASSES = 12
_CELL, _PITCH = 32.0, 37.0
_HEADING = 22.0
_TOP = 34.0
_WIDTH = COLUMNS * _PITCH + 3
_PIXEL_ART = 24
"""Images narrower than this are shown as squares of colour, others smoothly."""
_TICK = "M-2.8 .2L-.8 2.2L2.8-2"
_CROSS = "M-2.1-2.1L2.1 2.1M-2.1 2.1L2.1-2.1"


def image_grid(samples: Samples, classes: tuple[str, ...], label: str, name: str) -> Plot:
    """The first test images of each class in rows of ten, framed green or red.

    Args:
        samples: test images with their predictions; at least one.
        classes: class names in label order.
        label: what the run is called.
        name: the plot's file name without its ending.
    """
    right = samples.probabilities.argmax(axis=1) == samples.labels
    sure = samples.probabilities.max(axis=1)
    parts: list[Markup] = []
    top, shown = _TOP, []
    for index, class_name in enumerate(classes[:MOST_CLASSES]):
        members = np.flatnonzero(samples.labels == index)[:PER_CLASS]
        if len(members):
            parts.append(_text(wording.printable(class_name, 40), 2, top + 15, palette.INK, 12))
            top += _HEADING
            parts.append(_row(samples.images[members], right[members], sure[members], top))
            top += _PITCH * -(-len(members) // COLUMNS) + 4
            shown += members.tolist()
    caption = (
        f"{int(right[shown].sum())} of {len(shown)} right. A green frame with a tick is right, a "
        "red one with a cross is wrong; the thicker the frame, the surer the network was."
    )
    if len(classes) > MOST_CLASSES:
        caption += f" The first {MOST_CLASSES} of {len(classes)} classes."
    title = f"Test images of {label}"
    heading = _text(title, 2, 17, palette.INK, 14, font_weight="bold")
    document = _document(join([heading, *parts, _key(top + 8)]), top + 40)
    return Plot(name, title, caption, document)


def thickness(sure: float) -> float:
    """Frame width in units of the drawing, 0.6 to 4.1, rising with the probability of 0..1."""
    clipped = min(max(sure, 0.0), 1.0)
    return 0.6 + 3.5 * clipped * math.sqrt(clipped)


def _row(
    images: NDArray[np.uint8], right: NDArray[np.bool_], sure: NDArray[np.floating], top: float
) -> Markup:
    """All images of one class: a picture of them all, rules over its gaps, frames and marks."""
    parts = [_mosaic(images, top)]
    for place, (hit, share) in enumerate(zip(right.tolist(), sure.tolist(), strict=True)):
        row, column = divmod(place, COLUMNS)
        parts.append(_frame(2 + column * _PITCH, top + row * _PITCH, hit, share))
    return join(parts)


def _mosaic(images: NDArray[np.uint8], top: float) -> Markup:
    """The images in rows of ten as one picture, cut out along the cells."""
    n, height, width, channels = images.shape
    rows = -(-n // COLUMNS)
    sheet = np.zeros((rows * COLUMNS, height, width, channels), dtype=np.uint8)
    sheet[:n] = images
    sheet = sheet.reshape(rows, COLUMNS, height, width, channels).swapaxes(1, 2)
    picture = Image.fromarray(
        sheet.reshape(rows * height, COLUMNS * width, channels).squeeze(axis=2)
        if channels == 1
        else sheet.reshape(rows * height, COLUMNS * width, channels)
    )
    kind, data = _smallest(picture)
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    rendering = "pixelated" if width < _PIXEL_ART else "auto"
    name = f"sheet{top:.0f}"
    sheet_tag = tag(
        "image",
        href=source,
        width=COLUMNS,
        height=rows,
        preserveAspectRatio="none",
        style=f"image-rendering:{rendering}",
        id=name,
    )
    cells = [tag("defs", sheet_tag)]
    for place in range(n):
        row, column = divmod(place, COLUMNS)
        cells.append(
            tag(
                "svg",
                tag("use", href=f"#{name}"),
                x=2 + column * _PITCH,
                y=top + row * _PITCH,
                width=_CELL,
                height=_CELL,
                viewBox=f"{column} {row} 1 1",
                preserveAspectRatio="none",
            )
        )
    return join(cells)


def _smallest(picture: Image.Image) -> tuple[str, bytes]:
    """The picture as PNG, or as fine JPEG where that is smaller."""
    encoded = {}
    for kind, options in (("png", {"optimize": True}), ("jpeg", {"quality": 92, "subsampling": 0})):
        buffer = io.BytesIO()
        picture.save(buffer, format=kind, **options)
        encoded[kind] = buffer.getvalue()
    kind = min(encoded, key=lambda name: len(encoded[name]))
    return kind, encoded[kind]


def _frame(left: float, top: float, right: bool, sure: float, size: float = _CELL) -> Markup:
    color = palette.RIGHT if right else palette.WRONG
    frame = tag(
        "rect",
        x=left,
        y=top,
        width=size,
        height=size,
        style=f"fill: none; stroke: {color}; stroke-width: {thickness(sure):.1f}",
    )
    badge = tag("circle", r=5.2, style=f"fill: {color}")
    line = f"fill: none; stroke: {palette.PAPER}; stroke-width: 1.5; stroke-linecap: round"
    mark = tag("path", d=_TICK if right else _CROSS, style=line)
    place = f"translate({left + size - 3.5:.1f} {top + 3.5:.1f})"
    return join([frame, tag("g", join([badge, mark]), transform=place)])


def _key(top: float) -> Markup:
    parts = []
    for left, right, sure in ((4.0, True, 0.95), (124.0, True, 0.5), (246.0, False, 0.5)):
        words = f"{'right' if right else 'wrong'}, {100 * sure:.0f} % sure"
        parts.append(_frame(left, top, right, sure, 20))
        parts.append(_text(words, left + 27, top + 14, palette.MUTED, 10))
    return join(parts)


def _text(
    words: str, x: float, y: float, color: str, size: int, font_weight: str = "normal"
) -> Markup:
    style = f"fill: {color}; font: {font_weight} {size}px 'DejaVu Sans', sans-serif"
    return tag("text", words, x=x, y=y, style=style)


def _document(content: Markup, height: float) -> bytes:
    style = tag("style", Markup(palette.dark_mode_css()))  # noqa: S704 - our own constants
    paper = tag("rect", width="100%", height="100%", style=f"fill: {palette.PAPER}")
    drawing = tag(
        "svg",
        join([style, paper, content]),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {_WIDTH:.0f} {height:.0f}",
        width=f"{_WIDTH:.0f}",
        height=f"{height:.0f}",
    )
    return drawing.encode("utf-8", "replace")
