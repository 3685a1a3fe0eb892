"""Refill curves: exact energy, that only grows, whatever the shape of the day."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.errors import ConfigError
from sel_edge.core.solar import (
    DAY_S,
    NANOJOULES,
    READY_WITHIN_S,
    ClearSkyDay,
    ConstantWatts,
    DailyCurve,
    DutyCycle,
    RefillCurve,
    load_daily_curve,
)

WATTS = st.floats(0, 50)
OFFSETS = st.floats(-12, 14)
HOURS = st.lists(st.floats(0, 24), min_size=1, max_size=8, unique=True).map(sorted)
DAILY = HOURS.flatmap(
    lambda hours: st.builds(
        DailyCurve,
        st.just(tuple(hours)),
        st.lists(WATTS, min_size=len(hours), max_size=len(hours)).map(tuple),
        OFFSETS,
    )
)
CURVES: st.SearchStrategy[RefillCurve] = st.one_of(
    st.builds(ConstantWatts, WATTS),
    st.builds(DutyCycle, WATTS, st.floats(0, 60), st.floats(60, 7_200)),
    st.builds(ClearSkyDay, WATTS, st.floats(0, 11), st.floats(12, 24), OFFSETS),
    DAILY,
)
TIMES = st.floats(-1e9, 4e9)
SPANS = st.floats(0, 5 * DAY_S)


@given(CURVES, TIMES, SPANS, SPANS)
def test_energy_only_grows_and_spans_add_up(
    curve: RefillCurve, start: float, first: float, second: float
) -> None:
    middle, end = start + first, start + first + second
    parts = curve.energy_j(start, middle), curve.energy_j(middle, end)
    assert min(parts) >= 0
    assert curve.energy_j(start, end) == pytest.approx(sum(parts), rel=1e-12, abs=3e-9)
    assert curve.energy_j(end, start) == (0 if end > start else curve.energy_j(start, end))


@given(CURVES, TIMES)
def test_whole_periods_bring_the_same_energy(curve: RefillCurve, start: float) -> None:
    one = curve.energy_j(0, curve.period_s)
    assert curve.energy_j(start, start + 3 * curve.period_s) == pytest.approx(
        3 * one, rel=1e-6, abs=1e-3
    )


@given(st.one_of(st.builds(ClearSkyDay, WATTS, st.floats(0, 11), st.floats(12, 24)), DAILY), TIMES)
def test_energy_is_the_integral_of_the_watts(curve: RefillCurve, start: float) -> None:
    edges = np.linspace(start, start + DAY_S / 2, 20_001)
    middles = (edges[:-1] + edges[1:]) / 2
    numeric = sum(curve.watts(time) for time in middles.tolist()) * (edges[1] - edges[0])
    # A jump at midnight may fall anywhere in one of the numeric steps.
    assert curve.energy_j(edges[0], edges[-1]) == pytest.approx(numeric, rel=1e-3, abs=500)


@given(CURVES, TIMES, st.floats(0, 1e6))
def test_it_is_ready_when_enough_has_arrived_and_not_before(
    curve: RefillCurve, start: float, joules: float
) -> None:
    needed = int(joules * NANOJOULES)
    ready = curve.ready_s(start, needed)
    if ready is None:
        assert needed > 0
        assert curve.energy_j(start, start + 10 * curve.period_s) == 0
        return
    arrived = curve.cumulative_nj(ready) - curve.cumulative_nj(start)
    assert arrived >= needed
    earlier = ready - 2 * READY_WITHIN_S
    assert earlier < start or curve.cumulative_nj(earlier) - curve.cumulative_nj(start) <= needed


def test_a_refill_that_takes_longer_than_floats_can_tell_is_still_told() -> None:
    ready = ConstantWatts(1.0).ready_s(1.7e9, 10**15 * NANOJOULES)
    assert ready == pytest.approx(1e15, rel=1e-5)


def test_known_days() -> None:
    sun = ClearSkyDay(peak_w=5, sunrise_h=6, sunset_h=18)
    assert sun.energy_j(0, DAY_S) == pytest.approx(5 * 12 * 3600 * 2 / np.pi)
    assert sun.watts(12 * 3600) == pytest.approx(5)
    assert sun.watts(0) == sun.energy_j(18 * 3600, 30 * 3600) == 0
    assert DutyCycle(2, on_s=10, every_s=60).energy_j(5, 65) == pytest.approx(20)
    triangle = DailyCurve((6, 12, 18), (0, 4, 0))
    assert triangle.energy_j(0, DAY_S) == pytest.approx(4 * 6 * 3600)
    assert triangle.watts(9 * 3600) == pytest.approx(2)
    across_midnight = DailyCurve((6, 18), (0, 12))
    assert across_midnight.watts(0) == pytest.approx(6)
    assert DailyCurve((3.0,), (2.0,)).energy_j(0, DAY_S) == pytest.approx(2 * DAY_S)


def test_local_time_is_ahead_of_utc_by_the_offset() -> None:
    sun = ClearSkyDay(5, utc_offset_h=2)
    assert sun.watts(10 * 3600) == pytest.approx(5)


@pytest.mark.parametrize(
    "text",
    [
        "hour,watts\n6,0\n12,4\n18,0\n",
        "# a June day\ntime,watts\n06:00,0\n\n12:00, 4\n18:00,0\n",
        "2026-06-21T06:00,0\n2026-06-21 12:00:00,4\n2026-06-21T18:00,0\n",
    ],
)
def test_a_day_is_read_from_a_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "day.csv"
    path.write_text(text)
    assert load_daily_curve(path, 1.0) == DailyCurve((6.0, 12.0, 18.0), (0.0, 4.0, 0.0), 1.0)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "points"),
        ("hour,watts\n", "points"),
        ("6,1,2\n", "6,1,2"),
        ("noon,1\n", "noon"),
        ("25:00,1\n", "25:00"),
        ("06:30Z,1\n", "06:30Z"),
        ("2026-06-21T06:30+02:00,1\n", "06:30+02:00"),
        ("6,-1\n", "-1"),
        ("6,nan\n", "nan"),
        ("nan,1\n", "nan"),
        ("6,1e300\n", "1e+300"),
        ("25,1\n", "25"),
        ("7,1\n6,1\n", "rising"),
        ("6,1\n6,1\n", "rising"),
        ("2026-06-21T06:00,0\n2026-06-22T07:00,4\n", "more than one date"),
    ],
)
def test_what_is_no_day_is_refused(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "day.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=word.replace("+", r"\+")) as caught:
        load_daily_curve(path)
    assert str(path) in caught.value.found
    assert caught.value.expected
    assert caught.value.action


def test_a_missing_or_foreign_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    for name in ("missing.csv", "binary.csv"):
        with pytest.raises(ConfigError, match=name):
            load_daily_curve(tmp_path / name)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ConstantWatts(-1),
        lambda: ConstantWatts(float("nan")),
        lambda: DutyCycle(1, on_s=61, every_s=60),
        lambda: DutyCycle(1, on_s=0, every_s=0),
        lambda: ClearSkyDay(1, sunrise_h=8, sunset_h=8),
        lambda: ClearSkyDay(1, sunset_h=25),
        lambda: ClearSkyDay(1, utc_offset_h=99),
        lambda: DailyCurve((1.0,), ()),
    ],
)
def test_impossible_curves_are_refused(make) -> None:
    with pytest.raises(ConfigError):
        make()
