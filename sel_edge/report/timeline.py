"""The timeline of a stream: segments, what was noticed, updates, accuracy and embarrassment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from sel_edge.core.ledger import Decision
from sel_edge.report import wording
from sel_edge.report.chart import (
    Scale,
    both_widths,
    horizontal_axis,
    join,
    path,
    svg,
    tag,
    vertical_axis,
)
from sel_edge.report.stream import Bin, Score, Stream

HEAT_STEPS = (0.25, 0.5, 1.0, 1.5, 2.5)
"""Embarrassment in nats from which on a cell is one colour darker."""

MOST_ROWS = 24
SMOOTHING = 5
"""The accuracy line is the mean over this many bins of a segment, the last one included."""

_SIGNS = {
    "fire": ("noticed", "M0 -6L6 5L-6 5Z"),
    "wants_labels": ("noticed", "M0 -5L5 0L0 5L-5 0Z"),
    "defer": ("update", "M-2.5 -5V5M2.5 -5V5"),
    "keep": ("update", "M-5 0L-1.5 4.5L5.5 -4.5"),
    "reject": ("update", "M-4.5 -4.5L4.5 4.5M-4.5 4.5L4.5 -4.5"),
    "stop": ("update", "M-4 -4H4V4H-4Z"),
    "rollback": ("update", "M-2 -5L-5 -2L-2 1M-5 -2H2A3.5 3.5 0 0 1 2 5H-2"),
}
_LANES = {"noticed": 36.0, "update": 58.0}
_NEAREST = 9
"""Pixels between two signs of a kind; nearer ones are in the table, not in the chart."""
_ACCURACY = (82.0, 182.0)
_HEAT_TOP = 204.0
_ROW = 17


@dataclass(frozen=True)
class _Frame:
    """The chart's outline in pixels for one width."""

    width: int
    left: float
    right: float
    x: Scale


