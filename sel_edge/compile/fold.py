"""Folding: batch normalization into the layers before it, and one form for every layer.

In evaluation mode a BatchNormalization maps x to gamma * (x - mean) / sqrt(var + eps) + beta, per
channel. Where x = W * input + b is the result of a layer that nothing else reads, both together are
one layer with weight s * W and bias s * (b - mean) + beta, where s = gamma / sqrt(var + eps).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sel_edge.compile.check import no_linear_end
from sel_edge.compile.forward import Forward, Normalization
from sel_edge.compile.graph import Array, Graph, Node
from sel_edge.compile.layers import Layer, count_uses, find_layers, is_parameter
from sel_edge.compile.read import plain
from sel_edge.core.errors import BundleError


@dataclass(frozen=True)
class _Unit:
    """A layer, and the BatchNormalization that is folded into it."""

    layer: Layer
    normalization: Node | None = None


@dataclass
class _Folding:
    """A graph on its way into another one.

    Attributes:
        old: the graph that is read.
        new: the graph that grows.
        names: tensor of the old graph -> tensor of the new one.
        normalizations: what was folded so far.
        layers: weight and bias of the old graph -> those of the layers made of them.
    """

    old: Graph
    new: Graph
    names: dict[str, str] = field(default_factory=dict)
    normalizations: list[Normalization] = field(default_factory=list)
    layers: dict[tuple[str, str], list[tuple[str, str]]] = field(default_factory=dict)

    def keep(self, before: str, after: str) -> None:
        """Remember where a tensor is now; its shape is known better than operators tell it."""
        self.names[before] = after
        self.new.types[after] = self.old.types[before]


def fold(graph: Graph) -> Forward:
    """Fold normalization into layers, and write every linear layer as a Gemm with transB=1.

    Every layer gets a bias, of zeros where it had none. A BatchNormalization that follows no layer
    stays, and so does every other operator. All arithmetic is done in float64 and stored as
    float32.

    Args:
        graph: as `load_graph` returns it; left as it is.

    Raises:
        BundleError: the network does not end in a linear layer, its output `features` is not that
            layer's input, or a weight is no finite number.
    """
    units = _plan(graph)
    logits = graph.outputs["logits"]
    head = units.get(logits)
    if head is None or not head.layer.is_linear:
        raise no_linear_end()
    features = head.layer.node.inputs[0]
    if graph.outputs.get("features", features) != features:
        raise BundleError(
            "The output features of the ONNX model is not what its last layer works on.",
            "The two outputs features and logits are expected only where logits are a linear "
            "layer of features.",
            "Export the network with the logits as its only output.",
        )
    folding = _Folding(graph, Graph(opset=graph.opset))
    for name, kind in graph.inputs.items():
        folding.names[name] = folding.new.input(name, kind.dtype, kind.shape)
    inner = {part for unit in units.values() for part in unit.layer.parts}.difference(units)
    for node in graph.nodes:
        tensor = node.outputs[0]
        if tensor in units:
            _add_layer(folding, units[tensor], tensor)
        elif tensor not in inner:
            _copy(folding, node)
    new = folding.new
    new.outputs = {"features": folding.names[features], "logits": folding.names[logits]}
    last = next(n for n in new.nodes if n.outputs[0] == new.outputs["logits"])
    return Forward(new, last.inputs[1], last.inputs[2], tuple(folding.normalizations))


def _plan(graph: Graph) -> dict[str, _Unit]:
    """Output tensor -> what becomes one layer there."""
    units = {tensor: _Unit(layer) for tensor, layer in find_layers(graph).items()}
    uses = count_uses(graph)
    for node in graph.nodes:
        if node.op != "BatchNormalization" or uses[node.inputs[0]] > 1:
            continue
        unit = units.get(node.inputs[0])
        constant = all(name in graph.constants for name in node.inputs[1:])
        if unit is not None and unit.normalization is None and constant:
            del units[node.inputs[0]]
            units[node.outputs[0]] = replace(unit, normalization=node)
    return units


@np.errstate(all="ignore")  # numbers that are not finite are refused when they are stored
def _add_layer(folding: _Folding, unit: _Unit, tensor: str) -> None:
    layer = unit.layer
    weight, bias = layer.weights(folding.old), layer.biases(folding.old)
    if bias is None:
        bias = np.zeros(len(weight))
    statistics: tuple[NDArray[np.float64], ...] | None = None
    if unit.normalization is not None:
        weight, bias, statistics = _normalized(folding.old, unit.normalization, weight, bias)
    inputs = [folding.names[layer.node.inputs[0]], *_parameters(folding, layer, weight, bias)]
    op, attributes = ("Gemm", {"transB": 1}) if layer.is_linear else ("Conv", layer.node.attributes)
    output = folding.new.add_node(op, inputs, attributes, name=layer.node.name)[0]
    folding.keep(tensor, output)
    if statistics is not None:
        mean, std, epsilon = (values.astype(np.float32) for values in statistics)
        folding.normalizations.append(
            Normalization(output, inputs[1], inputs[2], mean, std, epsilon)
        )


def _normalized(
    graph: Graph, node: Node, weight: NDArray[np.float64], bias: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[NDArray[np.float64], ...]]:
    """Weight and bias with a BatchNormalization in them; mean, std and epsilon of the result."""
    gamma, beta, mean, var = (graph.constants[n].astype(np.float64) for n in node.inputs[1:])
    eps = float(node.get("epsilon", 1e-5))
    if not (var + eps > 0).all():
        raise BundleError(
            f"A variance of the operator BatchNormalization ({plain(node.name)}) is not positive.",
            "Running variances of a trained network are expected.",
            "Train the network again; the training that made it has diverged.",
        )
    scale = gamma / np.sqrt(var + eps)
    new_bias = (bias - mean) * scale + beta
    new_weight = weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))
    return new_weight, new_bias, (beta, np.abs(gamma), eps * scale**2)


def _parameters(folding: _Folding, layer: Layer, weight: Array, bias: Array) -> tuple[str, str]:
    """Constants for a layer's weight and bias.

    They are those of an earlier layer if that had both in common with this one and folding left
    both the same. Otherwise neither is another layer's: layers are trained as a whole.
    """
    wanted = (layer.weight, _bias_name(folding.old, layer))
    values = (_stored(weight, wanted[0]), _stored(bias, wanted[1]))
    for names in folding.layers.setdefault(wanted, []):
        if all(
            np.array_equal(folding.new.constants[name], value)
            for name, value in zip(names, values, strict=True)
        ):
            return names
    new = tuple(
        folding.new.constant(np.ascontiguousarray(value), folding.new.unused(name))
        for value, name in zip(values, wanted, strict=True)
    )
    folding.layers[wanted].append((new[0], new[1]))
    return folding.layers[wanted][-1]


def _stored(values: Array, name: str) -> Array:
    stored = values.astype(np.float32)
    if not np.isfinite(stored).all():
        raise BundleError(
            f"The weights {plain(name)} of the ONNX model are not finite in float32.",
            "Finite numbers are expected.",
            "Train the network again; the training that made it has diverged.",
        )
    return stored


def _bias_name(graph: Graph, layer: Layer) -> str:
    if layer.bias is not None and graph.rank(layer.bias) > 0:
        return layer.bias
    return f"{layer.weight.removesuffix('.weight')}.bias"


def _copy(folding: _Folding, node: Node) -> None:
    inputs = [_tensor(folding, name) for name in node.inputs]
    outputs = folding.new.add_node(
        node.op, inputs, node.attributes, len(node.outputs), name=node.name
    )
    for before, after in zip(node.outputs, outputs, strict=True):
        folding.keep(before, after)


def _tensor(folding: _Folding, name: str) -> str:
    if not name or name in folding.names:
        return folding.names.get(name, "")
    value = folding.old.constants[name]
    unused = folding.new.unused(name) if is_parameter(value) else None
    folding.names[name] = folding.new.constant(value, unused)
    return folding.names[name]
