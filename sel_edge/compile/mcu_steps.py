"""A folded network as the operations that a microcontroller knows, and what it does not know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import NoReturn

import numpy as np

from sel_edge.compile.forward import Forward
from sel_edge.compile.graph import Graph, Node
from sel_edge.compile.layers import count_uses
from sel_edge.compile.patches import geometry
from sel_edge.core.errors import BundleError
from sel_edge.mcu.image import MAX_LAYERS
from sel_edge.mcu.layer import KEEPS_SCALE, MAX_CELLS, Operation, Shape

MOST_SIDE = 255
"""Of a kernel, a stride or a padding, in cells."""
MOST_SIZE = 2**16 - 1
"""Of a tensor along one dimension."""
_WAYS_OUT = {
    "BatchNormalization": "Put it right behind a convolution or linear layer, where it is folded.",
    "Concat": "Add the branches instead of concatenating them.",
    "LeakyRelu": "Train with Relu instead.",
    "MatMul": "Make it a linear layer with constant weights.",
    "Mul": "Train with Relu in place of gates and of SiLU.",
    "Pad": "Give the padding to the convolution behind it.",
    "Sigmoid": "Train with Relu in place of gates and of SiLU.",
    "Softmax": "Train without attention.",
}
_ELSEWHERE = "Replace it in the network, or export without --target mcu for a Linux board."


@dataclass(frozen=True)
class Step:
    """One operation.

    Attributes:
        operation: what it computes.
        sources: tensors of the graph that it reads; two of ADD.
        output: tensor of the graph that it makes, behind the activation.
        in_shape, out_shape: channels, height, width.
        kernel, stride, padding: as of `sel_edge.mcu.layer.Layer`.
        groups: of CONV and LINEAR.
        weight, bias: names of constants; "" if it has none.
        bounds: what the activation clamps to.
    """

    operation: Operation
    sources: tuple[str, ...]
    output: str
    in_shape: Shape
    out_shape: Shape
    kernel: tuple[int, int] = (0, 0)
    stride: tuple[int, int] = (0, 0)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 0
    weight: str = ""
    bias: str = ""
    bounds: tuple[float, float] = (-np.inf, np.inf)


@dataclass(frozen=True)
class Steps:
    """A network.

    Attributes:
        steps: in the order in which they run; the last makes the logits.
        features_step: which one makes the features.
        input_shape: channels, height, width.
    """

    steps: tuple[Step, ...]
    features_step: int
    input_shape: Shape


def steps_of(forward: Forward) -> Steps:
    """What a microcontroller computes, step by step.

    Raises:
        BundleError: an operator, or the way in which it is used, is unknown to microcontrollers.
    """
    names = ("features", "logits")
    graph = replace(forward.graph, outputs={name: forward.graph.outputs[name] for name in names})
    walk = _Walk(graph)
    for node in graph.needed_nodes():
        _HANDLERS.get(node.op, _unknown)(walk, node)
    steps = tuple(walk.steps)
    head = steps[-1]
    features = walk.tensors[graph.outputs["features"]]
    makers = [number for number, step in enumerate(steps) if step.output == features]
    if head.operation != Operation.LINEAR or not makers:
        raise BundleError(
            f"The classifier of the network works on {list(head.in_shape)} (channels, height, "
            "width).",
            "On a microcontroller it works on features of 1 x 1, which a layer makes.",
            "Put a global average pooling before the classifier.",
        )
    if len(steps) > MAX_LAYERS:
        raise BundleError(
            f"The network has {len(steps)} layers.",
            f"A microcontroller runs at most {MAX_LAYERS}.",
            "Choose a shallower network.",
        )
    return Steps(steps, makers[0], walk.shapes["image"])


@dataclass
class _Walk:
    """A graph on its way into steps.

    Attributes:
        graph: with the outputs features and logits.
        steps: so far.
        tensors: tensor of the graph -> that of which it is a view; itself if it is none.
        shapes: channels, height and width of those.
    """

    graph: Graph
    steps: list[Step] = field(default_factory=list)
    tensors: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    uses: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.uses = count_uses(self.graph)
        self.tensors["image"] = "image"
        self.shapes["image"] = _spatial(self.graph.types["image"].shape)

    def source(self, node: Node, index: int = 0) -> str:
        """The tensor that a node reads."""
        name = node.inputs[index]
        if name not in self.tensors:
            refuse(node, "works on a constant")
        return self.tensors[name]

    def add(self, node: Node, step: Step) -> None:
        """Append a step."""
        if max(*step.in_shape, *step.out_shape) > MOST_SIZE:
            refuse(node, f"has a tensor with a side of more than {MOST_SIZE}")
        self.steps.append(step)
        self.tensors[node.outputs[0]] = step.output
        self.shapes[step.output] = step.out_shape


def refuse(node: Node, detail: str) -> NoReturn:
    """Raise the error that names a node.

    Raises:
        BundleError: always.
    """
    raise BundleError(
        f"The operator {node.op} ({node.name or node.outputs[0]}) {detail}.",
        "A microcontroller runs convolutions, linear layers, sums, Relu and pooling.",
        _WAYS_OUT.get(node.op, _ELSEWHERE),
    )


def _spatial(shape: tuple[int | str, ...]) -> Shape:
    """Channels, height and width of a tensor with batch; a vector is all channels."""
    sizes = [int(size) for size in shape[1:]]
    if len(sizes) == 2:
        return sizes[0], 1, sizes[1]
    channels, height, width = (*sizes, 1, 1)[:3]
    return channels, height, width


def _unknown(walk: _Walk, node: Node) -> None:
    refuse(node, "is unknown to microcontrollers")


def _convolution(walk: _Walk, node: Node) -> None:
    weight, bias = node.inputs[1:3]
    if weight not in walk.graph.constants or bias not in walk.graph.constants:
        refuse(node, "has weights that are computed")
    where = _sliding(walk, node)
    groups = int(node.get("group", 1))
    walk.add(
        node, replace(where, operation=Operation.CONV, groups=groups, weight=weight, bias=bias)
    )


def _sliding(walk: _Walk, node: Node) -> Step:
    """A step that slides over its input, without its operation."""
    place = geometry(walk.graph, node)
    if any(dilation != 1 for dilation in place.dilations):
        refuse(node, "is dilated")
    after = tuple(map(max, place.after, place.covering()))
    if node.op == "AveragePool":
        padded = any(place.before) or any(after)
        if after != place.after or (padded and not node.get("count_include_pad", 0)):
            refuse(node, "takes averages of fewer cells at the border")
    if any(
        pad >= k
        for pads in (place.before, after)
        for pad, k in zip(pads, place.kernel, strict=True)
    ):
        refuse(node, "pads more than its kernel sees")
    if max(*place.kernel, *place.strides) > MOST_SIDE:
        refuse(node, f"has a kernel or a stride of more than {MOST_SIDE}")
    line = len(place.kernel) == 1
    kernel, stride = ((1, k[0]) if line else (k[0], k[1]) for k in (place.kernel, place.strides))
    before, behind = ((0, p[0]) if line else (p[0], p[1]) for p in (place.before, after))
    source = walk.source(node)
    return Step(
        Operation.CONV,
        (source,),
        node.outputs[0],
        walk.shapes[source],
        _spatial(walk.graph.types[node.outputs[0]].shape),
        kernel,
        stride,
        (*before, *behind),
    )


def _linear(walk: _Walk, node: Node) -> None:
    weight, bias = node.inputs[1:3]
    if dict(node.attributes) != {"transB": 1} or bias not in walk.graph.constants:
        refuse(node, "has weights that are computed")
    source = walk.source(node)
    channels, height, width = walk.shapes[source]
    if max(height, width) > MOST_SIDE:
        refuse(node, f"works on a side of more than {MOST_SIDE} cells")
    step = Step(
        Operation.LINEAR if height == width == 1 else Operation.CONV,
        (source,),
        node.outputs[0],
        (channels, height, width),
        (walk.graph.shape(weight)[0], 1, 1),
        (height, width),
        (1, 1),
        groups=1,
        weight=weight,
        bias=bias,
    )
    walk.add(node, step)


def _sum(walk: _Walk, node: Node) -> None:
    sources = walk.source(node, 0), walk.source(node, 1)
    shape, other = (walk.shapes[source] for source in sources)
    if shape != other:
        refuse(node, f"adds tensors of different shapes, {list(shape)} and {list(other)}")
    walk.add(node, Step(Operation.ADD, sources, node.outputs[0], shape, shape))


def _relu(walk: _Walk, node: Node) -> None:
    _activation(walk, node, (0.0, np.inf))


def _clip(walk: _Walk, node: Node) -> None:
    limits = [-np.inf, np.inf]
    for index, name in enumerate(node.inputs[1:]):
        if name and name not in walk.graph.constants:
            refuse(node, "has limits that are computed")
        if name:
            limits[index] = float(walk.graph.constants[name])
    _activation(walk, node, (limits[0], limits[1]))


def _activation(walk: _Walk, node: Node, bounds: tuple[float, float]) -> None:
    """Clamp in the step before, if nothing else reads what it makes; else in a step of its own."""
    source, output = walk.source(node), node.outputs[0]
    shape = walk.shapes[source]
    alone = walk.uses[node.inputs[0]] == 1 and node.inputs[0] == source
    for number, step in enumerate(walk.steps):
        if step.output == source and alone and step.operation not in KEEPS_SCALE:
            walk.steps[number] = replace(step, output=output, bounds=bounds)
            walk.tensors[output], walk.shapes[output] = output, shape
            return
    walk.add(node, Step(Operation.RELU, (source,), output, shape, shape, bounds=bounds))


def _max_pool(walk: _Walk, node: Node) -> None:
    walk.add(node, replace(_sliding(walk, node), operation=Operation.MAX_POOL))


def _average_pool(walk: _Walk, node: Node) -> None:
    walk.add(node, replace(_sliding(walk, node), operation=Operation.AVERAGE_POOL))


def _mean(walk: _Walk, node: Node) -> None:
    source = walk.source(node)
    channels, height, width = shape = walk.shapes[source]
    rank = walk.graph.rank(node.inputs[0])
    if node.op == "ReduceMean":
        given = (
            walk.graph.constants[node.inputs[1]].tolist() if node.has(1) else node.get("axes", [])
        )
        axes = {axis % rank for axis in given}
        if axes != set(range(2, rank)):
            refuse(node, "takes means of other dimensions than height and width")
    if height * width > MAX_CELLS:
        refuse(node, f"takes means of more than {MAX_CELLS} cells")
    output = node.outputs[0]
    walk.add(node, Step(Operation.GLOBAL_AVERAGE, (source,), output, shape, (channels, 1, 1)))


def _view(walk: _Walk, node: Node) -> None:
    source = walk.source(node)
    shape = walk.graph.types[node.outputs[0]].shape
    flat = len(shape) == 2
    if not flat and (len(shape) > 4 or _spatial(shape) != walk.shapes[source]):
        refuse(node, "moves numbers between channels and cells")
    walk.tensors[node.outputs[0]] = source


_HANDLERS: Mapping[str, Callable[[_Walk, Node], None]] = {
    "Add": _sum,
    "AveragePool": _average_pool,
    "Clip": _clip,
    "Conv": _convolution,
    "Flatten": _view,
    "Gemm": _linear,
    "GlobalAveragePool": _mean,
    "MaxPool": _max_pool,
    "ReduceMean": _mean,
    "Relu": _relu,
    "Reshape": _view,
    "Squeeze": _view,
    "Unsqueeze": _view,
}
