"""What a device remembers for people stays bounded, and keeps the whole of its time in view."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.ledger import ClassEmbarrassment, Decision, Tick
from sel_edge.core.measurement import Energy
from sel_edge.serve.history import (
    MAX_EVENTS,
    MAX_POINTS,
    RATE_WINDOW_S,
    Curve,
    History,
    Rate,
)
from sel_edge.serve.snapshot import Point


def tick(start: int, n: int, windows: dict[str, ClassEmbarrassment] | None = None) -> Tick:
    energy = Energy(0.5, "estimated")
    return Tick(start, n, "live", {}, windows or {}, {"0": n}, 0, 100 * n, 10 * n, energy, 0.25)


@given(st.lists(st.floats(0.0, 1000.0), max_size=900))
def test_a_curve_covers_all_time_with_a_bounded_number_of_points(gaps: list[float]) -> None:
    curve, now_s, moments = Curve(), 0.0, []
    for number, gap in enumerate(gaps):
        now_s += gap
        moments.append(now_s)
        curve.add(Point(now_s, number, {}))
        assert len(curve.points) <= MAX_POINTS
    found = [point.utc_s for point in curve.points]
    assert found == sorted(found)
    if moments:
        assert found[0] == moments[0]
        # Twice the mean distance, because the distance doubles when there are too many.
        span_s = moments[-1] - moments[0]
        assert moments[-1] - found[-1] <= max(1.0, 4 * span_s / MAX_POINTS)


def test_a_month_at_two_points_a_second_is_spread_evenly() -> None:
    curve = Curve()
    for half in range(0, 2 * 86_400, 1):
        curve.add(Point(half / 2, half, {}))
    moments = [point.utc_s for point in curve.points]
    gaps = {b - a for a, b in pairwise(moments)}
    assert MAX_POINTS / 2 <= len(moments) <= MAX_POINTS
    assert max(gaps) <= 2 * min(gaps)


def test_a_clock_that_is_set_back_does_not_stop_the_curve() -> None:
    curve = Curve()
    for moment in (100.0, 200.0, 50.0, 51.0):
        curve.add(Point(moment, 0, {}))
    assert len(curve.points) == 4


class TestRate:
    def test_it_is_the_mean_of_the_last_ten_seconds(self) -> None:
        rate = Rate()
        for tenth in range(300):
            rate.add(5, tenth / 10)
        assert rate.read(30.0, 0.0) == 50.0
        assert rate.read(60.0, 0.0) == 0.0

    def test_it_does_not_grow(self) -> None:
        rate = Rate()
        for second in range(10_000):
            rate.add(1, float(second))
        assert len(rate._seconds) <= RATE_WINDOW_S + 1


class TestHistory:
    def test_windows_stay_until_a_tick_tells_otherwise(self) -> None:
        history = History()
        history.tick(tick(0, 16, {"cat": ClassEmbarrassment(1.0, 0.5, 3)}), 100.0)
        history.tick(tick(16, 16, {"dog": ClassEmbarrassment(None, 0.25, 0)}), 102.0)
        assert history.curve.points[-1].values == {"cat": 1.0, "dog": 0.25}
        history.tick(tick(32, 16, {"cat": ClassEmbarrassment(None, None, 0)}), 104.0)
        assert set(history.embarrassment) == {"dog"}

    def test_everything_that_was_spent_is_told(self) -> None:
        history = History()
        for number in range(4):
            history.tick(tick(16 * number, 16), 100.0 + number)
        (spent,) = history.spent
        assert (spent.purpose, spent.energy) == ("inference", Energy(2.0, "estimated"))
        assert (spent.executed_flops, spent.seconds) == (4 * 16 * 110, 1.0)

    def test_old_events_go(self) -> None:
        history = History()
        for number in range(MAX_EVENTS + 50):
            history.decided([Decision(number, "fire", "why", ("cat",))], [], 1.0)
        assert [event.frame for event in history.events] == list(range(50, MAX_EVENTS + 50))
