"""CIFAR-10 archives in both published forms; a pickle in them is read and never run."""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.errors import DataError, MissingDependencyError
from sel_edge.data import download
from sel_edge.data.cache import cache_directory
from sel_edge.data.pickle_reader import Call, as_array, parse_pickle
from sel_edge.data.sources import load_splits

Pack = Callable[[Path, dict[str, bytes]], Path]
CifarFiles = Callable[..., dict[str, bytes]]
CifarArrays = dict[str, tuple[np.ndarray, np.ndarray]]

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=300),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=12,
)


@pytest.mark.parametrize("name", ["set.tar.gz", "set.zip", "set"])
@pytest.mark.parametrize("form", ["python", "binary"])
@pytest.mark.parametrize("kind", ["cifar10:", ""])
def test_both_forms_give_the_images(
    kind: str,
    form: str,
    name: str,
    tmp_path: Path,
    pack: Pack,
    cifar_files: CifarFiles,
    cifar_arrays: CifarArrays,
) -> None:
    splits = load_splits(f"{kind}{pack(tmp_path / name, cifar_files(form))}")
    assert splits.train.classes == ("cat", "dog", "emu")
    train = [cifar_arrays[f"data_batch_{number}"] for number in range(1, 6)]
    assert np.array_equal(splits.train.frames, np.concatenate([images for images, _ in train]))
    assert np.array_equal(splits.train.labels, np.concatenate([labels for _, labels in train]))
    assert np.array_equal(splits.test.frames, cifar_arrays["test_batch"][0])
    assert splits.note == ""


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_pickle_protocol(
    protocol: int, tmp_path: Path, pack: Pack, cifar_files: CifarFiles, cifar_arrays: CifarArrays
) -> None:
    splits = load_splits(str(pack(tmp_path / "set.tar", cifar_files("python", protocol))))
    assert np.array_equal(splits.test.frames, cifar_arrays["test_batch"][0])


@given(value=plain, protocol=st.integers(1, pickle.HIGHEST_PROTOCOL))
def test_plain_values_are_read_as_pickle_reads_them(value: object, protocol: int) -> None:
    assert parse_pickle(pickle.dumps(value, protocol)) == value


@given(
    shape=st.lists(st.integers(0, 5), min_size=1, max_size=3).map(tuple),
    dtype=st.sampled_from(("u1", "<i2", ">i4", "<i8")),
    order=st.sampled_from("CF"),
    protocol=st.integers(2, pickle.HIGHEST_PROTOCOL),
)
def test_arrays_are_read_as_numpy_reads_them(
    shape: tuple[int, ...], dtype: str, order: str, protocol: int
) -> None:
    count = int(np.prod(shape))
    array = np.asarray(np.arange(count).reshape(shape).astype(dtype), order=order)
    read = as_array(parse_pickle(pickle.dumps(array, protocol)))
    assert read.dtype == array.dtype
    assert np.array_equal(read, array)


def test_numpy_scalars_in_a_list() -> None:
    data = pickle.dumps([np.int64(3), np.int64(-1)], protocol=4)
    assert as_array(parse_pickle(data)).tolist() == [3, -1]


class Attack:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("protocol", range(1, pickle.HIGHEST_PROTOCOL + 1))
def test_a_hostile_pickle_is_not_run(
    protocol: int, tmp_path: Path, pack: Pack, cifar_files: CifarFiles
) -> None:
    victim = tmp_path / "made"
    attack = pickle.dumps({b"data": Attack(victim), b"labels": [0]}, protocol)
    assert parse_pickle(attack)[b"data"] == Call(f"{os.mkdir.__module__}.mkdir", (str(victim),))
    files = cifar_files("python") | {"cifar-10-batches-py/data_batch_2": attack}
    with pytest.raises(DataError, match=r"data_batch_2 in .* is no CIFAR-10 batch"):
        load_splits(str(pack(tmp_path / "set.tar", files)))
    assert not victim.exists()


@given(data=st.binary(max_size=60) | st.binary(max_size=60).map(lambda tail: b"\x80\x02" + tail))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        parse_pickle(data)


@pytest.mark.parametrize("form", ["python", "binary"])
def test_a_missing_batch(form: str, tmp_path: Path, pack: Pack, cifar_files: CifarFiles) -> None:
    files = {name: data for name, data in cifar_files(form).items() if "batch_3" not in name}
    with pytest.raises(DataError, match="lacks data_batch_3"):
        load_splits(str(pack(tmp_path / "set.tar.gz", files)))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("data_batch_1.bin", b"\0" * 3072, "whole records"),
        ("data_batch_1.bin", b"\x09" * 3073, "labels are not in 0..2"),
        ("test_batch.bin", b"", "labels are not in 0..2"),
        ("batches.meta.txt", b"\xff", "batches.meta.txt"),
    ],
)
def test_damaged_binary_batches(
    name: str, content: bytes, says: str, tmp_path: Path, pack: Pack, cifar_files: CifarFiles
) -> None:
    files = cifar_files("binary") | {f"cifar-10-batches-bin/{name}": content}
    with pytest.raises(DataError, match=says):
        load_splits(str(pack(tmp_path / "set.tar.gz", files)))


@pytest.mark.parametrize(
    "value",
    [
        [],
        {b"labels": [0]},
        {b"data": np.zeros((2, 3072), np.uint8), b"labels": [0]},
        {b"data": np.zeros((1, 3072)), b"labels": [0]},
        {b"data": np.zeros((1, 3072), np.uint8), b"labels": ["cat"]},
    ],
)
def test_damaged_python_batches(
    value: object, tmp_path: Path, pack: Pack, cifar_files: CifarFiles
) -> None:
    files = cifar_files("python") | {"cifar-10-batches-py/test_batch": pickle.dumps(value)}
    with pytest.raises(DataError, match="test_batch in"):
        load_splits(str(pack(tmp_path / "set.tar.gz", files)))


def test_arrays_are_converted_when_asked(
    tmp_path: Path, pack: Pack, cifar_files: CifarFiles
) -> None:
    path = pack(tmp_path / "set.tar.gz", cifar_files("binary"))
    plain, small = (load_splits(f"cifar10:{path}{keys}") for keys in ("", "?size=16&mode=gray"))
    assert small.test.frames.shape == (len(plain.test), 16, 16, 1)


def test_without_a_path_the_archive_in_the_cache_is_used(
    pack: Pack, cifar_files: CifarFiles
) -> None:
    cache_directory().mkdir(parents=True)
    pack(cache_directory() / "cifar-10-python.tar.gz", cifar_files("python"))
    assert len(load_splits("cifar10").train) == 20


def test_a_failed_download_leaves_nothing_and_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    utils = pytest.importorskip("torchvision.datasets.utils")

    def fail(url: str, root: str, filename: str, md5: str) -> None:
        Path(root, filename).write_bytes(b"half")
        raise OSError("no network")

    monkeypatch.setattr(utils, "download_url", fail)
    with pytest.raises(MissingDependencyError, match="no network"):
        download.cifar10_archive()
    assert list(cache_directory().iterdir()) == []
