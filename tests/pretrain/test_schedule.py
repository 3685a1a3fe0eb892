from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.pretrain.recipe import load_recipe
from sel_edge.pretrain.schedule import learning_rate

ONE_CYCLE = load_recipe("dense-strong")


def test_a_constant_schedule_depends_on_the_loss_alone() -> None:
    recipe = load_recipe("sel-paper")
    rates = {learning_rate(recipe, done, loss=1.5) for done in (0.0, 0.3, 1.0)}
    assert rates == {recipe.learning_rate * 4.0}


def test_one_cycle_rises_to_the_rate_and_falls_to_zero() -> None:
    recipe = replace(ONE_CYCLE, warm_up=0.25)
    assert learning_rate(recipe, 0.125, 0.0) == pytest.approx(recipe.learning_rate / 2)
    assert learning_rate(recipe, 0.25, 0.0) == pytest.approx(recipe.learning_rate)
    assert learning_rate(recipe, 0.625, 0.0) == pytest.approx(recipe.learning_rate / 2)
    assert learning_rate(recipe, 1.0, 0.0) == 0.0


@given(done=st.floats(0, 1), warm_up=st.floats(0.01, 0.99))
def test_one_cycle_stays_between_zero_and_the_rate(done: float, warm_up: float) -> None:
    recipe = replace(ONE_CYCLE, warm_up=warm_up)
    assert 0.0 <= learning_rate(recipe, done, 0.0) <= recipe.learning_rate
