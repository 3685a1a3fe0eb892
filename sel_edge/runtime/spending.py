"""Carrying a plan out within a wallet: step by step, and never more than was promised."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from sel_edge.bundle.rungs import GraphCost
from sel_edge.core.cost import NOTHING, Cost
from sel_edge.core.errors import StorageError
from sel_edge.core.shortfall import Shortfall
from sel_edge.core.wallet_file import WalletFile
from sel_edge.runtime.board import Board, Lap
from sel_edge.runtime.overhead import Overhead
from sel_edge.runtime.planner import UpdatePlan
from sel_edge.runtime.predictor import Predictor, worst
from sel_edge.runtime.work import NO_DEMAND, Work

T = TypeVar("T")
ENDING = "the process is about to end"


@dataclass(frozen=True)
class Done(Generic[T]):
    """What came of some work.

    Attributes:
        result: None if it was stopped.
        cost: what was measured; operations and writes are counted.
        expected: what the steps taken were expected to cost.
        steps: how many were taken.
        stopped: what was in the way of the next step, in words; "" if nothing was.
    """

    result: T | None
    cost: Cost
    expected: Cost
    steps: int
    stopped: str


def carry_out(
    work: Work[T],
    plan: UpdatePlan,
    conclude: Callable[[T], int],
    purse: WalletFile,
    predictor: Predictor,
    board: Board,
    overhead: Overhead,
) -> Done[T]:
    """Take the steps of some work until it is done, or the wallet or the board objects.

    The worst case of the whole is reserved first, durably. Before each step the wallet is asked for
    the step's own worst case, and afterwards what the step measured is booked. One that took more
    than was left of the reservation is the last one: what the work had done so far is dropped.

    Args:
        work: of the plan's update, not begun yet.
        plan: what it is expected to cost; the wallet can afford the worst case of it now.
        conclude: told the result; gives the number of files it wrote.
        purse: what pays.
        predictor: what steps will take.
        board: where they are carried out.
        overhead: what they are measured apart from.

    Raises:
        StorageError: the reservation could not be saved, and nothing was done; or it is what
            `conclude` raised. What was not spent is given back.
    """
    wallet, clock = purse.wallet, board.clock
    with wallet.reserve(worst(plan.cost), clock()) as reservation:
        purse.save(clock())
        lap = overhead.learning()
        cost, foreseen, steps = NOTHING, NOTHING, 0
        demand, result = _advance(work)
        stopped = ""
        while demand is not None and not stopped:
            step = predictor.expect(plan.proposal.rung, demand)
            stopped = _in_words(reservation.may_go_on(worst(step), clock()))
            if not stopped and not board.may_go_on():
                stopped = ENDING
            if not stopped:
                taken, (demand, result) = demand, _advance(work)
                board.worked(taken)
                spent = _spent(lap, taken)
                cost, foreseen, steps = cost + spent, foreseen + step, steps + 1
                exceeded = reservation.charge(spent, clock())
                stopped = _in_words(exceeded) if demand is not None else ""
        work.close()
        if result is not None:
            spent = _spent(lap, NO_DEMAND, conclude(result))
            cost += spent
            reservation.charge(spent, clock())
    # What is done is done. Until it can be saved, the file says that all of it was spent.
    with suppress(StorageError):
        purse.save(clock())
    return Done(result, cost, foreseen, steps, stopped)


def _advance(work: Work[T]) -> tuple[GraphCost | None, T | None]:
    """Take a step that was announced: the demand of the next, or the result if there is none."""
    try:
        return next(work), None
    except StopIteration as done:
        return None, done.value


def _in_words(shortfall: Shortfall | None) -> str:
    return "" if shortfall is None else str(shortfall)


def _spent(lap: Lap, demand: GraphCost, writes: int = 0) -> Cost:
    joules, seconds = lap.read()
    return Cost(demand.executed_flops, joules, seconds, demand.peak_bytes, writes)
