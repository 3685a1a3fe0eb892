"""Differential test of gradient rules: onnxruntime in float32 against torch in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import Tensor

from sel_edge.compile.differentiate import differentiate
from sel_edge.compile.graph import OPSET, Graph, to_model

MAX_RELATIVE_ERROR = 1e-4
"""Largest difference of two gradients, relative to the largest element of the tensor."""

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Build = Callable[..., "str | Sequence[str]"]
Reference = Callable[..., "Tensor | Sequence[Tensor]"]


def operator(op: str, *constants: Array | None, **attributes: Any) -> Build:
    """One operator on the tensors, then the constants; None is an absent input."""

    def build(g: Graph, *tensors: str) -> str:
        given = ["" if c is None else g.constant(c) for c in constants]
        return g.add(op, *tensors, *given, **attributes)

    return build


def normal(*shape: int, seed: int = 0) -> Array:
    """Normally distributed float32."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def distinct(*shape: int, seed: int = 0) -> Array:
    """Float32 of which no two are equal or close, in any order."""
    count = int(np.prod(shape))
    order = np.random.default_rng(seed).permutation(count).astype(np.float32)
    return ((order - count / 2) / 8).reshape(shape)


def check(
    build: Build,
    reference: Reference,
    arrays: Arrays,
    *,
    opset: int = OPSET,
    names: Mapping[str, Sequence[int | str]] | None = None,
) -> None:
    """Compare outputs and the gradients of all float inputs; no operator may be superfluous.

    Args:
        build: adds operators on the inputs and returns the output or outputs.
        reference: the same in torch.
        arrays: the inputs in order; float32, or int64 for indices.
        opset: of the graph.
        names: shapes to declare instead of an input's own.
    """
    graph, outputs = _forward(build, arrays, opset, names or {})
    expected, seeds = _torch(reference, arrays)
    for index, (tensor, seed) in enumerate(zip(outputs, seeds, strict=True)):
        graph.input(f"seed{index}", "float32", graph.types[tensor].shape)
        graph.outputs[f"y{index}"] = tensor
        assert _fits(seed.shape, graph.types[tensor].shape), (seed.shape, graph.types[tensor])
    floats = [name for name, array in arrays.items() if array.dtype == np.float32]
    gradients = differentiate(graph, {t: f"seed{i}" for i, t in enumerate(outputs)}, floats)
    for name, gradient in gradients.items():
        graph.outputs[f"d{name}"] = gradient
        assert graph.types[gradient] == graph.types[name], (graph.types[gradient], name)
    feeds = {**arrays, **{f"seed{i}": seed for i, seed in enumerate(seeds)}}
    found = run(graph, feeds)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].shape == value.shape, (name, found[name].shape, value.shape)
        assert relative_error(found[name], value) <= MAX_RELATIVE_ERROR, (name, found[name], value)
    for name in floats:
        assert superfluous(build, arrays, [name], opset=opset, names=names) == []


def relative_error(found: Array, expected: Array) -> float:
    """Largest difference, relative to the largest expected element.

    Inputs are of order 1. The rounding of a sum that happens to cancel does not shrink with it, so
    that anything below 0.01 is measured against 0.01.
    """
    scale = float(np.abs(expected).max(initial=0.01))
    return float(np.abs(found - expected).max(initial=0.0)) / scale


def superfluous(
    build: Build,
    arrays: Arrays,
    wrt: Sequence[str],
    *,
    opset: int = OPSET,
    names: Mapping[str, Sequence[int | str]] | None = None,
) -> list[str]:
    """Operators that differentiation by `wrt` alone adds and that no gradient depends on."""
    graph, outputs = _forward(build, arrays, opset, names or {})
    forward = len(graph.nodes)
    for index, tensor in enumerate(outputs):
        graph.input(f"seed{index}", "float32", graph.types[tensor].shape)
    gradients = differentiate(graph, {t: f"seed{i}" for i, t in enumerate(outputs)}, wrt)
    needed, found = set(gradients.values()), []
    for node in reversed(graph.nodes[forward:]):
        if needed.intersection(node.outputs):
            needed.update(node.inputs)
        else:
            found.append(node.op)
    return found


def run(graph: Graph, feeds: Arrays) -> dict[str, Array]:
    """The graph's outputs by name, on one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    model = to_model(graph).SerializeToString()
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    wanted = {given.name for given in session.get_inputs()}
    names = [output.name for output in session.get_outputs()]
    values = session.run(names, {n: np.asarray(v) for n, v in feeds.items() if n in wanted})
    return dict(zip(names, values, strict=True))


def _forward(
    build: Build, arrays: Arrays, opset: int, names: Mapping[str, Sequence[int | str]]
) -> tuple[Graph, list[str]]:
    graph = Graph(opset=opset)
    for name, array in arrays.items():
        graph.input(name, array.dtype.name, names.get(name, array.shape))
    return graph, _listed(build(graph, *arrays))


def _torch(reference: Reference, arrays: Arrays) -> tuple[dict[str, Array], list[Array]]:
    """Outputs and gradients by name, and the gradient that each output was given."""
    leaves = {
        name: torch.tensor(array.astype(np.float64)).requires_grad_()
        if array.dtype == np.float32
        else torch.tensor(array)
        for name, array in arrays.items()
    }
    outputs = _listed(reference(*leaves.values()))
    seeds = [normal(*y.shape, seed=100 + index) for index, y in enumerate(outputs)]
    torch.autograd.backward(outputs, [torch.tensor(s.astype(np.float64)) for s in seeds])
    found = {f"y{index}": y.detach().numpy() for index, y in enumerate(outputs)}
    for name, leaf in leaves.items():
        if leaf.grad is not None:
            found[f"d{name}"] = leaf.grad.numpy()
    return found, seeds


def _listed(outputs: Any) -> list[Any]:
    return [outputs] if isinstance(outputs, (str, Tensor)) else list(outputs)


def _fits(shape: Sequence[int], declared: Sequence[int | str]) -> bool:
    return len(shape) == len(declared) and all(
        isinstance(d, str) or d == s for s, d in zip(shape, declared, strict=True)
    )
