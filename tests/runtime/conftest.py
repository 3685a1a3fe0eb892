"""A small real network in a real bundle: gratings of four directions, told apart by their energy.

The camera may be tilted, which turns every grating by 25 degrees: a shift that the classifier does
badly on and can learn. A checkerboard is a class that it has never seen.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from safetensors.numpy import save

from sel_edge.bundle.bundle import Bundle, pack_anchors, write_bundle
from sel_edge.bundle.manifest import Manifest, ModelInfo
from sel_edge.bundle.preprocessing import ImagePreprocessing
from sel_edge.core.standin import fit_standin

CLASSES = ("east", "north-east", "north", "north-west")
NEW_CLASS = "checker"
SIDE, FILTERS = 12, 48
MEAN, STD = 0.5, 0.25


class Patterns:
    """Draws labelled images."""

    classes = CLASSES
    new_class = NEW_CLASS

    def images(
        self, names: list[str], rng: np.random.Generator, tilted: bool = False
    ) -> NDArray[np.uint8]:
        y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float64)
        tilt = np.deg2rad(25) if tilted else 0.0

        def grating(angle: float) -> NDArray[np.float64]:
            along = x * np.cos(angle + tilt) + y * np.sin(angle + tilt)
            return np.sin(2 * np.pi * along / 4 + rng.uniform(0, 2 * np.pi))

        stack = []
        for name in names:
            if name == NEW_CLASS:
                pattern = grating(np.pi / 8) * grating(np.pi / 8 + np.pi / 2)
            else:
                pattern = grating(np.pi / 4 * CLASSES.index(name))
            noise = rng.normal(0, 80, (SIDE, SIDE))
            stack.append(np.clip(128 + 55 * pattern + noise, 0, 255))
        return np.array(stack).astype(np.uint8)[..., None]

    def draw(
        self, n: int, seed: int, names: tuple[str, ...] = CLASSES, tilted: bool = False
    ) -> tuple[NDArray[np.uint8], list[str]]:
        rng = np.random.default_rng(seed)
        chosen = [names[i] for i in rng.integers(0, len(names), n)]
        return self.images(chosen, rng, tilted), chosen


@pytest.fixture(scope="session")
def patterns() -> Patterns:
    return Patterns()


class Network:
    """conv 5x5 + relu + global average pool + linear, in numpy: the reference for the engine."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        filters = rng.normal(0, 0.3, (FILTERS, 1, 5, 5))
        self.filters = (filters - filters.mean(axis=(2, 3), keepdims=True)).astype(np.float32)
        self.filter_bias = rng.normal(-0.5, 0.3, FILTERS).astype(np.float32)
        images, names = Patterns().draw(1200, seed=1)
        labels = np.array([CLASSES.index(name) for name in names])
        self.weight, self.bias = _fit(self.features(images), labels)

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = ((images[..., 0] / 255 - MEAN) / STD).astype(np.float32)
        padded = np.pad(pixels, ((0, 0), (2, 2), (2, 2)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(1, 2))
        maps = np.einsum("nhwij,fij->nfhw", windows, self.filters[:, 0])
        maps = maps + self.filter_bias[:, None, None]
        return np.maximum(maps, 0).mean(axis=(2, 3)).astype(np.float32)

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self.features(images) @ self.weight.T + self.bias


@pytest.fixture(scope="session")
def network() -> Network:
    return Network()


def _fit(
    features: NDArray[np.float32], labels: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Multinomial logistic regression by plain gradient descent on standardized features."""
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-6
    inputs = np.column_stack([(features - mean) / scale, np.ones(len(features))])
    target = np.eye(len(CLASSES))[labels]
    weight = np.zeros((len(CLASSES), inputs.shape[1]))
    for _ in range(400):
        scores = inputs @ weight.T
        scores -= scores.max(axis=1, keepdims=True)
        probability = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        weight -= 0.3 * ((probability - target).T @ inputs / len(inputs) + 1e-3 * weight)
    rows = weight[:, :-1] / scale
    return rows.astype(np.float32), (weight[:, -1] - rows @ mean).astype(np.float32)


def make_graph(tensors: dict[str, NDArray[np.float32]], weights: bytes) -> bytes:
    """infer.onnx whose initializers lie in `weights`, a safetensors file with those tensors."""
    header_bytes = int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8 : 8 + header_bytes])
    initializers = []
    for name, tensor in tensors.items():
        first, last = header[name]["data_offsets"]
        proto = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=tensor.shape)
        proto.data_location = TensorProto.EXTERNAL
        place = {"location": "weights.safetensors", "offset": 8 + header_bytes + first}
        for key, value in {**place, "length": last - first}.items():
            proto.external_data.add(key=key, value=str(value))
        initializers.append(proto)
    nodes = [
        helper.make_node(
            "Conv", ["image", "conv.weight", "conv.bias"], ["maps"], pads=[2, 2, 2, 2]
        ),
        helper.make_node("Relu", ["maps"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Gemm", ["features", "fc.weight", "fc.bias"], ["logits"], transB=1),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "gratings",
        [value("image", TensorProto.FLOAT, ["n", 1, SIDE, SIDE])],
        [
            value("features", TensorProto.FLOAT, ["n", FILTERS]),
            value("logits", TensorProto.FLOAT, ["n", len(CLASSES)]),
        ],
        initializers,
    )
    model: onnx.ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    return bytes(model.SerializeToString())


def build_bundle(path: Path, network: Network, held_out: bool = True) -> Bundle:
    images, names = Patterns().draw(160, seed=2)
    labels = np.array([CLASSES.index(name) for name in names])
    tensors = {
        "conv.weight": network.filters,
        "conv.bias": network.filter_bias,
        "fc.weight": network.weight,
        "fc.bias": network.bias,
    }
    weights = save(tensors)
    manifest = Manifest(
        model=ModelInfo("gratings", FILTERS, 1348, FILTERS * 25 * SIDE * SIDE + FILTERS * 4),
        classes=CLASSES,
        preprocessing=ImagePreprocessing(SIDE, SIDE, 1, (MEAN,), (STD,)),
        temperature=1.5,
        head_weight="fc.weight",
        head_bias="fc.bias",
        features=FILTERS,
        standin=fit_standin(network.logits(images), labels),
        anchors_held_out=held_out,
        accuracy={},
        provenance={"made_by": "tests"},
    )
    members = {
        "infer.onnx": make_graph(tensors, weights),
        "weights.safetensors": weights,
        "anchors.safetensors": pack_anchors(images, labels, network.features(images)),
    }
    return write_bundle(path, manifest, members)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, network: Network) -> Bundle:
    return build_bundle(tmp_path_factory.mktemp("bundles") / "gratings", network)


@pytest.fixture(scope="session")
def bundle_trained_on_anchors(tmp_path_factory: pytest.TempPathFactory, network: Network) -> Bundle:
    return build_bundle(tmp_path_factory.mktemp("bundles") / "seen", network, held_out=False)
