"""Files that are damaged, cut off, too large, or reach out of their folder end in a typed error."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto

from sel_edge.compile.load import load_graph
from sel_edge.compile.read import MAX_BYTES, read_model
from sel_edge.core.errors import BundleError
from tests.compile.models import HEAD, assert_same, evaluate, logits, model, node, normal, pooled

X = normal(2, 3, 6, 6)


def plain_model() -> onnx.ModelProto:
    weights = {**HEAD, "k": normal(3, 3, 3, 3)}
    return model([node("Conv", "x k", "c"), *pooled("c")], weights)


def save(folder: Path, location: str = "weights.bin", **entries: str) -> Path:
    """A model whose weights lie in another file; entries change what it says of the kernel."""
    proto, data = plain_model(), b"head"
    for tensor in proto.graph.initializer:
        where = {
            "location": location,
            "offset": str(len(data)),
            "length": str(len(tensor.raw_data)),
            **(entries if tensor.name == "k" else {}),
        }
        data += tensor.raw_data
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in where.items():
            tensor.external_data.add(key=key, value=value)
    (folder / "weights.bin").write_bytes(data)
    (folder / "model.onnx").write_bytes(proto.SerializeToString())
    return folder / "model.onnx"


def refused(path: Path, *words: str) -> None:
    with pytest.raises(BundleError) as caught:
        read_model(path)
    for word in (str(path), *words):
        assert word in str(caught.value)


def test_weights_beside_the_model_are_read(tmp_path):
    graph = load_graph(read_model(save(tmp_path)), 2)
    assert_same(logits(graph, X), evaluate(plain_model(), X)[0])


def test_weights_in_a_folder_below_are_read(tmp_path):
    path = save(tmp_path, "deep/er/weights.bin")
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "weights.bin").rename(tmp_path / "deep/er/weights.bin")
    assert_same(logits(load_graph(read_model(path), 2), X), evaluate(plain_model(), X)[0])


def test_the_tensor_of_a_constant_may_lie_outside_too(tmp_path):
    proto = plain_model()
    kernel = proto.graph.initializer.pop()
    (tmp_path / "k").write_bytes(kernel.raw_data)
    kernel.ClearField("raw_data")
    kernel.data_location = TensorProto.EXTERNAL
    kernel.external_data.add(key="location", value="k")
    proto.graph.node.insert(0, node("Constant", "", "k", value=kernel))
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    graph = load_graph(read_model(tmp_path / "model.onnx"), 2)
    assert_same(logits(graph, X), evaluate(plain_model(), X)[0])


@pytest.mark.parametrize(
    "location",
    ["/etc/passwd", "../weights.bin", "a/../../weights.bin", "", ".", "a\\b", "a\0b", "C:\\x"],
)
def test_other_places_are_not_read(tmp_path, location):
    refused(save(tmp_path, location), "own folder only")


@pytest.mark.parametrize("link", ["weights.bin", "folder"])
def test_links_are_not_followed(tmp_path, link):
    outside = tmp_path / "outside"
    (tmp_path / "in").mkdir()
    outside.mkdir()
    path = save(tmp_path / "in", "weights.bin" if link == "weights.bin" else "folder/weights.bin")
    (tmp_path / "in/weights.bin").rename(outside / "weights.bin")
    (path.parent / link).symlink_to(outside if link == "folder" else outside / "weights.bin")
    refused(path, "without links")


def test_missing_weights(tmp_path):
    path = save(tmp_path)
    (tmp_path / "weights.bin").unlink()
    refused(path, "weights.bin", "missing")


def test_a_pipe_is_no_file_of_weights(tmp_path):
    path = save(tmp_path)
    (tmp_path / "weights.bin").unlink()
    os.mkfifo(tmp_path / "weights.bin")
    refused(path, "missing")


@pytest.mark.parametrize(
    "entries",
    [
        {"offset": "-4"},
        {"offset": "99999"},
        {"offset": "four"},
        {"length": "4"},
        {"length": "-1"},
        {"length": "99999999999999999999"},
    ],
)
def test_weights_that_are_not_where_the_model_says(tmp_path, entries):
    refused(save(tmp_path, **entries), "does not hold the weights k")


def test_weights_of_odd_types_and_sizes(tmp_path):
    for change in ({"data_type": TensorProto.STRING}, {"dims": [-1]}, {"dims": [2**40, 2**40]}):
        path = save(tmp_path)
        proto = onnx.load_model_from_string(path.read_bytes())
        tensor = proto.graph.initializer[0]
        if "dims" in change:
            tensor.dims[:] = change["dims"]
        else:
            tensor.data_type = change["data_type"]
        path.write_bytes(proto.SerializeToString())
        refused(path)


def test_what_is_no_model(tmp_path):
    path = tmp_path / "model.onnx"
    refused(path, "no file")
    refused(tmp_path, "no file")
    for content in (b"", b"PK\x03\x04 a zip", b"\xff" * 100):
        path.write_bytes(content)
        refused(path, "cannot be read")


def test_a_model_that_is_cut_off_anywhere(tmp_path):
    whole = plain_model().SerializeToString()
    path = tmp_path / "model.onnx"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(BundleError):
            load_graph(read_model(path), 2)


def test_a_model_of_more_than_two_gigabytes(tmp_path):
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    refused(path, str(MAX_BYTES))
