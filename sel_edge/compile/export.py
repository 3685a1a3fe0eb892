"""The forward graph: a torch classifier as infer.onnx with its weights in a safetensors file."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import onnx
import torch
from onnx import TensorProto, numpy_helper
from onnxscript import optimizer
from safetensors.numpy import save
from torch import Tensor, nn

from sel_edge.compile.fold import fold
from sel_edge.compile.forward import Forward
from sel_edge.compile.graph import OPSET, to_model
from sel_edge.compile.load import load_graph

BATCH = "n"
"""The name of the free dimension of infer.onnx."""


_SEQUENCES = ("SplitToSequence", "SequenceAt")


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
    model: Classifier, image_shape: tuple[int, ...], weights_file: str
) -> ForwardGraph:
    """Export in evaluation mode for any batch, batch normalization folded into the convolutions.

    Args:
        model: on the CPU, float32.
        image_shape: channels, height, width; or channels, length.
        weights_file: name under which the weights will lie beside the graph.
    """
    return forward_graph(fold(load_graph(torch_model(model, image_shape), BATCH)), weights_file)


def torch_model(model: Classifier, image_shape: tuple[int, ...]) -> onnx.ModelProto:
    """A torch network as ONNX, in evaluation mode and layer by layer: nothing is folded.

    Args:
        model: on the CPU, float32.
        image_shape: as for `export_forward`.

    Returns:
        Input `image` float32 [n, C, ...], outputs `features` and `logits`; initializers have the
        names of the network's parameters.
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
            optimize=False,  # it would fold batch normalization and forget its statistics
            opset_version=OPSET,
            input_names=["image"],
            output_names=["features", "logits"],
            dynamic_shapes={"image": {0: torch.export.Dim("n", min=1, max=2**20)}},
        )
    assert program is not None  # noqa: S101 - None is for exports to a file
    # What torch writes down for a split is a sequence of tensors until constants are folded.
    optimizer.fold_constants(program.model, should_fold=lambda node: node.op_type in _SEQUENCES)
    optimizer.remove_unused_nodes(program.model)
    proto: onnx.ModelProto = program.model_proto
    _drop_prefix(proto.graph)
    return proto


def forward_graph(forward: Forward, weights_file: str) -> ForwardGraph:
    """What a bundle needs of a compiled network.

    Args:
        forward: for a free batch.
        weights_file: as for `export_forward`.
    """
    proto = to_model(forward.graph)
    weights = _move_weights_out(proto, weights_file)
    return ForwardGraph(proto.SerializeToString(), weights, forward.head_weight, forward.head_bias)


def _drop_prefix(graph: onnx.GraphProto) -> None:
    """Give parameters the names that they have in the network, without the wrapper's prefix."""
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
