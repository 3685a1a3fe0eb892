"""The small SVG drawer: round ticks, broken lines, and nothing unescaped."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sel_edge.report import chart

TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn"]))


@given(st.floats(-1e6, 1e6), st.floats(0.001, 1e6), st.integers(1, 12))
def test_ticks_are_few_even_and_inside(low: float, span: float, most: int) -> None:
    values = chart.ticks(low, low + span, most)
    assert len(values) <= most + 1
    assert all(low - 1e-6 * span <= value <= low + span * (1 + 1e-6) for value in values)
    steps = [b - a for a, b in pairwise(values)]
    assert all(math.isclose(step, steps[0], rel_tol=1e-3) for step in steps)


def test_no_span_gives_one_tick() -> None:
    assert chart.ticks(3, 3, 5) == [3]


@given(st.floats(-1e6, 1e6), st.floats(0.1, 1e6))
def test_a_scale_maps_its_ends_to_its_ends(low: float, span: float) -> None:
    scale = chart.Scale(low, low + span, 10, 90)
    assert scale(low) == 10
    assert math.isclose(scale(low + span), 90)


def test_a_scale_of_one_value_does_not_divide_by_zero() -> None:
    assert chart.Scale(5, 5, 10, 90)(5) == 10


@given(TEXT, TEXT)
def test_content_and_attributes_are_escaped(content: str, attribute: str) -> None:
    element = ET.fromstring(chart.tag("text", content, class_=attribute))  # noqa: S314
    assert (element.text or "") == content
    assert set(element.attrib) == {"class"}
    assert len(element) == 0


def test_a_missing_value_breaks_the_line_and_a_lone_point_is_a_dot() -> None:
    points = [(0.0, 1.0), (1.0, 2.0), (2.0, None), (3.0, 4.0)]
    drawn = ET.fromstring(chart.path(points, "x"))  # noqa: S314
    path, dot = drawn
    assert path.get("d") == "M0.0 1.0L1.0 2.0"
    assert dot.tag == "circle"


def test_a_chart_is_drawn_for_phones_and_for_wide_screens() -> None:
    series = [chart.Series("<b>", "sel", [(1, 0.5), (2, None)])]
    drawn = ET.fromstring(f"<x>{chart.line_chart(series, 'epoch', 'label')}</x>")  # noqa: S314
    boxes = [svg.get("viewBox", "").split() for svg in drawn.iter("svg")]
    assert [int(box[2]) for box in boxes] == [chart.NARROW, chart.WIDE]
    assert "<b>" in "".join(drawn.itertext())
