"""The forward graph: a torch classifier as infer.onnx with its weights in a safetensors file."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import onnx
import torch
from onnx import TensorProto, numpy_helper
from safetensors.numpy import save
from torch import Tensor, nn

OPSET = 18


@runtime_checkable
class Classifier(Protocol):
    """A network that ends in one linear layer on pooled features."""

    fc: nn.Linear

    def features(self, x: Tensor) -> Tensor:
        """Penultimate features, float [N, F], of images float [N, C, H, W]."""
        ...


@dataclass(frozen=True)
class ForwardGraph:
    """What a bundle needs of a network.

    Attributes:
        graph: infer.onnx; input `image` float32 [N, C, H, W], outputs `features` float32 [N, F] and
            `logits` float32 [N, K]; its weights are external data.
        weights: the safetensors file that holds them, one tensor per initializer.
        head_weight, head_bias: names of the classifier's tensors, float32 [K, F] and [K].
    """

    graph: bytes
    weights: bytes
    head_weight: str
    head_bias: str


class _FeaturesAndLogits(nn.Module):
    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = self.model.features(image)
        return features, self.model.fc(features)


def export_forward(
    model: Classifier, image_shape: tuple[int, int, int], weights_file: str
) -> ForwardGraph:
    """Export in evaluation mode, batch normalization folded into the convolutions.

    Args:
        model: on the CPU, float32.
        image_shape: channels, height, width.
        weights_file: name under which the weights will lie beside the graph.
    """
    wrapped = _FeaturesAndLogits(model).eval()
    with warnings.catch_warnings(), torch.no_grad():
        # torch's exporter warns about its own internals; nothing a user could act on.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            wrapped,
            (torch.zeros(2, *image_shape),),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["features", "logits"],
            dynamic_shapes={"image": {0: torch.export.Dim("n", min=1, max=2**20)}},
        )
    assert program is not None  # noqa: S101 - None is for exports to a file
    proto = program.model_proto
    _strip(proto)
    head = next(node for node in proto.graph.node if "logits" in node.output)
    weights = _move_weights_out(proto, weights_file)
    return ForwardGraph(proto.SerializeToString(), weights, head.input[1], head.input[2])


def _strip(proto: onnx.ModelProto) -> None:
    """Drop what only the exporter needs: stack traces, file names, the wrapper's prefix."""
    graph = proto.graph
    for item in (proto, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        item.ClearField("metadata_props")
        item.ClearField("doc_string")
    graph.ClearField("value_info")
    renamed = {i.name: i.name.removeprefix("model.") for i in graph.initializer}
    for initializer in graph.initializer:
        initializer.name = renamed[initializer.name]
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)


def _move_weights_out(proto: onnx.ModelProto, weights_file: str) -> bytes:
    """Make every float initializer external data of one safetensors file, and return that file."""
    floats = [i for i in proto.graph.initializer if i.data_type == TensorProto.FLOAT]
    weights = save({i.name: numpy_helper.to_array(i) for i in floats})
    header_bytes = int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8 : 8 + header_bytes])
    for initializer in floats:
        first, last = header[initializer.name]["data_offsets"]
        initializer.ClearField("raw_data")
        initializer.ClearField("float_data")
        initializer.data_location = TensorProto.EXTERNAL
        for key, value in (
            ("location", weights_file),
            ("offset", 8 + header_bytes + first),
            ("length", last - first),
        ):
            initializer.external_data.add(key=key, value=str(value))
    return weights
