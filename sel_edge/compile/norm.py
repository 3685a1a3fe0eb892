"""The `norm` rung: one forward pass with the statistics of a few frames, no gradient.

Every normalized layer is normalized again by what it answers to these frames, in the order in which
the layers run, each on the output of those before it as they are now: what torch computes in
training mode. Variances are biased, sum / n, because that is what training normalizes by; the
unbiased ones that torch keeps as running statistics are not used here.

Source of the idea: Li et al., "Revisiting Batch Normalization For Practical Domain Adaptation",
2016 (arXiv 1603.04779); blending as in Schneider et al., "Improving robustness against common
corruptions by covariate shift adaptation", 2020 (arXiv 2006.16971).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sel_edge.compile.forward import Forward, Normalization
from sel_edge.compile.graph import Graph, Node
from sel_edge.compile.layers import count_uses, is_parameter
from sel_edge.core.errors import BundleError

BLEND = "blend"
_LONG_ROW = 256
"""Pixels per channel from which a call per channel and image pays: norm-formulations.json."""
_CONSTANT_STD = 1e-16
"""A channel that varies less is constant: float32 cannot hold its variance and epsilon."""


@dataclass(frozen=True)
class Formulation:
    """Which operators compute statistics and apply them.

    Attributes:
        moments: (graph, tensor [N, C, ...] of each part) -> mean and biased variance, float32 [C].
        affine: (graph, tensor [N, C, ...], scale [C], shift [C]) -> scale * tensor + shift.
    """

    moments: Callable[..., tuple[str, str]]
    affine: Callable[[Graph, str, str, str], str]


def moments(graph: Graph, *parts: str) -> tuple[str, str]:
    """Mean and biased variance per channel, float32 [C], of tensors [N, C, ...] of one shape.

    E[z^2] - E[z]^2 reads a tensor twice and writes nothing. It is exact enough because the tensors
    are centred: their mean is 0 on the data the network was trained with.
    """
    batch, channels, pixels = _sizes(graph, parts[0])
    rows = [graph.reshape(part, batch * channels, pixels) for part in parts]
    sums = [graph.add("ReduceSum", matrix, graph.ints(1), keepdims=0) for matrix in rows]
    squares = [squared_norms(graph, matrix) for matrix in rows]
    mean = _mean_of_rows(graph, sums, channels, batch * len(parts), pixels)
    square = _mean_of_rows(graph, squares, channels, batch * len(parts), pixels)
    variance = graph.add("Sub", square, graph.add("Mul", mean, mean))
    return mean, graph.add("Max", variance, graph.scalar(0.0, like=mean))


def squared_norms(graph: Graph, rows: str) -> str:
    """The sum of squares of every row of a matrix.

    onnxruntime multiplies a row with itself, transposed, at twice the rate of its ReduceSumSquare
    where the row is long.
    """
    count, pixels = graph.shape(rows)
    if pixels < _LONG_ROW:
        return graph.add("ReduceSumSquare", rows, graph.ints(1), keepdims=0)
    row = graph.reshape(rows, count, 1, pixels)
    return graph.add("MatMul", row, graph.transpose(row, 0, 2, 1))


def affine(graph: Graph, tensor: str, scale: str, shift: str) -> str:
    """scale * tensor + shift per channel, in one pass.

    onnxruntime fuses a depthwise convolution with the sum and the activation behind it; where the
    images are small, BatchNormalization has less to do per channel.
    """
    _, channels, pixels = _sizes(graph, tensor)
    if pixels >= _LONG_ROW:
        spatial = [1] * (graph.rank(tensor) - 2)
        weight = graph.reshape(scale, channels, 1, *spatial)
        return graph.add("Conv", tensor, weight, shift, group=channels, kernel_shape=spatial)
    zeros = graph.constant(np.zeros(channels, dtype=np.float32))
    ones = graph.constant(np.ones(channels, dtype=np.float32))
    return graph.add("BatchNormalization", tensor, scale, shift, zeros, ones, epsilon=0.0)


FASTEST = Formulation(moments, affine)


def norm_graph(forward: Forward, formulation: Formulation = FASTEST, parts: int = 1) -> Graph:
    """The forward pass that estimates normalization anew.

    The frames run through each layer part by part, and only the statistics are those of all of
    them: a part's input is gone when its output comes, so that a layer needs little more memory
    than its output, where it would need that and its whole input.

    Inputs: `image` as the forward graph has it, for N frames, and `blend`, float32 scalar in 0..1:
    the weight of the frames' mean and variance against those of the data the network was trained
    with. Parameters are constants under their own names; nothing is computed from their values
    here, so a session may be opened with others.

    Outputs: `features` float32 [N, F] and `logits` float32 [N, K] of the network normalized anew,
    and for every normalization with weight w `scale/w` and `shift/w`, float32 [C]. The same network
    is had from the weights scale * weight, per output channel, and the biases scale * bias + shift.
    Blend 0 gives scale 1 and shift 0.

    Args:
        forward: with a fixed batch, the frames of one part.
        formulation: other operators, for comparison.
        parts: in how many parts the N frames run, at least 1.

    Raises:
        BundleError: there is nothing to estimate, a channel has a single value, or a normalized
            layer shares its parameters with another one.
    """
    _require_normalizations(forward, parts)
    source, graph = forward.graph, Graph(opset=forward.graph.opset)
    names = {name: _image_parts(graph, name, t.fixed, parts) for name, t in source.inputs.items()}
    graph.input(BLEND, "float32", ())
    # A graph computes operators on constants at once, but biases may change until a session opens:
    # they are inputs as long as the graph grows.
    biases = {n.bias: source.constants[n.bias] for n in forward.normalizations}
    for name, value in source.constants.items():
        if name in biases:
            constant = graph.input(name, "float32", value.shape)
        else:
            constant = graph.constant(value, name if is_parameter(value) else None)
        names[name] = parts * (constant,)
    normalized = {n.tensor: n for n in forward.normalizations}
    for node in source.nodes:
        normalization = normalized.get(node.outputs[0])
        outputs = [_repeated(graph, node, part, names, normalization) for part in range(parts)]
        if normalization is not None:
            centred = [found for (found,) in outputs]
            outputs = [(t,) for t in _renormalized(graph, centred, normalization, formulation)]
        names.update(zip(node.outputs, zip(*outputs, strict=True), strict=True))
    for name, value in biases.items():
        del graph.inputs[name]
        graph.constants[name] = value
    for output in ("features", "logits"):
        if output in source.outputs:
            found = names[source.outputs[output]]
            graph.outputs[output] = found[0] if parts == 1 else graph.add("Concat", *found, axis=0)
    return graph


def shared_layer(forward: Forward) -> str | None:
    """The weight of a normalized layer whose parameters another layer uses too, if there is one."""
    uses = count_uses(forward.graph)
    names = ((n.weight, n.bias) for n in forward.normalizations)
    return next((weight for weight, bias in names if max(uses[weight], uses[bias]) > 1), None)


def _image_parts(graph: Graph, name: str, shape: tuple[int, ...], parts: int) -> tuple[str, ...]:
    """The input for all frames, cut into parts of this shape."""
    image = graph.input(name, "float32", (parts * shape[0], *shape[1:]))
    if parts == 1:
        return (image,)
    sizes = graph.ints(*[shape[0]] * parts)
    return graph.add_node("Split", [image, sizes], {"axis": 0}, parts)


def _repeated(
    graph: Graph,
    node: Node,
    part: int,
    names: Mapping[str, Sequence[str]],
    normalization: Normalization | None,
) -> tuple[str, ...]:
    """A node for one part of the frames; centred, if its output is normalized."""
    inputs = [names[name][part] if name else "" for name in node.inputs]
    if normalization is not None:
        inputs[2] = graph.add("Sub", inputs[2], graph.constant(normalization.mean))
    name = "" if part else node.name  # onnxruntime wants no name twice
    return graph.add_node(node.op, inputs, node.attributes, len(node.outputs), name)


def _renormalized(
    graph: Graph,
    centred: Sequence[str],
    normalization: Normalization,
    formulation: Formulation,
) -> list[str]:
    """Normalize a layer's output less its former mean, z, and say how as outputs of the graph.

    y' = scale * (z - blend * mean(z)) + former mean, and scale = std / sqrt(blended variance +
    epsilon). A channel that was constant stays as it is while its layer's weights are 0.
    """
    std = normalization.std.astype(np.float64)
    constant = std < _CONSTANT_STD
    std = np.where(constant, 1.0, std)
    epsilon = np.where(constant, 1.0, normalization.epsilon)
    former = np.maximum(std**2 - epsilon, 0.0)

    mean, variance = formulation.moments(graph, *centred)
    rest = graph.add("Sub", graph.scalar(1.0, like=mean), BLEND)
    blended = graph.add(
        "Add",
        graph.add("Mul", variance, BLEND),
        graph.add("Mul", _vector(graph, former), rest),
    )
    deviation = graph.add("Sqrt", graph.add("Add", blended, _vector(graph, epsilon)))
    scale = graph.add("Div", _vector(graph, std), deviation)
    target = graph.constant(normalization.mean)
    moved = graph.add("Mul", scale, graph.add("Mul", mean, BLEND))
    shift = graph.add("Sub", target, moved)
    graph.outputs[f"scale/{normalization.weight}"] = scale
    graph.outputs[f"shift/{normalization.weight}"] = graph.add(
        "Sub", shift, graph.add("Mul", scale, target)
    )
    return [formulation.affine(graph, z, scale, shift) for z in centred]


def _vector(graph: Graph, values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    return graph.constant(values.astype(np.float32))


def _sizes(graph: Graph, tensor: str) -> tuple[int, int, int]:
    """Images, channels, and pixels per image; a linear layer's output has one pixel."""
    batch, channels, *spatial = graph.shape(tensor)
    return batch, channels, math.prod(spatial)


