"""Charts of simulated days over time: shares, measures with a unit, and what was decided."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from sel_edge.core.ledger import Balances, Decision
from sel_edge.core.solar import DAY_S
from sel_edge.report.chart import (
    Scale,
    Series,
    both_widths,
    horizontal_axis,
    join,
    line_chart,
    path,
    svg,
    tag,
    ticks,
    vertical_axis,
)
from sel_edge.report.wording import printable
from sel_edge.simulate.board import START_S
from sel_edge.simulate.diary import KINDS, Diary

X_LABEL = "days"
MOST_POINTS = 400
"""Of a line; a wide screen has hardly more pixels."""
_STYLES = ("dense", "train", "sel dotted", "dense dotted")
_LANE = 20.0
_NEAREST = 3.0
"""Pixels between two marks of a kind; nearer ones are in the table of moments, not in the chart."""


def wallet_chart(diary: Diary, capacity_j: float, balances: Sequence[Balances]) -> Markup:
    """What was left in the battery and of every other limit, in percent.

    Args:
        diary: with at least one moment.
        capacity_j: of the battery.
        balances: of the runtime's wallet.
    """
    charge = [(_days(m.time_s), m.charge_j / capacity_j) for m in diary.moments]
    names = dict.fromkeys(name for row in balances for name in row.balances if name != "battery")
    limits = [
        Series(name, _STYLES[number % len(_STYLES)], _thinned(_left(name, balances)))
        for number, name in enumerate(names)
    ]
    series = [Series("battery", "sel", _thinned(charge)), *limits]
    return line_chart(series, X_LABEL, "What was left in the battery and of the limits, in percent")


def power_chart(diary: Diary) -> Markup:
    """Watts from the sun and to the board."""
    sun = [(_days(m.time_s), m.watts_in) for m in diary.moments]
    board = [(_days(m.time_s), m.watts_out) for m in diary.moments]
    series = [
        Series("from the sun", "sel", _thinned(sun)),
        Series("to the board", "dense", _thinned(board)),
    ]
    return _measures(series, "W", "Power from the sun and to the board, in watts")


def warmth_chart(diary: Diary, limit: float | None) -> Markup:
    """Degrees of the processor, and the limit above which nothing is learned."""
    course = [(_days(m.time_s), m.celsius) for m in diary.moments]
    series = [Series("processor", "sel", _thinned(course))]
    if limit is not None:
        ends = (diary.moments[0].time_s, diary.moments[-1].time_s)
        series.append(Series("nothing is learned", "train", [(_days(s), limit) for s in ends]))
    return _measures(series, "°C", "Temperature of the processor, in degrees")


def accuracy_chart(diary: Diary) -> Markup | None:
    """Right answers among the newest; None if no truth is known."""
    if not any(accuracy is not None for accuracy in diary.accuracy):
        return None
    pairs = zip(diary.moments, diary.accuracy, strict=True)
    course = [(_days(moment.time_s), accuracy) for moment, accuracy in pairs]
    return line_chart(
        [Series("accuracy", "sel", _thinned(course))], X_LABEL, "Accuracy, in percent"
    )


def decisions_chart(diary: Diary) -> Markup:
    """A lane for every kind of decision, with a mark where one was made."""
    end_s, told = diary.moments[-1].time_s, list(diary.decisions())

    def draw(width: int) -> Markup:
        left, right, bottom = 92.0, width - 10.0, _LANE * len(KINDS)
        x = Scale(0, _days(end_s), left, right)
        lanes = [
            join(
                [
                    tag("line", x1=left, x2=right, y1=y, y2=y, class_="grid"),
                    tag("text", kind.replace("_", " "), x=left - 6, y=y + 4, text_anchor="end"),
                ]
            )
            for number, kind in enumerate(KINDS)
            for y in (_LANE * (number + 0.5),)
        ]
        parts = [
            tag("g", join(lanes), class_="axis"),
            _marks(told, x),
            horizontal_axis(x, bottom, X_LABEL, width // 60),
        ]
        words = ", ".join(f"{kind} {sum(d.kind == kind for _, d in told)}" for kind in KINDS)
        return svg(width, bottom + 40, f"Decisions over the days: {words}", join(parts))

    return both_widths(draw)


def _marks(told: Sequence[tuple[float, Decision]], x: Scale) -> Markup:
    parts, latest = [], dict.fromkeys(KINDS, -_NEAREST)
    for time_s, decision in told:
        at = x(_days(time_s))
        if at - latest[decision.kind] < _NEAREST:
            continue
        latest[decision.kind] = at
        y = _LANE * (KINDS.index(decision.kind) + 0.5)
        content = join([tag("title", printable(decision.reason)), tag("path", d="M0 -6V6")])
        place = f"translate({at:.1f} {y:.1f})"
        parts.append(tag("g", content, transform=place, class_=f"sign {decision.kind}"))
    return join(parts)


def _measures(series: Sequence[Series], unit: str, label: str) -> Markup:
    """Numbers of one unit over the days, as lines with a legend below; from 0 on."""
    xs = [x for one in series for x, _ in one.points]
    most = max(y for one in series for _, y in one.points if y is not None) or 1.0

    def draw(width: int) -> Markup:
        left, right, top, bottom = 46.0, width - 8.0, 8.0, 168.0
        x = Scale(min(xs), max(xs), left + 4, right - 4)
        y = Scale(0, 1.05 * most, bottom, top)
        grid = vertical_axis(y, left, right, ticks(0, most, 4), lambda v: f"{v:g} {unit}")
        lines = [
            path([(x(at), None if v is None else y(v)) for at, v in one.points], one.style)
            for one in series
        ]
        axis = horizontal_axis(x, bottom, X_LABEL, width // 60)
        return svg(width, bottom + 40, label, join([grid, *lines, axis]))

    keys = [
        tag(
            "span",
            join([tag("i", class_=f"swatch {one.style}"), Markup.escape(one.name)]),
            class_="key",
        )
        for one in series
    ]
    return join([both_widths(draw), tag("div", join(keys), class_="legend")])


def _left(name: str, balances: Sequence[Balances]) -> list[tuple[float, float | None]]:
    rows = [(row.utc_s, *row.balances[name]) for row in balances if name in row.balances]
    return [(_days(utc_s - START_S), left / size if size else 0.0) for utc_s, left, size in rows]


def _thinned(
    points: Sequence[tuple[float, float | None]],
) -> Sequence[tuple[float, float | None]]:
    """Every so many of the points and the last, `MOST_POINTS` or a few more at most."""
    step = -(-len(points) // MOST_POINTS)
    return [*points[: -1 or None : max(step, 1)], *points[-1:]]


def _days(seconds: float) -> float:
    return seconds / DAY_S
