"""Work in steps: whatever adapting does says what its next step takes before it takes it.

So a budget can stop it between any two steps, and nothing that was not asked for is ever spent.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias, TypeVar

from sel_edge.bundle.rungs import GraphCost

T = TypeVar("T")

Work: TypeAlias = Generator[GraphCost, None, T]
"""Yields the demand of each step before it is taken, and returns its result."""

FLOAT_BYTES = 4
NO_DEMAND = GraphCost(0, 0, 0)


def product(rows: int, inner: int, columns: int) -> GraphCost:
    """The demand of a matrix product float32 [rows, inner] x [inner, columns]."""
    moved = FLOAT_BYTES * (rows * inner + inner * columns + rows * columns)
    return GraphCost(2 * rows * inner * columns, moved, moved)


def repeated(demand: GraphCost, times: int) -> GraphCost:
    """The same work so many times, one after the other."""
    return GraphCost(demand.executed_flops * times, demand.moved_bytes * times, demand.peak_bytes)


def together(*demands: GraphCost) -> GraphCost:
    """Some works one after the other."""
    return GraphCost(
        sum(one.executed_flops for one in demands),
        sum(one.moved_bytes for one in demands),
        max((one.peak_bytes for one in demands), default=0),
    )


def finish(work: Work[T]) -> tuple[T, int]:
    """Take every step; the result and the operations executed."""
    flops = 0
    while True:
        try:
            flops += next(work).executed_flops
        except StopIteration as done:
            return done.value, flops
