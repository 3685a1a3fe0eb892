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
    assert np.array_equal(splits.test.frames, again.test.frames)
    both = np.concatenate([splits.train.frames, splits.test.frames])
    assert np.array_equal(np.unique(both, axis=0), np.unique(X, axis=0)), "nothing is lost"
    assert np.bincount(splits.test.labels).tolist() == [3, 3, 2, 2]
    assert splits.train.classes == ("0", "1", "2", "3")


def test_given_splits_and_string_labels(save: Callable[..., Path]) -> None:
    names = np.array(["emu", "ant"])[Y % 2]
    splits = load_splits(
        str(save(x_train=X[:40], y_train=names[:40], x_test=X[40:], y_test=names[40:]))
    )
    assert splits.train.classes == ("ant", "emu")
    assert np.array_equal(splits.train.frames, X[:40])
    assert splits.test.labels.tolist() == [1 - y % 2 for y in Y[40:]]


def test_integer_classes_are_ordered_by_value(save: Callable[..., Path]) -> None:
    splits = load_splits(str(save(x=X, y=Y * 10 - 5)))
    assert splits.train.classes == ("-5", "5", "15", "25")


@given(dtype=st.sampled_from((np.float16, np.float32, np.float64)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_floats_from_0_to_1_are_scaled(dtype: type, save: Callable[..., Path]) -> None:
    splits = load_splits(str(save(x=(X / 255).astype(dtype), y=Y)))
    reference = load_splits(str(save(x=X, y=Y)))
    assert np.array_equal(splits.train.frames, reference.train.frames)


def test_images_without_channel_axis_are_gray(save: Callable[..., Path]) -> None:
    assert load_splits(str(save(x=X[..., 0], y=Y))).train.frames.shape == (40, 6, 5, 1)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_floats_with_channels_and_length_are_signals(dtype: str, save: Callable[..., Path]) -> None:
    x = np.random.default_rng(1).normal(0, 40, (50, 2, 9)).astype(dtype)
    splits = load_splits(f"npz:{save(x=x, y=Y)}")
    frames = np.concatenate([splits.train.frames, splits.test.frames])
    assert (frames.dtype, frames.shape) == (np.dtype(np.float32), (50, 2, 9))
    assert np.array_equal(np.unique(frames, axis=0), np.unique(x.astype(np.float32), axis=0))
    assert np.array_equal(load_splits(f"npz:{save(x=x, y=Y)}").test.frames, splits.test.frames)


def test_given_splits_of_signals_stay(save: Callable[..., Path]) -> None:
    x = np.linspace(-9, 9, 50 * 8, dtype=np.float32).reshape(50, 2, 4)
    splits = load_splits(str(save(x_train=x[:40], y_train=Y[:40], x_test=x[40:], y_test=Y[40:])))
    assert np.array_equal(splits.train.frames, x[:40])
    assert np.array_equal(splits.test.frames, x[40:])


@pytest.mark.parametrize("key", ["mode=gray", "size=6"])
def test_gray_floats_are_images_where_the_spec_says_so(key: str, save: Callable[..., Path]) -> None:
    gray = X[:, :, :, 0]
    splits = load_splits(f"{save(x=gray / 255, y=Y)}?{key}")
    reference = load_splits(f"{save(x=gray, y=Y)}?{key}")
    assert splits.train.images.shape[3] == 1
    assert np.array_equal(splits.train.images, reference.train.images)


BROKEN = {
    "NaN": ({"x": np.where(X == 7, np.nan, X / 255), "y": Y}, "NaN in x"),
    "range": ({"x": X.astype(np.float32), "y": Y}, "values from 0 to 255"),
    "infinite": ({"x": np.where(X == 7, np.inf, X / 255), "y": Y}, "to inf"),
    "integers": ({"x": X.astype(np.int32), "y": Y}, "int32"),
    "channels first": ({"x": X.transpose(0, 3, 1, 2), "y": Y}, "shape"),
    "flat": ({"x": X.reshape(50, -1), "y": Y}, "shape"),
    "NaN in signals": ({"x": np.where(X[..., 0] == 7, np.nan, 1.0), "y": Y}, "NaN or infinite"),
    "signals beyond float32": ({"x": np.full((50, 2, 9), 1e39), "y": Y}, "NaN or infinite"),
    "integer signals": ({"x": X[..., 0].astype(np.int16), "y": Y}, "int16"),
    "no samples": ({"x": np.zeros((50, 2, 0), np.float32), "y": Y}, "shape (50, 2, 0)"),
    "kinds": (
        {"x_train": X[..., 0], "y_train": Y, "x_test": X[..., 0] / 255, "y_test": Y},
        "images of height, width, channels [6, 5, 1] and signals of channels, length [6, 5]",
    ),
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
