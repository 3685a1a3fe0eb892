"""A bundle with the smallest graphs that are some: two pixels, two features, two classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from safetensors.numpy import save

from sel_edge.bundle.bundle import pack_anchors
from sel_edge.bundle.manifest import Manifest, ModelInfo
from sel_edge.bundle.preprocessing import ImagePreprocessing
from sel_edge.bundle.rungs import GraphCost, Rung, StepGraph, TrainedLayer
from sel_edge.core.standin import StandIn

GraphMaker = Callable[..., bytes]


def graphs_of(rung: str, *roles: str) -> dict[str, StepGraph]:
    return {role: StepGraph(f"{rung}.{role}.onnx", GraphCost(24, 160, 96)) for role in roles}


TAIL = Rung(
    batch=4,
    cut=None,
    latent_shape=(1, 1, 2),
    layers=(TrainedLayer("fc.weight", "fc.bias", 1, "fc.weight"),),
    optimizer="sgd",
    state=("velocity",),
    settings={"momentum": 0.9, "weight_decay": 0.0},
    graphs=graphs_of("tail", "select", "fill", "step", "importance"),
    parameters=3,
    delta_bytes=20,
    cache_bytes=64,
)
HEAD = replace(
    TAIL,
    cut="features",
    latent_shape=(2,),
    layers=(TrainedLayer("fc.weight", "fc.bias", None, "fc.weight"),),
    optimizer="adam",
    state=("mean", "square"),
    settings={"epsilon": 1e-8},
    graphs=graphs_of("head", "step"),
)
NORM = replace(
    HEAD,
    cut=None,
    latent_shape=(1, 1, 2),
    optimizer="",
    state=(),
    settings={},
    graphs=graphs_of("norm", "statistics"),
)


@pytest.fixture(scope="session")
def manifest() -> Manifest:
    return Manifest(
        model=ModelInfo("tiny", 1, 10, 4),
        classes=("left", "right"),
        preprocessing=ImagePreprocessing(1, 2, 1, (0.5,), (0.25,)),
        temperature=1.5,
        head_weight="fc.weight",
        head_bias="fc.bias",
        features=2,
        standin=StandIn((0.1, 0.5), (0.2, 1.9)),
        anchors_held_out=True,
        accuracy={"test_full_acc": 0.75},
        provenance={"recipe": "dense", "versions": {"python": "3.11"}, "größe": [1, 2.5, None]},
        rungs={"norm": NORM, "head": HEAD, "tail": TAIL},
        int8="infer-int8.onnx",
    )


@pytest.fixture(scope="session")
def make_graph() -> GraphMaker:
    """Builds a graph with one external tensor at a place of choice."""

    def make(location: str, offset: int | str = 0, length: int | str = 16) -> bytes:
        tensor = TensorProto(name="fc.weight", data_type=TensorProto.FLOAT, dims=[2, 2])
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", offset), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
        graph = helper.make_graph([], "tiny", [], [], [tensor])
        return bytes(helper.make_model(graph).SerializeToString())

    return make


@pytest.fixture(scope="session")
def members(make_graph: GraphMaker, manifest: Manifest) -> dict[str, bytes]:
    images = np.array([[[[9], [0]]], [[[0], [9]]]] * 2, dtype=np.uint8)
    graphs = [name for name in manifest.files if name.endswith(".onnx")]
    return {
        **{name: make_graph("weights.safetensors", length=8 + i) for i, name in enumerate(graphs)},
        "weights.safetensors": save(
            {"fc.weight": np.eye(2, dtype=np.float32), "fc.bias": np.zeros(2, dtype=np.float32)}
        ),
        "anchors.safetensors": pack_anchors(
            images, np.array([0, 1, 0, 1]), np.tile(np.eye(2, dtype=np.float32), (2, 1))
        ),
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bundle"
