"""Anchors: a seeded choice that does not depend on how classes are mixed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.data.anchors import choose_anchors


@given(
    counts=st.lists(st.integers(2, 30), min_size=2, max_size=5),
    per_class=st.integers(1, 12),
    seed=st.integers(0, 1000),
)
def test_every_class_gives_its_share_and_keeps_one_image_back(counts, per_class, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    chosen = choose_anchors(labels, per_class, seed)
    assert len(set(chosen.tolist())) == len(chosen)
    assert np.bincount(labels[chosen]).tolist() == [min(per_class, n - 1) for n in counts]


@given(seed=st.integers(0, 1000), shuffle=st.integers(0, 1000))
def test_the_choice_is_the_same_however_classes_are_mixed(seed, shuffle):
    sorted_labels = np.repeat(np.arange(3), 20)
    mixed = np.random.default_rng(shuffle).permutation(sorted_labels)
    for label in range(3):
        ranks = [
            np.flatnonzero(
                np.isin(np.flatnonzero(labels == label), choose_anchors(labels, 4, seed))
            )
            for labels in (sorted_labels, mixed)
        ]
        assert ranks[0].tolist() == ranks[1].tolist()