def timeline(stream: Stream) -> Markup:
    """The stream as one chart over its frames; at least one bin is expected."""
    rows = _rows(stream)

    def draw(width: int) -> Markup:
        left, right = (92.0 if width < 500 else 132.0), width - 10.0
        start, last = stream.bins[0].start, stream.bins[-1]
        frame = _Frame(width, left, right, Scale(start, last.start + last.frames, left, right))
        bottom = (_HEAT_TOP + _ROW * len(rows)) if rows else _ACCURACY[1]
        parts = [
            _segments(stream, frame, bottom),
            _signs(stream.decisions, frame),
            _accuracy(stream.bins, frame),
            _heat(stream.bins, rows, frame),
            horizontal_axis(frame.x, bottom + 2, "frames", width // 80),
        ]
        return svg(width, bottom + 40, _label(stream), join(parts))

    return both_widths(draw)


def heat_step(value: float) -> int:
    """Which of the six colours an embarrassment in nats has, 0 to 5."""
    return sum(value >= step for step in HEAT_STEPS)


def smoothed(bins: Sequence[Bin]) -> list[float | None]:
    """Accuracy of each bin with those just before it in the same segment."""
    means: list[float | None] = []
    for index, one in enumerate(bins):
        near = [
            b for b in bins[max(0, index - SMOOTHING + 1) : index + 1] if b.segment == one.segment
        ]
        total = Score(sum(b.score.n for b in near), sum(b.score.correct for b in near))
        means.append(total.accuracy if one.score.n else None)
    return means


def hidden_rows(stream: Stream) -> int:
    """How many classes the timeline leaves out."""
    return max(0, len(stream.classes) - MOST_ROWS)


def _rows(stream: Stream) -> list[str]:
    """The classes to draw: those that were ever the most embarrassing, in their usual order."""
    peaks: dict[str, float] = {}
    for one in stream.bins:
        for name, window in one.embarrassment.items():
            peaks[name] = max(peaks.get(name, 0.0), window.value)
    chosen = set(sorted(peaks, key=lambda name: peaks[name], reverse=True)[:MOST_ROWS])
    return [name for name in stream.classes if name in chosen]


def _segments(stream: Stream, frame: _Frame, bottom: float) -> Markup:
    parts = []
    for number, segment in enumerate(stream.segments, start=1):
        x0, x1 = frame.x(segment.start), frame.x(segment.start + segment.frames)
        style = "segment odd" if number % 2 else "segment"
        band = tag("rect", x=x0, y=0, width=x1 - x0, height=bottom, class_=style)
        number_at = {"x": (x0 + x1) / 2, "y": 15.0}
        text = tag("text", str(number), text_anchor="middle", class_="segment", **number_at)
        hover = tag("title", wording.printable(segment.name))
        parts.append(tag("g", join([hover, band, text])))
    names = [("segment", 15.0), *((lane, y + 4) for lane, y in _LANES.items())]
    texts = [tag("text", name, x=frame.left - 6, y=y, text_anchor="end") for name, y in names]
    return join([*parts, tag("g", join(texts), class_="axis")])


def _signs(decisions: Sequence[Decision], frame: _Frame) -> Markup:
    parts = []
    latest: dict[str, float] = {}
    for decision in decisions:
        x = frame.x(decision.frame)
        if x - latest.get(decision.kind, -1e9) < _NEAREST:
            continue
        latest[decision.kind] = x
        lane, shape = _SIGNS[decision.kind]
        words = f"frame {decision.frame:,}, {decision.kind.replace('_', ' ')}: {decision.reason}"
        content = join([tag("title", wording.printable(words)), tag("path", d=shape)])
        place = f"translate({x:.1f} {_LANES[lane]:.1f})"
        parts.append(tag("g", content, transform=place, class_=f"sign {decision.kind}"))
    return join(parts)


def _accuracy(bins: Sequence[Bin], frame: _Frame) -> Markup:
    top, bottom = _ACCURACY
    y = Scale(0, 1, bottom, top)
    middles = [frame.x(one.start + one.frames / 2) for one in bins]
    raw = [
        tag("circle", cx=x, cy=y(accuracy), r=1.6)
        for x, one in zip(middles, bins, strict=True)
        if (accuracy := one.score.accuracy) is not None
    ]
    line: list[tuple[float, float | None]] = []
    segment = bins[0].segment
    for x, one, mean in zip(middles, bins, smoothed(bins), strict=True):
        if one.segment != segment:
            line.append((x, None))
            segment = one.segment
        line.append((x, None if mean is None else y(mean)))
    grid = vertical_axis(y, frame.left, frame.right, [0, 0.5, 1], lambda v: f"{100 * v:.0f} %")
    name = tag("text", "accuracy", x=2, y=(top + bottom) / 2 - 12, class_="panel")
    if not raw:
        name = tag("text", "accuracy: no true labels known", x=frame.left + 6, y=top + 44)
    return join(
        [grid, tag("g", name, class_="axis"), tag("g", join(raw), class_="dots"), path(line, "sel")]
    )


def _heat(bins: Sequence[Bin], rows: Sequence[str], frame: _Frame) -> Markup:
    """One row per class; a full cell is exact, a thin one the stand-in."""
    places = {name: _HEAT_TOP + _ROW * index for index, name in enumerate(rows)}
    cells: dict[int, list[str]] = {}
    for one in bins:
        x0, x1 = frame.x(one.start), frame.x(one.start + one.frames)
        for name, window in one.embarrassment.items():
            if name not in places:
                continue
            height = _ROW - 3 if window.is_exact else 5
            y = places[name] + (_ROW - height) / 2
            cell = f"M{x0:.1f} {y:.1f}H{x1:.1f}V{y + height:.1f}H{x0:.1f}Z"
            cells.setdefault(heat_step(window.value), []).append(cell)
    paths = [
        tag("path", d="".join(parts), class_=f"heat{step}") for step, parts in sorted(cells.items())
    ]
    width = 12 if frame.width < 500 else 17
    names = [
        tag("text", wording.printable(name, width), x=frame.left - 6, y=y + 12.5, text_anchor="end")
        for name, y in places.items()
    ]
    return join([*paths, tag("g", join(names), class_="axis classes")])


def _label(stream: Stream) -> str:
    return (
        f"Timeline over {wording.counted(stream.frames, 'frame')} in "
        f"{wording.counted(len(stream.segments), 'segment')}: accuracy, embarrassment per class, "
        f"{wording.counted(stream.triggers, 'trigger')}, {stream.kept} updates kept, "
        f"{stream.rejected} rejected, {stream.stopped} stopped. The tables below hold the same "
        "numbers."
    )
