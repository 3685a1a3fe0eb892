"""Costs add up, peaks do not, and nonsense is refused."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.cost import NOTHING, Cost

COUNTS = st.integers(0, 10**15)
AMOUNTS = st.floats(0, 1e9)
COSTS = st.builds(Cost, COUNTS, AMOUNTS, AMOUNTS, COUNTS, COUNTS)


@given(COSTS, COSTS)
def test_one_after_the_other_adds_everything_but_the_peak_of_memory(a: Cost, b: Cost) -> None:
    both = a + b
    assert both == b + a
    assert (both.flops, both.energy_j, both.seconds, both.flash_writes) == (
        a.flops + b.flops,
        a.energy_j + b.energy_j,
        a.seconds + b.seconds,
        a.flash_writes + b.flash_writes,
    )
    assert both.peak_bytes == max(a.peak_bytes, b.peak_bytes)
    assert a + NOTHING == a


@given(COSTS, st.integers(1, 50))
def test_so_many_times_is_the_sum_of_so_many(cost: Cost, times: int) -> None:
    total = sum((cost for _ in range(times)), start=NOTHING)
    product = cost * times
    assert product == times * cost
    assert (product.flops, product.flash_writes) == (total.flops, total.flash_writes)
    assert product.peak_bytes == cost.peak_bytes
    assert product.energy_j == pytest.approx(total.energy_j)
    assert product.seconds == pytest.approx(total.seconds)


def test_fractions_of_whole_numbers_are_rounded_up() -> None:
    assert Cost(flops=3, flash_writes=1) * 0.5 == Cost(flops=2, flash_writes=1)


@given(COSTS, COSTS)
def test_the_rest_is_never_negative(cost: Cost, spent: Cost) -> None:
    rest = cost.rest(spent)
    assert min(asdict(rest).values()) >= 0
    assert rest.flops == max(0, cost.flops - spent.flops)
    assert cost.rest(NOTHING) == cost


def test_numbers_of_numpy_become_plain() -> None:
    cost = Cost(flops=np.int64(5), energy_j=np.float32(0.5), peak_bytes=np.uint8(7))
    assert json.loads(json.dumps(asdict(cost)))["energy_j"] == 0.5
    assert type(cost.flops) is int


@pytest.mark.parametrize(
    "values",
    [
        {"flops": -1},
        {"flops": 1.5},
        {"flops": 10**30},
        {"flash_writes": "2"},
        {"peak_bytes": None},
        {"energy_j": float("nan")},
        {"energy_j": float("inf")},
        {"seconds": -1e-9},
        {"seconds": "soon"},
    ],
)
def test_what_is_no_amount_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        Cost(**values)


def test_costs_cannot_be_taken_a_negative_number_of_times() -> None:
    with pytest.raises(ValueError, match="flops"):
        Cost(flops=1) * -1
