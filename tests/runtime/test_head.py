"""Heads: growing, storing, and refusing what is not what its name says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sel_edge.core.errors import RunDirectoryError
from sel_edge.runtime.head import Head, HeadStore


def random_head(classes: int, features: int, seed: int = 0) -> Head:
    rng = np.random.default_rng(seed)
    return Head(
        rng.normal(size=(classes, features)).astype(np.float32),
        rng.normal(size=classes).astype(np.float32),
        tuple(f"class {number}" for number in range(classes)),
    )


@settings(deadline=None)  # touches the disk
@given(st.integers(2, 6), st.integers(1, 9), st.integers(0, 99))
def test_a_stored_head_comes_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, classes: int, features: int, seed: int
) -> None:
    store = HeadStore(tmp_path_factory.mktemp("heads"))
    head = random_head(classes, features, seed)
    store.save(head)
    loaded = store.load(head.hash)
    assert np.array_equal(loaded.weight, head.weight)
    assert np.array_equal(loaded.bias, head.bias)
    assert (loaded.classes, loaded.hash) == (head.classes, head.hash)


def test_the_name_of_a_head_says_all_of_it() -> None:
    head = random_head(3, 4)
    others = [
        Head(head.weight + 1, head.bias, head.classes),
        Head(head.weight, head.bias + 1, head.classes),
        Head(head.weight, head.bias, ("a", "b", "c")),
    ]
    assert len({head.hash, *(other.hash for other in others)}) == 4
    assert random_head(3, 4).hash == head.hash


@pytest.mark.parametrize("damage", ["missing", "flipped", "other"])
def test_a_head_that_is_not_what_its_name_says_is_refused(tmp_path: Path, damage: str) -> None:
    store, head = HeadStore(tmp_path), random_head(3, 4)
    store.save(head)
    path = store.path(head.hash)
    if damage == "missing":
        path.unlink()
    elif damage == "flipped":
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    else:
        path.write_bytes(random_head(3, 4, seed=1).content)
    with pytest.raises(RunDirectoryError, match=head.hash):
        store.load(head.hash)


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
