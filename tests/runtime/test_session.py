"""Graphs in onnxruntime: buffers that are read and written in place, and what is refused."""

from __future__ import annotations

import ctypes
import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from sel_edge.bundle.manifest import GRAPH_FILE
from sel_edge.core.errors import BundleError
from sel_edge.runtime.session import Buffer, Session, give_back
from tests.runtime.trainable import Arrays, bundle, same

WEIGHT = "body.2.conv2.weight"


def graph(name: str, **options: Any) -> Session:
    return Session(bundle().member(name), 1, **options)


def test_a_binding_reads_what_is_in_the_buffer_when_it_runs() -> None:
    session = graph(GRAPH_FILE)
    image = Buffer(np.zeros((2, 3, 8, 8), np.float32))
    outputs = {
        name: Buffer(np.zeros((2, *shape[1:]), np.float32))
        for name, shape in session.outputs.items()
    }
    binding = session.bind({"image": image, "ignored": image}, outputs)
    for value in (0.0, 1.0):
        image.array.fill(value)
        binding.run()
        expected = session.run({"image": image.array})
        assert same({name: buffer.array for name, buffer in outputs.items()}, expected)
    other = Buffer(np.full((2, 3, 8, 8), -1, np.float32))
    binding.set({"image": other})
    binding.run()
    assert np.array_equal(
        outputs["logits"].array, session.run({"image": other.array}, ["logits"])["logits"]
    )


def test_a_binding_keeps_its_buffers_alive() -> None:
    """onnxruntime does not: it would read memory that was given to others."""
    session = graph(GRAPH_FILE)
    inputs = {"image": Buffer(np.ones((2, 3, 8, 8), np.float32))}
    outputs = {
        name: Buffer(np.zeros((2, *shape[1:]), np.float32))
        for name, shape in session.outputs.items()
    }
    alive = [weakref.ref(buffer) for buffer in (*inputs.values(), *outputs.values())]
    binding = session.bind(inputs, outputs)
    del inputs, outputs
    gc.collect()
    assert all(reference() is not None for reference in alive)
    binding.run()


def test_a_buffer_is_the_array_itself_unless_it_is_not_contiguous() -> None:
    whole = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert Buffer(whole).array.ctypes.data == whole.ctypes.data
    assert Buffer(whole.T).array.flags.c_contiguous
    assert np.array_equal(Buffer(whole.T).array, whole.T)
    assert Buffer(np.zeros((), np.float32)).array.shape == ()


def image(count: int = 2) -> Arrays:
    rng = np.random.default_rng(0)
    return {"image": rng.standard_normal((count, 3, 8, 8)).astype(np.float32)}


def test_results_are_the_callers_own() -> None:
    session = graph(GRAPH_FILE)
    first = session.run(image())
    kept = {name: value.copy() for name, value in first.items()}
    session.run({"image": -image()["image"]})
    assert same(first, kept)
    assert list(session.run(image(), ["logits"])) == ["logits"]


def test_the_whole_graph_runs_whatever_is_wanted_of_it(tmp_path: Path) -> None:
    """So whoever wants one output pays for all of them; the operations counted rely on it."""
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Neg", ["image"], ["wanted"]),
        helper.make_node("Gather", ["image", "place"], ["other"]),
    ]
    ends = [value(name, TensorProto.FLOAT, ["n"]) for name in ("image", "wanted", "other")]
    inputs = [ends[0], value("place", TensorProto.INT64, [1])]
    made = helper.make_model(
        helper.make_graph(nodes, "two paths", inputs, ends[1:]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    (tmp_path / "graph.onnx").write_bytes(made.SerializeToString())
    feeds = {"image": np.ones(3, np.float32), "place": np.array([3])}
    with pytest.raises(Exception, match="Gather"):  # onnxruntime has no common error type
        Session(tmp_path / "graph.onnx", 1).run(feeds, ["wanted"])


def test_memory_that_is_not_kept_changes_nothing() -> None:
    frugal = graph(GRAPH_FILE, keep_memory=False)
    for count in (1, 5, 2):
        assert same(graph(GRAPH_FILE).run(image(count)), frugal.run(image(count)))


def test_parameters_are_copied() -> None:
    own = bundle().parameters()
    new = own[WEIGHT] * np.float32(2)
    session = graph(GRAPH_FILE, parameters={WEIGHT: new})
    found = session.run(image())
    new.fill(0)
    assert same(session.run(image()), found)
    assert not same(found, graph(GRAPH_FILE).run(image()))
    assert same(graph(GRAPH_FILE, parameters=own).run(image()), graph(GRAPH_FILE).run(image()))


@pytest.mark.parametrize("content", [b"", b"\x00", b"nonsense" * 50])
def test_a_file_that_holds_no_graph_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "graph.onnx").write_bytes(content)
    with pytest.raises(BundleError, match="cannot use the graph"):
        Session(tmp_path / "graph.onnx", 1)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot use the graph"):
        Session(tmp_path / "graph.onnx", 1)


def test_a_graph_of_other_types_is_refused(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info
    node = helper.make_node("Neg", ["image"], ["logits"])
    ends = [value(name, TensorProto.DOUBLE, [1]) for name in ("image", "logits")]
    made = helper.make_model(
        helper.make_graph([node], "double", ends[:1], ends[1:]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    (tmp_path / "graph.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(BundleError, match="other types than float and int64"):
        Session(tmp_path / "graph.onnx", 1)


def test_memory_is_given_back_where_the_c_library_can(monkeypatch: pytest.MonkeyPatch) -> None:
    give_back()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    give_back()
