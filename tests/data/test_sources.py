"""The built-in digits, stratified splitting, and the real CIFAR-10 archive where it is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.errors import DataError, MissingDependencyError
from sel_edge.data import limits
from sel_edge.data.dataset import stratified_split
from sel_edge.data.sources import load_splits


def test_digits() -> None:
    pytest.importorskip("sklearn")
    splits = load_splits("digits")
    assert splits.train.frames.shape == (1000, 8, 8, 1)
    assert splits.test.frames.shape == (797, 8, 8, 1)
    assert splits.train.frames.dtype == np.uint8
    assert splits.train.frames.max() == 255
    assert splits.train.classes == tuple("0123456789")
    counts = np.bincount(splits.test.labels)
    assert counts.min() >= 77
    assert counts.max() <= 82
    again = load_splits("digits?classes=8,9")
    assert again.sha256 == splits.sha256
    assert np.array_equal(again.test.frames, splits.test.frames[splits.test.labels >= 8])
    assert set(again.test.labels) == {0, 1}


def test_arrays_are_converted_when_asked() -> None:
    plain, large = load_splits("digits"), load_splits("digits?size=16&mode=rgb")
    assert large.train.frames.shape == (1000, 16, 16, 3)
    assert np.array_equal(large.train.frames[..., 0], large.train.frames[..., 2])
    assert np.array_equal(large.test.labels, plain.test.labels)
    # Bilinear interpolation keeps the mean of an image, up to its border.
    means = large.test.frames[..., :1].mean(axis=(1, 2, 3)), plain.test.frames.mean(axis=(1, 2, 3))
    assert np.abs(means[0] - means[1]).max() < 8
    gray = load_splits("digits?mode=gray")
    assert np.array_equal(gray.train.frames, plain.train.frames)


def test_converted_arrays_stay_within_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((10, 4, 4), np.uint8), y=np.arange(10) % 2)
    monkeypatch.setattr(limits, "decoded_bytes_limit", lambda: 10 * 16 * 16 * 3)
    assert load_splits(f"{tmp_path}/a.npz?size=16&mode=rgb").train.frames.shape[1:] == (16, 16, 3)
    with pytest.raises(DataError, match="smaller size="):
        load_splits(f"{tmp_path}/a.npz?size=17&mode=rgb")


def test_a_class_name_that_is_not_utf8(tmp_path: Path) -> None:
    names = np.array(["a\udce9", "b"] * 5)
    np.savez(tmp_path / "a.npz", x=np.zeros((10, 4, 4), np.uint8), y=names)
    for keys in ("", "?classes=c"):
        with pytest.raises(DataError, match=r"'a\\udce9'"):
            load_splits(f"{tmp_path}/a.npz{keys}")


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(MissingDependencyError, match="scikit-learn"):
        load_splits("digits")


@given(counts=st.lists(st.integers(2, 60), min_size=1, max_size=8), share=st.floats(0.05, 0.95))
def test_stratified_split(counts: list[int], share: float) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    n_test = round(share * len(labels))
    train, test = stratified_split(labels, n_test)
    assert sorted([*train, *test]) == list(range(len(labels)))
    assert (np.diff(train) > 0).all()
    assert (np.diff(test) > 0).all()
    in_test = np.bincount(labels[test], minlength=len(counts))
    for count, taken in zip(counts, in_test, strict=True):
        assert 1 <= taken < count
        assert abs(taken - share * count) <= 1.5
    quotas = [n_test * count / len(labels) for count in counts]
    if all(1 <= quota <= count - 1 for quota, count in zip(quotas, counts, strict=True)):
        assert len(test) == n_test


def test_real_cifar10(shared_data: Path) -> None:
    splits = load_splits(f"cifar10:{shared_data / 'cifar10-jpeg.tar.gz'}")
    assert splits.note == "JPEG, quality 75, 4:2:0"
    assert splits.train.frames.shape == (50_000, 32, 32, 3)
    assert np.bincount(splits.train.labels).tolist() == [5000] * 10
    assert np.bincount(splits.test.labels).tolist() == [1000] * 10
    assert splits.train.classes[:3] == ("airplane", "automobile", "bird")
    mean = splits.train.frames.mean(axis=(0, 1, 2)) / 255
    assert mean == pytest.approx([0.491, 0.482, 0.447], abs=0.003)
