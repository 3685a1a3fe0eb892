"""Watts become joules: exactly for straight lines, within the stated bound for steps."""

from __future__ import annotations

import errno
import gc
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.errors import MissingDependencyError
from sel_edge.energy.sampled import PowerIntegral, SampledMeter
from tests.energy.trees import ticking

watts = st.floats(0, 100)
gaps = st.floats(1e-3, 10)


def integral(values: Iterator[float | Exception], clock: Iterator[float]) -> PowerIntegral:
    def read_w() -> float:
        value = next(values)
        if isinstance(value, Exception):
            raise value
        return value

    return PowerIntegral(read_w, lambda: next(clock))


@given(st.lists(st.tuples(gaps, watts), min_size=2, max_size=30))
def test_it_is_the_trapezoidal_rule_and_never_falls(samples: list[tuple[float, float]]) -> None:
    times = np.cumsum([gap for gap, _ in samples])
    powers = [power for _, power in samples]
    sums = integral(iter(powers), iter(times))
    last = 0.0
    for _ in samples[1:]:
        sums.sample()
        assert sums.joules >= last
        last = sums.joules
    assert sums.joules == pytest.approx(np.trapezoid(powers, times))


@given(st.lists(st.tuples(gaps, watts, st.floats(0, 1)), min_size=2, max_size=30))
def test_steps_of_power_lie_within_the_uncertainty(
    pieces: list[tuple[float, float, float]],
) -> None:
    """The power changes once between two samples, at a share of the gap that nobody knows."""
    times = np.cumsum([gap for gap, _, _ in pieces])
    powers = [power for _, power, _ in pieces]
    sums = integral(iter(powers), iter(times))
    for _ in pieces[1:]:
        sums.sample()
    true_j = sum(
        (share * before + (1 - share) * after) * gap
        for (before, after), (gap, _, share) in zip(pairwise(powers), pieces[1:], strict=True)
    )
    assert abs(sums.joules - true_j) <= sums.uncertainty_j + 1e-9 * (1 + true_j)


def test_a_glitch_is_bridged_and_a_lasting_one_is_a_failure() -> None:
    glitch = OSError(errno.EREMOTEIO, "Remote I/O error")
    sums = integral(iter([2.0, glitch, glitch, 2.0, *[glitch] * 6, 2.0]), ticking())
    for _ in range(8):
        sums.sample()
        assert sums.failure is None
    assert sums.joules == 6.0
    sums.sample()
    assert sums.failure is glitch
    sums.sample()
    assert sums.joules == 6.0


@pytest.mark.parametrize("error", [OSError(errno.ENOENT, "gone"), ValueError("many")])
def test_what_no_bus_answers_by_accident_is_a_failure_at_once(error: Exception) -> None:
    sums = integral(iter([1.0, error]), ticking())
    sums.sample()
    assert sums.failure is error


def recorded(enough: threading.Event, count: int) -> Callable[[], float]:
    """3 W, and a sign after so many looks at it."""
    seen = iter(range(10**9))

    def read_w() -> float:
        if next(seen) >= count:
            enough.set()
        return 3.0

    return read_w


def test_samples_are_taken_while_nobody_asks_and_end_with_the_meter() -> None:
    enough = threading.Event()
    meter = SampledMeter("sensor:test", recorded(enough, 5), 0.001)
    assert enough.wait(60)
    assert meter.origin == "measured"
    assert 0 < meter.read_j() <= meter.read_j()
    assert meter.uncertainty_j == 0.0
    threads = [thread for thread in threading.enumerate() if thread.name == "sensor:test"]
    del meter
    gc.collect()
    for thread in threads:
        thread.join(60)
    assert threads and not any(thread.is_alive() for thread in threads)


def test_a_failure_in_the_background_is_told_at_the_next_reading() -> None:
    values = iter([1.0])

    def read_w() -> float:
        try:
            return next(values)
        except StopIteration:
            raise ValueError("the sensor shows nonsense") from None

    meter = SampledMeter("sensor:broken", read_w, 0.001)
    for _ in range(2):
        with pytest.raises(MissingDependencyError, match="nonsense"):
            meter.read_j()
