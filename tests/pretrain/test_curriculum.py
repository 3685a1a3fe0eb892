"""Stages take the right slice of every class."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.pretrain.curriculum import stage_pool
from sel_edge.pretrain.recipe import Stage, load_recipe


def test_the_published_pool_sizes_come_out_of_5000_images_per_class():
    labels = np.repeat(np.arange(10), 5000)
    scores = np.random.default_rng(0).random(50_000)
    recipe = load_recipe("sel-paper")
    sizes = [
        len(stage_pool(scores, labels, stage, recipe.images_per_class_max))
        for stage in recipe.stages
    ]
    assert sizes == [12_500, 15_000, 12_500, 11_000, 11_000]


@given(
    labels=st.lists(st.integers(0, 3), min_size=4, max_size=60),
    bounds=st.tuples(st.floats(0, 0.9), st.floats(0.05, 1.0)),
    limit=st.integers(0, 5),
    seed=st.integers(0, 100),
)
def test_a_slice_is_easier_than_what_follows_and_harder_than_what_precedes(
    labels, bounds, limit, seed
):
    start, length = bounds
    stage = Stage("s", start, min(1.0, start + length), 1)
    y = np.array(labels)
    scores = np.random.default_rng(seed).random(len(y))
    pool = stage_pool(scores, y, stage, limit)
    assert len(set(pool.tolist())) == len(pool)
    for label in np.unique(y):
        members = np.sort(scores[y == label])
        got = np.sort(scores[pool[y[pool] == label]])
        first, last = round(stage.start * len(members)), round(stage.end * len(members))
        expected = members[first:last][: limit or None]
        np.testing.assert_array_equal(got, expected)
