"""Heads: growing, and names that tell them apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.runtime.head import Head


def random_head(classes: int, features: int, seed: int = 0) -> Head:
    rng = np.random.default_rng(seed)
    return Head(
        rng.normal(size=(classes, features)).astype(np.float32),
        rng.normal(size=classes).astype(np.float32),
        tuple(f"class {number}" for number in range(classes)),
    )


def test_equal_heads_have_one_hash_and_others_have_another() -> None:
    head = random_head(3, 4)
    others = [
        Head(head.weight + 1, head.bias, head.classes),
        Head(head.weight, head.bias + 1, head.classes),
        Head(head.weight, head.bias, ("a", "b", "c")),
        Head(head.weight.T.reshape(3, 4), head.bias, head.classes),
        Head(head.weight[:, :2], head.bias, head.classes),
    ]
    assert len({head.hash, *(other.hash for other in others)}) == 6
    assert random_head(3, 4).hash == head.hash


@pytest.mark.parametrize(
    ("names", "others"), [(("a,b", "c"), ("a", "b,c")), (("1", "2"), ("12", ""))]
)
def test_names_are_told_apart_wherever_they_end(
    names: tuple[str, ...], others: tuple[str, ...]
) -> None:
    head = random_head(2, 4)
    assert Head(head.weight, head.bias, names).hash != Head(head.weight, head.bias, others).hash


@given(st.integers(1, 6), st.integers(1, 9), st.integers(0, 99))
def test_the_hash_is_of_the_numbers_however_they_lie_in_memory(
    classes: int, features: int, seed: int
) -> None:
    head = random_head(classes, features, seed)
    columns = np.asfortranarray(head.weight)
    apart = np.repeat(head.bias, 2)[::2]
    assert Head(columns, apart, head.classes).hash == head.hash


@given(st.integers(0, 99))
def test_new_classes_leave_the_old_rows_alone_and_claim_their_own_samples(seed: int) -> None:
    rng = np.random.default_rng(seed)
    background = rng.normal(0, 1, (60, 8)).astype(np.float32)
    far = np.float32(12) * np.eye(8, dtype=np.float32)
    samples = [rng.normal(far[i], 1, (5, 8)).astype(np.float32) for i in (0, 1)]
    head = random_head(3, 8, seed)
    grown = head.with_new_classes(("x", "y"), samples, background)
    assert grown.classes == (*head.classes, "x", "y")
    assert np.array_equal(grown.weight[:3], head.weight)
    assert np.array_equal(grown.bias[:3], head.bias)
    assert np.isfinite(grown.weight).all()
    assert (grown.logits(samples[0])[:, 3] > grown.logits(samples[0])[:, 4]).all()


def test_no_new_classes_change_nothing() -> None:
    head = random_head(3, 4)
    assert head.with_new_classes((), [], np.zeros((1, 4), np.float32)).hash == head.hash


def test_names_are_turned_into_label_numbers() -> None:
    head = random_head(3, 4)
    assert head.index(["class 2", "class 0"]).tolist() == [2, 0]
    with pytest.raises(KeyError):
        head.index(["unheard of"])
