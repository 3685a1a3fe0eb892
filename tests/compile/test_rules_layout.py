"""Rules of operators that only move elements, against torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from sel_edge.compile.differentiate import differentiate
from sel_edge.compile.graph import Graph
from sel_edge.compile.rules import MissingRule
from tests.compile.gradients import Array, check, normal, operator

SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4)


def _ints(*values: int) -> Array:
    return np.array(values, dtype=np.int64)


@settings(max_examples=20)
@given(shape=SHAPES, data=st.data())
def test_shapes(shape: list[int], data: st.DataObject) -> None:
    arrays = {"x": normal(*shape)}
    axis = data.draw(st.integers(0, len(shape)))
    flat = int(np.prod(shape[:axis])), int(np.prod(shape[axis:]))
    check(operator("Flatten", axis=axis), lambda x: x.reshape(flat), arrays)
    check(operator("Reshape", _ints(-1)), lambda x: x.reshape(-1), arrays)
    check(operator("Unsqueeze", _ints(axis)), lambda x: x.unsqueeze(axis), arrays)
    check(operator("Squeeze"), torch.squeeze, arrays)


@settings(max_examples=20)
@given(shape=SHAPES, data=st.data())
def test_transpose(shape: list[int], data: st.DataObject) -> None:
    perm = data.draw(st.permutations(range(len(shape))))
    check(operator("Transpose", perm=perm), lambda x: x.permute(*perm), {"x": normal(*shape)})
    backwards = range(len(shape))[::-1]
    check(operator("Transpose"), lambda x: x.permute(*backwards), {"x": normal(*shape)})


@pytest.mark.parametrize("op", ["Identity", "Dropout"])
def test_what_passes_everything(op: str) -> None:
    check(operator(op), lambda x: x * 1, {"x": normal(2, 3)})


def test_dropout_that_says_it_is_off() -> None:
    ratio, training = np.array(0.5, dtype=np.float32), np.array(False)
    check(operator("Dropout", ratio, training), lambda x: x * 1, {"x": normal(2, 3)})


def test_cast_between_float_types() -> None:
    def build(g: Graph, x: str) -> str:
        wide = g.add("Cast", x, to=11)
        return g.add("Cast", g.add("Mul", wide, wide), to=1)

    check(build, torch.square, {"x": normal(2, 3)})


@settings(max_examples=20)
@given(shape=SHAPES, data=st.data())
def test_expand(shape: list[int], data: st.DataObject) -> None:
    narrow = [data.draw(st.sampled_from([1, size])) for size in shape]
    kept = narrow[data.draw(st.integers(0, len(shape))) :]
    check(operator("Expand", _ints(*shape)), lambda x: x.expand(shape), {"x": normal(*kept)})


@settings(max_examples=20)
@given(
    rank=st.integers(1, 4),
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    data=st.data(),
)
def test_concat(rank: int, sizes: list[int], data: st.DataObject) -> None:
    axis = data.draw(st.integers(-rank, rank - 1))
    arrays = {}
    for index, size in enumerate(sizes):
        shape = [2] * rank
        shape[axis] = size
        arrays[f"x{index}"] = normal(*shape, seed=index)
    check(operator("Concat", axis=axis), lambda *xs: torch.cat(xs, axis), arrays)


@settings(max_examples=20)
@given(
    rank=st.integers(1, 4),
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    data=st.data(),
)
def test_split(rank: int, sizes: list[int], data: st.DataObject) -> None:
    axis = data.draw(st.integers(-rank, rank - 1))
    used = data.draw(st.lists(st.sampled_from(range(len(sizes))), min_size=1, unique=True))
    shape = [2] * rank
    shape[axis] = sum(sizes)

    def build(g: Graph, x: str) -> list[str]:
        inputs = [x, g.ints(*sizes)]
        parts = g.add_node("Split", inputs, {"axis": axis}, outputs=len(sizes))
        return [parts[i] for i in used]

    def reference(x: Tensor) -> list[Tensor]:
        parts = torch.split(x, sizes, axis)
        return [parts[i] for i in used]

    check(build, reference, {"x": normal(*shape)})


@settings(max_examples=60)
@given(shape=st.lists(st.integers(1, 7), min_size=1, max_size=3), data=st.data())
def test_slice(shape: list[int], data: st.DataObject) -> None:
    axes, starts, ends, steps, index = [], [], [], [], [slice(None)] * len(shape)
    for axis in data.draw(st.permutations(range(len(shape)))):
        size = shape[axis]
        step = data.draw(st.sampled_from([-3, -2, -1, 1, 2, 3]))
        bounds = st.one_of(st.integers(-size - 2, size + 2), st.sampled_from([-(2**62), 2**62]))
        start, end = data.draw(bounds), data.draw(bounds)
        if not range(size)[start:end:step]:
            start, end, step = 0, size, 1
        index[axis] = slice(start, end, step)
        axes.append(axis - len(shape) * data.draw(st.integers(0, 1)))
        starts, ends, steps = [*starts, start], [*ends, end], [*steps, step]

    def reference(x: Tensor) -> Tensor:
        for axis, part in enumerate(index):
            taken = torch.tensor(list(range(shape[axis])[part]))
            x = x.index_select(axis, taken)
        return x

    check(
        operator("Slice", _ints(*starts), _ints(*ends), _ints(*axes), _ints(*steps)),
        reference,
        {"x": normal(*shape)},
    )


def test_slice_without_axes_and_steps() -> None:
    check(operator("Slice", _ints(1), _ints(3)), lambda x: x[1:3], {"x": normal(4, 3)})


def test_slice_of_features_leaves_the_other_axis_a_name() -> None:
    check(
        operator("Slice", _ints(1), _ints(3), _ints(0)),
        lambda x: x[1:3],
        {"x": normal(4, 7)},
        names={"x": (4, "K")},
    )


@settings(max_examples=40)
@given(shape=st.lists(st.integers(3, 5), min_size=1, max_size=3), data=st.data())
def test_pad_by_positive_and_negative_amounts(shape: list[int], data: st.DataObject) -> None:
    amounts = [data.draw(st.tuples(st.integers(-1, 2), st.integers(-1, 2))) for _ in shape]
    pads = _ints(*(a for a, _ in amounts), *(b for _, b in amounts))
    value = np.array(data.draw(st.sampled_from([0.0, 1.5])), dtype=np.float32)
    backwards = [amount for pair in reversed(amounts) for amount in pair]
    check(
        operator("Pad", pads, value),
        lambda x: functional.pad(x, backwards, value=float(value)),
        {"x": normal(*shape)},
    )


def test_pad_of_some_axes() -> None:
    check(
        operator("Pad", _ints(1, 2), None, _ints(1)),
        lambda x: functional.pad(x, (0, 0, 1, 2)),
        {"x": normal(2, 3, 4)},
    )


@settings(max_examples=60)
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    indices=st.lists(st.integers(0, 2), min_size=0, max_size=2),
    runtime=st.booleans(),
    data=st.data(),
)
def test_gather(shape: list[int], indices: list[int], runtime: bool, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    size = shape[axis]
    sizes = [count + 1 for count in indices]
    count = int(np.prod(sizes))
    picked = data.draw(st.lists(st.integers(-size, size - 1), min_size=count, max_size=count))
    index = np.array(picked, dtype=np.int64).reshape(sizes)
    positive = axis % len(shape)

    def reference(x: Tensor, *given_index: Tensor) -> Tensor:
        flat = torch.tensor(index.ravel() % size)
        taken = x.index_select(positive, flat)
        return taken.reshape([*shape[:positive], *sizes, *shape[positive + 1 :]])

    arrays = {"x": normal(*shape), **({"index": index} if runtime else {})}
    constants = [] if runtime else [index]
    check(operator("Gather", *constants, axis=axis), reference, arrays)


def test_distinct_constant_indices_need_no_scatter() -> None:
    graph = Graph()
    x = graph.input("x", "float32", (2, 5))
    y = graph.add("Gather", x, graph.ints(3, 0, 4), axis=1)
    differentiate(graph, {y: graph.input("dy", "float32", (2, 3))}, [x])
    assert [node.op for node in graph.nodes] == ["Gather", "Pad", "Gather"]


def test_shuffled_channels_as_exported() -> None:
    def build(g: Graph, x: str) -> str:
        parts = g.add("Transpose", g.reshape(x, 2, 2, 3, 4, 4), perm=[0, 2, 1, 3, 4])
        return g.reshape(parts, 2, 6, 4, 4)

    check(build, lambda x: functional.channel_shuffle(x, 2), {"x": normal(2, 6, 4, 4)})


@pytest.mark.parametrize("op", ["Flatten", "Squeeze", "Unsqueeze"])
def test_shapes_with_a_named_number_of_classes(op: str) -> None:
    constants = [] if op == "Flatten" else [_ints(1)]
    shape = (4, 1, 7)
    functions = {
        "Flatten": lambda x: x.reshape(4, 7),
        "Squeeze": lambda x: x.squeeze(1),
        "Unsqueeze": lambda x: x.unsqueeze(1),
    }
    check(
        operator(op, *constants),
        functions[op],
        {"x": normal(*shape)},
        names={"x": (4, 1, "K")},
    )


def _runtime(*values: int) -> Any:
    """A constructor of an int64 graph input, for operators that need constants."""
    return lambda graph, index: graph.input(f"given{index}", "int64", (len(values),))


@pytest.mark.parametrize(
    ("op", "shape", "constants", "attributes"),
    [
        ("Pad", (5,), [_ints(1, 1)], {"mode": "reflect"}),
        ("Pad", (5,), [_runtime(1, 1)], {}),
        ("Slice", (5,), [_runtime(1), _runtime(2)], {}),
        ("Dropout", (5,), [np.array(0.5, dtype=np.float32), np.array(True)], {}),
    ],
)
def test_forms_without_a_rule(
    op: str, shape: Sequence[int], constants: Sequence[Any], attributes: dict[str, Any]
) -> None:
    graph = Graph()
    x = graph.input("x", "float32", shape)
    rest = [c(graph, i) if callable(c) else graph.constant(c) for i, c in enumerate(constants)]
    y = graph.add(op, x, *rest, **attributes)
    with pytest.raises(MissingRule, match=op):
        differentiate(graph, {y: graph.input("dy", "float32", graph.types[y].shape)}, [x])


@pytest.mark.parametrize(
    ("op", "constants", "attributes"),
    [
        ("Concat", [np.zeros((4, 2), dtype=np.float32)], {"axis": 1}),
        ("Slice", [_ints(1), _ints(3), _ints(1)], {}),
        ("Gather", [_ints(1, 2)], {"axis": 1}),
    ],
)
def test_an_axis_that_is_cut_must_have_a_known_size(
    op: str, constants: Sequence[Array], attributes: dict[str, Any]
) -> None:
    graph = Graph()
    x = graph.input("x", "float32", (4, "K"))
    y = graph.add(op, x, *(graph.constant(c) for c in constants), **attributes)
    with pytest.raises(MissingRule, match=op):
        differentiate(graph, {y: graph.input("dy", "float32", graph.types[y].shape)}, [x])