def _mean_of_rows(
    graph: Graph, sums: Sequence[str], channels: int, images: int, pixels: int
) -> str:
    """Mean per channel from one sum per image and channel, part by part."""
    joined = sums[0] if len(sums) == 1 else graph.add("Concat", *sums, axis=0)
    table = graph.reshape(joined, images, channels)
    mean = graph.add("ReduceMean", table, graph.ints(0), keepdims=0)
    return graph.add("Mul", mean, graph.scalar(1.0 / pixels, like=mean))


def _require_normalizations(forward: Forward, parts: int) -> None:
    if not forward.normalizations:
        raise BundleError(
            "The network has no BatchNormalization behind a convolution or a linear layer.",
            "The rung norm estimates such normalization anew, and nothing else.",
            "Leave norm out; the rungs head, tail, deep and full need no normalization.",
        )
    if (shared := shared_layer(forward)) is not None:
        raise BundleError(
            f"The normalized layer {shared} shares its parameters with another layer.",
            "The rung norm gives every layer a scale and a shift of its own.",
            "Leave norm out, or export a network whose layers have parameters of their own.",
        )
    for normalization in forward.normalizations:
        batch, _, pixels = _sizes(forward.graph, normalization.tensor)
        if parts * batch * pixels == 1:
            raise BundleError(
                f"A channel of the layer {normalization.weight} has a single value in one frame.",
                "A variance needs at least two.",
                "Compile norm for more frames.",
            )
