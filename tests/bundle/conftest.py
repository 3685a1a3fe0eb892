"""A bundle with the smallest graph that is one: two pixels, two features, two classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from safetensors.numpy import save

from sel_edge.bundle.bundle import pack_anchors
from sel_edge.bundle.manifest import Manifest, ModelInfo, Preprocessing
from sel_edge.core.standin import StandIn

GraphMaker = Callable[[str], bytes]


@pytest.fixture(scope="session")
def manifest() -> Manifest:
    return Manifest(
        model=ModelInfo("tiny", 1, 10, 4),
        classes=("left", "right"),
        preprocessing=Preprocessing(1, 2, 1, (0.5,), (0.25,)),
        temperature=1.5,
        head_weight="fc.weight",
        head_bias="fc.bias",
        features=2,
        standin=StandIn((0.1, 0.5), (0.2, 1.9)),
        anchors_held_out=True,
        accuracy={"test_full_acc": 0.75},
        provenance={"recipe": "dense", "versions": {"python": "3.11"}, "größe": [1, 2.5, None]},
    )


@pytest.fixture(scope="session")
def make_graph() -> GraphMaker:
    """Builds infer.onnx with one external tensor at a location of choice."""

    def make(location: str) -> bytes:
        tensor = TensorProto(name="fc.weight", data_type=TensorProto.FLOAT, dims=[2, 2])
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        graph = helper.make_graph([], "tiny", [], [], [tensor])
        return bytes(helper.make_model(graph).SerializeToString())

    return make


@pytest.fixture(scope="session")
def members(make_graph: GraphMaker) -> dict[str, bytes]:
    images = np.array([[[[9], [0]]], [[[0], [9]]]] * 2, dtype=np.uint8)
    return {
        "infer.onnx": make_graph("weights.safetensors"),
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
