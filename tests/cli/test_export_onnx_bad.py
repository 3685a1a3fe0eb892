"""Whatever is wrong with a network that is to be exported ends in one clear paragraph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.cli.user_networks import plain, saved


def changed(change: Callable[[onnx.ModelProto], None]) -> Callable[[Path], Path]:
    """A file of the plain classifier with something done to it."""

    def make(folder: Path) -> Path:
        proto = plain()
        change(proto)
        return saved(proto, folder / "net.onnx")

    return make


def free_size(proto: onnx.ModelProto) -> None:
    proto.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"


def second_output(proto: onnx.ModelProto) -> None:
    more = helper.make_tensor_value_info("c", TensorProto.FLOAT, [None] * 4)
    proto.graph.output.append(more)


def branch(proto: onnx.ModelProto) -> None:
    same = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["same"])],
        "same",
        [],
        [helper.make_tensor_value_info("same", TensorProto.FLOAT, None)],
    )
    proto.graph.initializer.append(numpy_helper.from_array(np.array(True), "truth"))
    chosen = helper.make_node(
        "If", ["truth"], ["chosen"], name="n_if", then_branch=same, else_branch=same
    )
    proto.graph.node.insert(0, chosen)
    proto.graph.node[1].input[0] = "chosen"


def integers(proto: onnx.ModelProto) -> None:
    weight = next(i for i in proto.graph.initializer if i.name == "k")
    weight.CopyFrom(numpy_helper.from_array(np.ones((3, 3, 3, 3), np.int32), "k"))


def without_rule(proto: onnx.ModelProto) -> None:
    proto.graph.node[1].op_type = "Selu"


def future(proto: onnx.ModelProto) -> None:
    proto.opset_import[0].version = 99


def mixing(proto: onnx.ModelProto) -> None:
    """The mean over the batch is taken off."""
    mean = helper.make_node("ReduceMean", ["x", "first"], ["mean"], keepdims=1)
    rest = helper.make_node("Sub", ["x", "mean"], ["rest"])
    proto.graph.initializer.append(numpy_helper.from_array(np.array([0]), "first"))
    proto.graph.node[0].input[0] = "rest"
    proto.graph.node.insert(0, rest)
    proto.graph.node.insert(0, mean)


def weights_elsewhere(folder: Path) -> Path:
    path = folder / "net.onnx"
    onnx.save(plain(), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    (folder / "w.bin").unlink()
    return path


def content(data: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "net.onnx").write_bytes(data)
        return folder / "net.onnx"

    return make


BAD_NETWORKS: dict[str, tuple[Callable[[Path], Path], list[str]]] = {
    "a size that is free": (changed(free_size), ["dynamic shape [n, 3, height, 6]"]),
    "two outputs": (changed(second_output), ["2 outputs (y, c)"]),
    "control flow": (changed(branch), ["If (n_if)", "without control flow"]),
    "integer weights": (changed(integers), ["int32", "float32"]),
    "an opset of the future": (changed(future), ["opset 99", "7 to 22"]),
    "samples that depend on each other": (changed(mixing), ["differs from the network"]),
    "weights that are missing": (weights_elsewhere, ["w.bin", "weights"]),
    "half a file": (content(plain().SerializeToString()[:200]), ["cannot be read"]),
    "a text": (content(b"dear reader\n" * 40), ["cannot be read", "net.onnx"]),
    "nothing": (content(b""), ["no graph"]),
    "no file": (lambda folder: folder / "typo.onnx", ["no file", "typo.onnx"]),
}


class TestBadNetworks:
    @pytest.mark.parametrize("kind", list(BAD_NETWORKS))
    def test_one_paragraph_and_nothing_left_behind(self, export_plain, tmp_path, kind):
        make, words = BAD_NETWORKS[kind]
        network = make(tmp_path)
        before = sorted(tmp_path.iterdir())
        result = export_plain(network=network)
        assert result.code == 4
        result.says(*words)
        assert sorted(tmp_path.iterdir()) == before

    def test_an_operator_without_a_rule_and_the_way_out(self, export_plain, tmp_path):
        network = changed(without_rule)(tmp_path)
        result = export_plain(network=network)
        assert result.code == 4
        result.says("rung tail", "Selu (n_r)", "with --rungs head,")
        assert not (tmp_path / "bundle").exists()
        assert export_plain("--rungs", "head", network=network).code == 0


def names_file(text: str) -> Callable[[Path, Path], list[str]]:
    def make(folder: Path, fruit: Path) -> list[str]:
        (folder / "list.txt").write_text(text)
        return ["--classes", str(folder / "list.txt")]

    return make


def options(*given: str) -> Callable[[Path, Path], list[str]]:
    return lambda folder, fruit: [part.format(fruit=fruit) for part in given]


BAD_INPUT: dict[str, tuple[Callable[[Path, Path], list[str]], int, list[str]]] = {
    "too few names": (names_file("pear\nfig\n"), 3, ["lists 2 classes", "tells 3"]),
    "a name twice": (names_file("pear\nfig\npear\n"), 3, ["'pear' more than once"]),
    "an empty name": (names_file("pear\n\nfig\n"), 3, ["line 2 is empty"]),
    "no names": (names_file(""), 3, ["fewer than two"]),
    "names that are no file": (options("--classes", "{fruit}"), 3, ["class names"]),
    "a class without images": (
        names_file("pear\napple\nplum\n"),
        3,
        ["no class named 'plum'", "'apple', 'fig', 'pear'"],
    ),
    "images of another size": (
        options("--data", "folder:{fruit}/large"),
        3,
        ["3 channels, height 16 and width 16", "height 6 and width 6", "?size="],
    ),
    "images of another depth": (options("--data", "folder:{fruit}/gray"), 3, ["1 channel,"]),
    "a class with two images": (options("--data", "folder:{fruit}/few"), 3, ["1 anchors"]),
    "data that is not there": (options("--data", "folder:{fruit}/typo"), 3, ["typo"]),
    "a layer that is not there": (options("--deep-from", "k9"), 6, ["no layer k9", "k, k2."]),
    "deep without deep": (options("--rungs", "head", "--deep-from", "k"), 6, ["Add deep"]),
    "a rung that is not there": (options("--rungs", "head,tial"), 6, ["'tial'", "norm, head"]),
    "no rung": (options("--rungs", ""), 6, ["no rung ''"]),
    "a mean that is no number": (options("--mean", "half"), 6, ["'half'", "--mean"]),
    "a mean beyond all pixels": (options("--mean", "nan"), 6, ["'nan'"]),
    "a deviation of zero": (options("--std", "0"), 6, ["'0'", "1e-06"]),
    "too many numbers": (options("--mean", "1,2"), 6, ["2 numbers", "3 channels"]),
    "a run too": (lambda folder, fruit: [str(folder)], 6, ["not clear what to export"]),
}


@pytest.mark.parametrize("kind", list(BAD_INPUT))
def test_bad_input_ends_in_one_paragraph(export_plain, fruit, tmp_path, kind):
    make, code, words = BAD_INPUT[kind]
    saved(plain(), tmp_path / "net.onnx")
    given = make(tmp_path, fruit)
    before = sorted(tmp_path.iterdir())
    result = export_plain(*given)
    assert result.code == code
    result.says(*words)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "given",
    [
        [],
        ["--onnx", "net.onnx"],
        ["--onnx", "net.onnx", "--classes", "names.txt"],
        ["--onnx", "net.onnx", "--data", "digits"],
        ["run", "--classes", "names.txt"],
        ["run", "--held-out"],
    ],
)
def test_what_to_export_must_be_clear(call, tmp_path, given):
    result = call("export", "--out", tmp_path / "bundle", *given)
    assert result.code == 6
    result.says("not clear what to export", "--onnx with --classes and --data")
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_exists_is_found_before_anything_is_read(export_plain, tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "letter.txt").write_text("dear")
    result = export_plain(network=tmp_path / "typo.onnx")
    assert result.code == 5
    result.says("already exists")
