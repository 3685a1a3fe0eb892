"""A torch classifier as ONNX, before anything is folded."""

from __future__ import annotations

import warnings
from typing import Protocol, runtime_checkable

import onnx
import torch
from onnxscript import optimizer
from torch import Tensor, nn

from sel_edge.compile.graph import OPSET

_SEQUENCES = ("SplitToSequence", "SequenceAt")


@runtime_checkable
class Classifier(Protocol):
    """A network that ends in one linear layer on pooled features."""

    fc: nn.Linear

    def features(self, x: Tensor) -> Tensor:
        """Penultimate features, float [N, F], of images float [N, C, H, W]."""
        ...


class _FeaturesAndLogits(nn.Module):
    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = self.model.features(image)
        return features, self.model.fc(features)


def torch_model(model: Classifier, image_shape: tuple[int, ...]) -> onnx.ModelProto:
    """A torch network as ONNX, in evaluation mode and layer by layer: nothing is folded.

    Args:
        model: on the CPU, float32.
        image_shape: channels, height, width; or channels, length.

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


def _drop_prefix(graph: onnx.GraphProto) -> None:
    """Give parameters the names that they have in the network, without the wrapper's prefix."""
    renamed = {i.name: i.name.removeprefix("model.") for i in graph.initializer}
    for initializer in graph.initializer:
        initializer.name = renamed[initializer.name]
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
