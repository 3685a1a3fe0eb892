"""Bundles: every byte is checked, nothing foreign is let in, nothing half is left behind."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from sel_edge.bundle.bundle import Bundle, open_bundle, pack_anchors, write_bundle
from sel_edge.bundle.manifest import MEMBERS, Manifest
from sel_edge.bundle.rungs import TrainedLayer
from sel_edge.core import files
from sel_edge.core.errors import BundleError, RunDirectoryError, StorageError

Members = dict[str, bytes]


@pytest.fixture
def bundle(path: Path, manifest: Manifest, members: Members) -> Bundle:
    return write_bundle(path, manifest, members)


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, manifest: Manifest, members: Members
) -> Bundle:
    return write_bundle(tmp_path_factory.mktemp("shared") / "bundle", manifest, members)


def test_a_written_bundle_opens_with_its_content(bundle: Bundle, manifest: Manifest) -> None:
    opened = open_bundle(bundle.path)
    assert opened == bundle
    assert replace(opened.manifest, members={}) == manifest
    weight, bias = opened.head()
    assert weight.tolist() == [[1, 0], [0, 1]]
    assert bias.tolist() == [0, 0]
    anchors = opened.anchors()
    assert anchors.frames.shape == (4, 1, 2, 1)
    assert anchors.labels.tolist() == [0, 1, 0, 1]
    assert sum(member.bytes for member in opened.manifest.members.values()) == sum(
        opened.member(name).stat().st_size for name in opened.manifest.members
    )


def test_a_bundle_without_graphs_to_learn_with_is_one(
    path: Path, manifest: Manifest, members: Members
) -> None:
    plain = replace(manifest, rungs={}, int8=None)
    opened = write_bundle(path, plain, {name: members[name] for name in MEMBERS})
    assert (opened.manifest.rungs, opened.manifest.int8) == ({}, None)


def test_what_is_written_is_of_the_present_schema(
    path: Path, manifest: Manifest, members: Members
) -> None:
    first = replace(manifest, rungs={}, int8=None, schema=1)
    written = write_bundle(path, first, {name: members[name] for name in MEMBERS})
    assert written.manifest == open_bundle(path).manifest
    assert written.manifest.schema == 2


def test_parameters_are_read_by_name_without_copies(
    path: Path, manifest: Manifest, members: Members
) -> None:
    stored = {
        "fc.weight": np.eye(2, dtype=np.float32),
        "fc.bias": np.zeros(2, dtype=np.float32),
        "block/conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
        "empty": np.zeros((0, 3), dtype=np.float32),
        "scalar": np.array(2.5, dtype=np.float32),
    }
    bundle = write_bundle(path, manifest, {**members, "weights.safetensors": save(stored)})
    found = bundle.parameters()
    assert found.keys() == stored.keys()
    for name, tensor in stored.items():
        for read in (found[name], bundle.parameter(name)):
            assert read.dtype == np.float32 and not read.flags.writeable
            np.testing.assert_array_equal(read, tensor, strict=True)
            assert read.base is not None  # a view of the file
    with pytest.raises(BundleError, match=r"lacks the tensor conv\.weight"):
        bundle.parameter("conv.weight")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_parameter_that_is_not_finite_is_refused_where_it_is_read(
    path: Path, manifest: Manifest, members: Members, value: float
) -> None:
    stored = {
        "fc.weight": np.eye(2, dtype=np.float32),
        "fc.bias": np.zeros(2, dtype=np.float32),
        "conv.bias": np.array([0, value], dtype=np.float32),
    }
    bundle = write_bundle(path, manifest, {**members, "weights.safetensors": save(stored)})
    assert bundle.parameter("fc.bias").tolist() == [0, 0]
    with pytest.raises(BundleError, match=r"conv\.bias .* not finite"):
        bundle.parameter("conv.bias")


def test_equal_content_makes_an_equal_bundle(
    tmp_path: Path, manifest: Manifest, members: Members
) -> None:
    first = write_bundle(tmp_path / "a", manifest, members)
    second = write_bundle(tmp_path / "b", manifest, members)
    assert first.manifest.bundle_hash == second.manifest.bundle_hash


@settings(deadline=None)  # touches the disk
@given(data=st.data())
def test_any_flipped_byte_of_any_file_is_noticed(shared: Bundle, data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(sorted(shared.path.iterdir())))
    content = file.read_bytes()
    position = data.draw(st.integers(0, len(content) - 1))
    damaged = bytearray(content)
    damaged[position] ^= data.draw(st.integers(1, 255))
    file.write_bytes(damaged)
    try:
        with pytest.raises(BundleError):
            open_bundle(shared.path)
    finally:
        file.write_bytes(content)


@pytest.mark.parametrize(
    "name",
    [
        *("infer.onnx", "weights.safetensors", "anchors.safetensors", "manifest.json"),
        *("tail.fill.onnx", "infer-int8.onnx"),
    ],
)
@pytest.mark.parametrize("damage", ["missing", "empty", "longer", "link", "folder"])
def test_a_member_that_is_not_itself_is_refused(
    bundle: Bundle, tmp_path: Path, name: str, damage: str
) -> None:
    file = bundle.path / name
    content = file.read_bytes()
    file.unlink()
    if damage == "empty":
        file.touch()
    elif damage == "longer":
        file.write_bytes(content + b"\0")
    elif damage == "link":
        (tmp_path / "elsewhere").write_bytes(content)
        file.symlink_to(tmp_path / "elsewhere")
    elif damage == "folder":
        file.mkdir()
    with pytest.raises(BundleError):
        open_bundle(bundle.path)


@pytest.mark.parametrize("name", ["notes.txt", "deep.step.onnx", ".hidden"])
def test_a_file_that_does_not_belong_is_named(bundle: Bundle, name: str) -> None:
    (bundle.path / name).write_text("hello")
    with pytest.raises(BundleError, match=rf"{re.escape(name)} does not belong"):
        open_bundle(bundle.path)


@pytest.mark.parametrize("kind", ["missing", "file", "empty folder"])
def test_something_that_is_no_bundle_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "thing"
    if kind == "file":
        path.touch()
    elif kind == "empty folder":
        path.mkdir()
    with pytest.raises(BundleError, match="thing"):
        open_bundle(path)


@pytest.mark.parametrize("graph", ["infer.onnx", "infer-int8.onnx", "tail.step.onnx"])
@pytest.mark.parametrize(
    "location", ["/etc/passwd", "../secret", "sub/weights.safetensors", "manifest.json", ""]
)
def test_a_graph_may_read_the_weights_only(
    path: Path,
    manifest: Manifest,
    members: Members,
    make_graph: Callable[[str], bytes],
    graph: str,
    location: str,
) -> None:
    hostile = {**members, graph: make_graph(location)}
    with pytest.raises(BundleError, match=rf"{graph} .* may read weights"):
        write_bundle(path, manifest, hostile)
    assert not path.exists()


@pytest.mark.parametrize(("offset", "length"), [(0, 1), (1, 0), (-16, 17), ("-16", 16)])
def test_a_graph_reads_no_further_than_the_weights_reach(
    path: Path,
    manifest: Manifest,
    members: Members,
    make_graph: Callable[..., bytes],
    offset: int | str,
    length: int,
) -> None:
    """Offset and length beyond the end of the weights, or, as text, before their start."""
    size = len(members["weights.safetensors"])
    start = size + offset if isinstance(offset, int) else offset
    hostile = {**members, "tail.step.onnx": make_graph("weights.safetensors", start, length)}
    with pytest.raises(BundleError):
        write_bundle(path, manifest, hostile)
    last = {**members, "tail.step.onnx": make_graph("weights.safetensors", size - 16, 16)}
    assert write_bundle(path, manifest, last)


@pytest.mark.parametrize(
    ("weight", "bias", "rows"),
    [
        ("fc.weight", "fc.bias", 3),
        ("fc.weight", "fc.bias", 2**53),
        ("conv.weight", "fc.bias", None),
        ("fc.weight", "conv.bias", 1),
        ("fc.bias", "fc.weight", 1),
        ("fc.weight", "scalar", 1),
        ("scalar", "fc.bias", 1),
        ("three.weight", "fc.bias", 1),
    ],
)
def test_a_rung_trains_rows_that_there_are(
    path: Path, manifest: Manifest, members: Members, weight: str, bias: str, rows: int | None
) -> None:
    layer = TrainedLayer(weight, bias, rows, weight)
    write_with_tail(path, manifest, members, layer)


def test_a_layer_follows_one_with_as_many_channels(
    path: Path, manifest: Manifest, members: Members
) -> None:
    layers = (
        TrainedLayer("fc.weight", "fc.bias", 1, "fc.weight"),
        TrainedLayer("three.weight", "three.bias", 1, "fc.weight"),
    )
    write_with_tail(path, manifest, members, *layers)


def write_with_tail(
    path: Path, manifest: Manifest, members: Members, *layers: TrainedLayer
) -> None:
    """Write a bundle whose rung `tail` has layers that its weights do not have."""
    weights = save(
        {
            "fc.weight": np.eye(2, dtype=np.float32),
            "fc.bias": np.zeros(2, dtype=np.float32),
            "three.weight": np.zeros((3, 2), dtype=np.float32),
            "three.bias": np.zeros(3, dtype=np.float32),
            "scalar": np.zeros((), dtype=np.float32),
        }
    )
    tail = replace(manifest.rungs["tail"], layers=layers)
    wrong = replace(manifest, rungs={**manifest.rungs, "tail": tail})
    with pytest.raises(BundleError, match=r"The rung tail .* trains"):
        write_bundle(path, wrong, {**members, "weights.safetensors": weights})
    assert not path.exists()


def anchors_with(**changes: np.ndarray) -> bytes:
    fit = {
        "frames": np.zeros((4, 1, 2, 1), dtype=np.uint8),
        "labels": np.array([0, 1, 0, 1]),
        "features": np.zeros((4, 2), dtype=np.float32),
    }
    return pack_anchors(**{**fit, **changes})


def misaligned(tensors: dict[str, np.ndarray]) -> bytes:
    """A valid safetensors file whose header is one byte longer than writers make it."""
    content = save({name: tensor.astype(np.float32) for name, tensor in tensors.items()})
    header_bytes = int.from_bytes(content[:8], "little")
    header, rest = content[8 : 8 + header_bytes], content[8 + header_bytes :]
    return (header_bytes + 1).to_bytes(8, "little") + header + b" " + rest


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("anchors.safetensors", b"no tensors"),
        ("anchors.safetensors", save({"images": np.zeros(1)})),
        ("anchors.safetensors", anchors_with(frames=np.zeros((4, 2, 2, 1), dtype=np.uint8))),
        ("anchors.safetensors", anchors_with(frames=np.zeros((), dtype=np.uint8))),
        ("anchors.safetensors", anchors_with(labels=np.array([0, 1, 0, 2]))),
        ("anchors.safetensors", anchors_with(labels=np.array([0, 1, 0, -1]))),
        ("anchors.safetensors", anchors_with(labels=np.array([0, 0, 0, 1]))),
        ("anchors.safetensors", anchors_with(labels=np.array([0.0, 1.0, 0.0, 1.0]))),
        ("anchors.safetensors", anchors_with(features=np.full((4, 2), np.nan, np.float32))),
        ("weights.safetensors", b"no tensors"),
        ("weights.safetensors", save({"fc.weight": np.eye(2, dtype=np.float32)})),
        ("weights.safetensors", save({"fc.weight": np.eye(2), "fc.bias": np.zeros(2)})),
        (
            "weights.safetensors",
            save({"fc.weight": np.eye(2, dtype=np.int32), "fc.bias": np.zeros(2, np.int32)}),
        ),
        ("weights.safetensors", misaligned({"fc.weight": np.eye(2), "fc.bias": np.zeros(2)})),
        (
            "weights.safetensors",
            save({"fc.weight": np.full((2, 2), np.nan, np.float32), "fc.bias": np.zeros(2, "f4")}),
        ),
        (
            "weights.safetensors",
            save({"fc.weight": np.eye(2, dtype="f4"), "fc.bias": np.full(2, np.inf, np.float32)}),
        ),
        (
            "weights.safetensors",
            save({"fc.weight": np.eye(3, dtype=np.float32), "fc.bias": np.zeros(3, np.float32)}),
        ),
    ],
)
def test_tensors_that_do_not_fit_the_manifest_are_refused_and_nothing_is_left(
    path: Path, manifest: Manifest, members: Members, name: str, content: bytes
) -> None:
    with pytest.raises(BundleError):
        write_bundle(path, manifest, {**members, name: content})
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("change", ["one too few", "one too many"])
def test_exactly_the_members_of_the_format_are_written(
    path: Path, manifest: Manifest, members: Members, change: str
) -> None:
    wrong = {**members, "extra": b"1"} if change == "one too many" else dict(members)
    if change == "one too few":
        del wrong["anchors.safetensors"]
    with pytest.raises(BundleError, match="members"):
        write_bundle(path, manifest, wrong)
    assert not path.exists()


def test_an_existing_directory_is_not_overwritten(
    bundle: Bundle, manifest: Manifest, members: Members
) -> None:
    with pytest.raises(RunDirectoryError):
        write_bundle(bundle.path, manifest, members)
    assert open_bundle(bundle.path) == bundle


def test_a_full_disk_leaves_nothing(
    path: Path, manifest: Manifest, members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(StorageError):
        write_bundle(path, manifest, members)
    assert list(path.parent.iterdir()) == []
