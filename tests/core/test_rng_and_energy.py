"""Random streams are named; joules keep their origin."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.measurement import Energy
from sel_edge.core.rng import generator


@given(st.integers(0, 2**31), st.text(max_size=9), st.integers(0, 10**6))
def test_the_same_names_give_the_same_numbers_and_others_give_others(seed, name, step):
    draws = [
        generator(*key).integers(0, 2**62)
        for key in (
            (seed, name, step),
            (seed, name, step),
            (seed, name, step + 1),
            (seed + 1, name, step),
        )
    ]
    assert draws[0] == draws[1]
    assert len(set(draws[1:])) == 3


def test_random_numbers_are_frozen():
    """A change of the generator would make old checkpoints resume differently."""
    assert generator(0, "order", 3).integers(0, 1000, 4).tolist() == [327, 535, 814, 119]


def test_measured_and_estimated_joules_do_not_add_up():
    assert Energy(1.0, "measured") + Energy(2.0, "measured") == Energy(3.0, "measured")
    with pytest.raises(ValueError, match="estimated"):
        Energy(1.0, "measured") + Energy(2.0, "estimated")
