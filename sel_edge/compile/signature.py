"""What a model takes and answers with, before it is compiled."""

from __future__ import annotations

from dataclasses import dataclass

from onnx import NodeProto

from sel_edge.compile.check import OWN_OUTPUTS, prepare
from sel_edge.compile.graph import Model
from sel_edge.compile.load import load_graph

_NO_EFFECT = ("Dropout", "Identity")


@dataclass(frozen=True)
class Signature:
    """What a classifier takes and answers with.

    Attributes:
        sample_shape: channels, height and width; or channels and length.
        classes: how many there are.
        last_function: what becomes of the logits: "Softmax", "LogSoftmax", or "" for nothing.
    """

    sample_shape: tuple[int, ...]
    classes: int
    last_function: str


def signature(model: Model) -> Signature:
    """What a model takes and answers with.

    Raises:
        BundleError: it is malformed, or not a classifier that can be compiled.
    """
    model = prepare(model)
    graph = load_graph(model, 1)
    classes = graph.shape(graph.outputs["logits"])[1]
    return Signature(graph.shape("image")[1:], classes, _last_function(model))


def _last_function(model: Model) -> str:
    outputs = {value.name for value in model.graph.output}
    (name,) = {"logits"} if outputs == OWN_OUTPUTS else outputs
    makers: dict[str, NodeProto] = {o: node for node in model.graph.node for o in node.output}
    node = makers.get(name)
    while node is not None and node.op_type in _NO_EFFECT:
        node = makers.get(node.input[0])
    return node.op_type if node is not None and node.op_type.endswith("Softmax") else ""
