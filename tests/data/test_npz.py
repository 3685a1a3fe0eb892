"""The .npz form: what it accepts, how it splits, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sel_edge.core.errors import DataError
from sel_edge.data import limits
from sel_edge.data.sources import load_splits

X = np.random.default_rng(0).integers(0, 256, (50, 6, 5, 3)).astype(np.uint8)
Y = np.arange(50) % 4


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    def save(**arrays: object) -> Path:
        path = tmp_path / "set.npz"
        np.savez(path, **arrays)  # type: ignore[arg-type]
        return path

    return save


@pytest.mark.parametrize("kind", ["npz:", ""])
def test_x_and_y_are_split_the_same_way_every_time(kind: str, save: Callable[..., Path]) -> None:
    spec = f"{kind}{save(x=X, y=Y)}"
    splits, again = load_splits(spec), load_splits(spec)
    assert (len(splits.train), len(splits.test)) == (40, 10)
    assert np.array_equal(splits.test.images, again.test.images)
    both = np.concatenate([splits.train.images, splits.test.images])
    assert np.array_equal(np.unique(both, axis=0), np.unique(X, axis=0)), "nothing is lost"
    assert np.bincount(splits.test.labels).tolist() == [3, 3, 2, 2]
    assert splits.train.classes == ("0", "1", "2", "3")


def test_given_splits_and_string_labels(save: Callable[..., Path]) -> None:
    names = np.array(["emu", "ant"])[Y % 2]
    splits = load_splits(
        str(save(x_train=X[:40], y_train=names[:40], x_test=X[40:], y_test=names[40:]))
    )
    assert splits.train.classes == ("ant", "emu")
    assert np.array_equal(splits.train.images, X[:40])
    assert splits.test.labels.tolist() == [1 - y % 2 for y in Y[40:]]


def test_integer_classes_are_ordered_by_value(save: Callable[..., Path]) -> None:
    splits = load_splits(str(save(x=X, y=Y * 10 - 5)))
    assert splits.train.classes == ("-5", "5", "15", "25")


@given(dtype=st.sampled_from((np.float16, np.float32, np.float64)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_floats_from_0_to_1_are_scaled(dtype: type, save: Callable[..., Path]) -> None:
    splits = load_splits(str(save(x=(X / 255).astype(dtype), y=Y)))
    reference = load_splits(str(save(x=X, y=Y)))
    assert np.array_equal(splits.train.images, reference.train.images)


def test_images_without_channel_axis_are_gray(save: Callable[..., Path]) -> None:
    assert load_splits(str(save(x=X[..., 0], y=Y))).train.images.shape == (40, 6, 5, 1)


BROKEN = {
    "NaN": ({"x": np.where(X == 7, np.nan, X / 255), "y": Y}, "NaN in x"),
    "range": ({"x": X.astype(np.float32), "y": Y}, "values from 0 to 255"),
    "infinite": ({"x": np.where(X == 7, np.inf, X / 255), "y": Y}, "to inf"),
    "integers": ({"x": X.astype(np.int32), "y": Y}, "int32"),
    "channels first": ({"x": X.transpose(0, 3, 1, 2), "y": Y}, "shape"),
    "flat": ({"x": X.reshape(50, -1), "y": Y}, "shape"),
    "no images": ({"x": X[:0], "y": Y[:0]}, "shape"),
    "one-hot": ({"x": X, "y": np.eye(4, dtype=int)[Y]}, "holds y as"),
    "float labels": ({"x": X, "y": Y / 1}, "holds y as"),
    "lengths": ({"x": X, "y": Y[:9]}, "50 images in x for 9"),
    "keys": ({"images": X, "y": Y}, "lacks x"),
    "one class": ({"x": X, "y": Y * 0}, "fewer than two classes"),
    "single image": ({"x": X, "y": np.where(np.arange(50) == 3, 9, 0)}, "single image of class 9"),
    "class in one split": (
        {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y % 3},
        "class 3 in one split",
    ),
    "label types": (
        {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y.astype(str)},
        "mixes labels",
    ),
    "shapes": ({"x_train": X, "y_train": Y, "x_test": X[:, 1:], "y_test": Y}, "images of"),
    "objects": ({"x": X, "y": np.array([{}] * 50)}, "Python objects"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_refused_arrays(name: str, save: Callable[..., Path]) -> None:
    arrays, says = BROKEN[name]
    path = save(**arrays)
    with pytest.raises(DataError) as caught:
        load_splits(f"npz:{path}")
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


@settings(
    deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damage_never_ends_in_another_error(data: st.DataObject, save: Callable[..., Path]) -> None:
    path = save(x=X[:, :2, :2], y=Y)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    length = data.draw(st.sampled_from((len(content), data.draw(st.integers(0, len(content))))))
    path.write_bytes(content[:length])
    try:
        load_splits(f"npz:{path}")
    except DataError as error:
        assert error.action


def test_arrays_that_unpack_to_too_much(
    save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "decoded_bytes_limit", lambda: X.nbytes)
    with pytest.raises(DataError, match="MiB"):
        load_splits(f"npz:{save(x=X, y=Y)}")
