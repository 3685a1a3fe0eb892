"""Rules of matrix products against torch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.compile.gradients import check, normal, operator


@settings(max_examples=40)
@given(
    sizes=st.tuples(*[st.integers(1, 5)] * 3),
    left=st.booleans(),
    right=st.booleans(),
    factors=st.tuples(*[st.sampled_from([1.0, 0.5, -2.0])] * 2),
    bias=st.sampled_from([None, "full", "row", "column", "one", "scalar"]),
)
def test_gemm(
    sizes: tuple[int, int, int],
    left: bool,
    right: bool,
    factors: tuple[float, float],
    bias: str | None,
) -> None:
    rows, inner, columns = sizes
    alpha, beta = factors
    arrays = {
        "a": normal(*((inner, rows) if left else (rows, inner))),
        "b": normal(*((columns, inner) if right else (inner, columns)), seed=1),
    }
    if bias:
        shapes = {
            "full": (rows, columns),
            "row": (columns,),
            "column": (rows, 1),
            "one": (1,),
            "scalar": (),
        }
        arrays["c"] = normal(*shapes[bias], seed=2)

    def reference(a: Tensor, b: Tensor, *rest: Tensor) -> Tensor:
        product = alpha * (a.T if left else a) @ (b.T if right else b)
        return product + beta * rest[0] if rest else product

    attributes = {"transA": int(left), "transB": int(right), "alpha": alpha, "beta": beta}
    check(operator("Gemm", **attributes), reference, arrays)


@settings(max_examples=60)
@given(
    batch=st.lists(st.integers(1, 3), min_size=0, max_size=2),
    sizes=st.tuples(*[st.integers(1, 4)] * 3),
    data=st.data(),
)
def test_matrix_products_that_broadcast(
    batch: list[int], sizes: tuple[int, int, int], data: st.DataObject
) -> None:
    rows, inner, columns = sizes

    def stacked(*matrix: int) -> list[int]:
        dropped = data.draw(st.integers(0, len(batch)))
        return [data.draw(st.sampled_from([1, size])) for size in batch[dropped:]] + list(matrix)

    check(
        operator("MatMul"),
        torch.matmul,
        {"a": normal(*stacked(rows, inner)), "b": normal(*stacked(inner, columns), seed=1)},
    )


@pytest.mark.parametrize(
    "shapes", [((3,), (3,)), ((3,), (3, 4)), ((5, 3), (3,)), ((2, 5, 3), (3,))]
)
def test_products_with_a_vector(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    arrays = {"a": normal(*shapes[0]), "b": normal(*shapes[1], seed=1)}
    check(operator("MatMul"), torch.matmul, arrays)


def test_the_number_of_classes_may_be_a_name() -> None:
    check(
        operator("Gemm", transB=1),
        lambda x, w, b: x @ w.T + b,
        {"x": normal(4, 3), "w": normal(7, 3, seed=1), "b": normal(7, seed=2)},
        names={"w": ("K", 3), "b": ("K",)},
    )
