"""Torch's answer to what a compiled graph should compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own custom
from numpy.typing import NDArray
from torch import Tensor

from sel_edge.compile.graph import Graph, Node
from sel_edge.compile.patches import geometry
from sel_edge.compile.rungs import nodes_behind

Operator = Callable[[Graph, Node, list[Tensor]], Tensor | Sequence[Tensor]]


def forward(
    graph: Graph,
    parameters: Mapping[str, Tensor],
    start: Tensor,
    cut: str = "image",
    decisions: Mapping[str, NDArray[np.bool_]] | None = None,
    kept: dict[str, Tensor] | None = None,
) -> Tensor:
    """Logits of a forward graph, in the element type of `start`, the tensor `cut`.

    Args:
        decisions: output of a Relu -> where it lets its input through, instead of its sign.
        kept: takes every tensor on the way, ready for `torch.autograd.grad`.
    """
    values = {
        name: parameters.get(name, torch.tensor(value)) for name, value in graph.constants.items()
    }
    values[cut] = start
    for node in nodes_behind(graph, cut):
        name = node.outputs[0]
        inputs = [values[i] for i in node.inputs if i]
        inputs = [v.to(start.dtype) if v.is_floating_point() else v for v in inputs]
        if decisions and name in decisions:
            values[name] = inputs[0] * torch.tensor(decisions[name])
        else:
            result = _OPERATORS[node.op](graph, node, inputs)
            results = [result] if isinstance(result, Tensor) else result
            values.update(zip(node.outputs, results, strict=True))
        if kept is not None:
            kept[name] = (
                values[name] if values[name].requires_grad else values[name].requires_grad_()
            )
    return values[graph.outputs["logits"]]


def loss(
    logits: Tensor, labels: Tensor, weights: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Loss per sample, and the weighted mean."""
    each = F.cross_entropy(logits / temperature, labels, reduction="none")
    return each, (each * weights.to(each.dtype)).sum() / weights.to(each.dtype).sum()


def _conv(graph: Graph, node: Node, inputs: list[Tensor]) -> Tensor:
    where = geometry(graph, node)
    function = F.conv1d if len(where.kernel) == 1 else F.conv2d
    return function(
        *inputs,
        stride=where.strides,
        padding=where.before,
        dilation=where.dilations,
        groups=int(node.get("group", 1)),
    )


def _max_pool(graph: Graph, node: Node, inputs: list[Tensor]) -> Tensor:
    where = geometry(graph, node)
    pads = [size for pair in zip(where.before, where.after, strict=True) for size in pair[::-1]]
    padded = F.pad(inputs[0], pads[::-1], value=float("-inf"))
    ceil = bool(node.get("ceil_mode", 0))
    return F.max_pool2d(padded, where.kernel, where.strides, ceil_mode=ceil)


def _average_pool(graph: Graph, node: Node, inputs: list[Tensor]) -> Tensor:
    where = geometry(graph, node)
    return F.avg_pool2d(inputs[0], where.kernel, where.strides, where.before)


def _reduce_mean(graph: Graph, node: Node, inputs: list[Tensor]) -> Tensor:
    axes = [int(axis) for axis in inputs[1]]
    return inputs[0].mean(axes, keepdim=bool(node.get("keepdims", 1)))


def _batch_norm(graph: Graph, node: Node, inputs: list[Tensor]) -> Tensor:
    x, weight, bias, mean, variance = inputs
    return F.batch_norm(x, mean, variance, weight, bias, False, 0.0, node.get("epsilon", 1e-5))


def _split(graph: Graph, node: Node, inputs: list[Tensor]) -> Sequence[Tensor]:
    axis = int(node.get("axis", 0))
    return torch.split(inputs[0], [graph.shape(o)[axis] for o in node.outputs], axis)


_OPERATORS: dict[str, Operator] = {
    "Add": lambda g, n, x: x[0] + x[1],
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": lambda g, n, x: torch.clamp(x[0], x[1], x[2]),
    "Concat": lambda g, n, x: torch.cat(x, int(n.attributes["axis"])),
    "Conv": _conv,
    "Flatten": lambda g, n, x: x[0].flatten(1),
    "Gemm": lambda g, n, x: F.linear(x[0], x[1], x[2]),
    "GlobalAveragePool": lambda g, n, x: x[0].mean(tuple(range(2, x[0].ndim)), keepdim=True),
    "HardSigmoid": lambda g, n, x: (n.get("alpha", 0.2) * x[0] + n.get("beta", 0.5)).clamp(0, 1),
    "HardSwish": lambda g, n, x: F.hardswish(x[0]),
    "MaxPool": _max_pool,
    "Mul": lambda g, n, x: x[0] * x[1],
    "ReduceMean": _reduce_mean,
    "Relu": lambda g, n, x: torch.relu(x[0]),
    "Reshape": lambda g, n, x: x[0].reshape([int(size) for size in x[1]]),
    "Sigmoid": lambda g, n, x: torch.sigmoid(x[0]),
    "Split": _split,
    "Transpose": lambda g, n, x: x[0].permute(n.attributes["perm"]),
}
