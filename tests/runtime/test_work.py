"""Work in steps: demands that add up, and steps that are asked for before they are taken."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.bundle.rungs import GraphCost
from sel_edge.runtime.work import NO_DEMAND, Work, finish, product, repeated, together

SIZE = st.integers(0, 50)
DEMAND = st.builds(GraphCost, SIZE, SIZE, SIZE)


def talkative(demands: Sequence[GraphCost], taken: list[GraphCost]) -> Work[str]:
    for demand in demands:
        yield demand
        taken.append(demand)
    return "done"


@given(st.lists(DEMAND, max_size=9))
def test_finished_work_took_every_step_and_tells_the_operations(demands: list[GraphCost]) -> None:
    taken: list[GraphCost] = []
    result, flops = finish(talkative(demands, taken))
    assert (result, taken) == ("done", demands)
    assert flops == sum(one.executed_flops for one in demands)


@given(st.lists(DEMAND, min_size=1, max_size=9), st.data())
def test_a_step_is_taken_only_when_the_next_is_asked_for(
    demands: list[GraphCost], data: st.DataObject
) -> None:
    asked = data.draw(st.integers(1, len(demands)))
    taken: list[GraphCost] = []
    work = talkative(demands, taken)
    assert [next(work) for _ in range(asked)] == demands[:asked]
    work.close()
    assert taken == demands[: asked - 1]


def test_what_goes_wrong_in_a_step_is_not_swallowed() -> None:
    def broken() -> Work[None]:
        yield NO_DEMAND
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        finish(broken())


@given(SIZE, SIZE, SIZE)
def test_a_product_is_counted_multiplication_by_multiplication(
    rows: int, inner: int, columns: int
) -> None:
    operations = 0
    for _ in range(rows):
        operations += columns * inner * 2
    demand = product(rows, inner, columns)
    assert demand.executed_flops == operations
    numbers = rows * inner + inner * columns + rows * columns
    assert demand.moved_bytes == demand.peak_bytes == 4 * numbers


@given(SIZE, SIZE, SIZE, SIZE)
def test_work_in_parts_takes_the_operations_of_the_whole(
    one: int, other: int, inner: int, columns: int
) -> None:
    parts = together(product(one, inner, columns), product(other, inner, columns))
    whole = product(one + other, inner, columns)
    assert parts.executed_flops == whole.executed_flops
    assert parts.moved_bytes >= whole.moved_bytes  # the right factor is read twice
    assert parts.peak_bytes <= whole.peak_bytes


@given(st.lists(DEMAND, max_size=6))
def test_one_after_the_other_adds_up_but_for_the_peak(demands: list[GraphCost]) -> None:
    total = NO_DEMAND
    for one in demands:
        total = together(total, one)
    assert together(*demands) == total
    assert total.executed_flops == sum(one.executed_flops for one in demands)
    assert total.moved_bytes == sum(one.moved_bytes for one in demands)
    assert total.peak_bytes == max([0, *(one.peak_bytes for one in demands)])


@given(DEMAND, st.integers(1, 6))
def test_repeated_work_is_the_same_work_again(demand: GraphCost, times: int) -> None:
    assert repeated(demand, times) == together(*[demand] * times)
