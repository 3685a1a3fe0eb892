"""What is left out is easy, and what stays stands for it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.pretrain.sparing import epoch_weights


def some(count: int, unknown: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Losses, some of them unknown, and a pool of half of the images."""
    rng = np.random.default_rng(count)
    losses = rng.exponential(size=count).astype(np.float32)
    losses[rng.random(count) < unknown] = np.inf
    return losses, np.sort(rng.choice(count, count // 2, replace=False))


@given(count=st.integers(2, 300), share=st.floats(0, 0.9), seed=st.integers(0, 9))
def test_only_easy_images_of_the_pool_are_left_out(count: int, share: float, seed: int):
    losses, pool = some(count)
    weights = epoch_weights(losses, pool, share, np.random.default_rng(seed))
    assert not weights[np.setdiff1d(np.arange(count), pool)].any()
    known = losses[pool][np.isfinite(losses[pool])]
    mean = known.mean() if len(known) else -np.inf
    for index in pool:
        if losses[index] < mean:
            assert weights[index] in (0, np.float32(1 / (1 - share)))
        else:
            assert weights[index] == 1


def test_the_expected_sum_is_that_of_all():
    losses, pool = some(400, unknown=0.0)
    values = np.random.default_rng(1).normal(size=400)
    sums = [
        (epoch_weights(losses, pool, 0.6, np.random.default_rng(seed)) * values).sum()
        for seed in range(3000)
    ]
    error = np.std(sums) / len(sums) ** 0.5
    assert np.mean(sums) == pytest.approx(values[pool].sum(), abs=4 * error)
    assert np.std(sums) > 0


def test_nothing_is_left_out_before_anything_is_known():
    losses, pool = np.full(10, np.inf, np.float32), np.arange(10)
    assert epoch_weights(losses, pool, 0.9, np.random.default_rng(0)).tolist() == [1] * 10
