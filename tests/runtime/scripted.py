"""A machine that takes what a test says, and updates that do nothing but take their steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from sel_edge.bundle.rungs import GraphCost
from sel_edge.core.measurement import Origin
from sel_edge.runtime.board import Board, Rates
from sel_edge.runtime.updates.update import Candidate, Proposal, Update
from sel_edge.runtime.work import Work

NOW_S = 1_750_000_000.0
FLOPS = 1000
RATES = Rates(flops_per_s=1000.0, bytes_per_s=1e9, j_per_flop=1e-3, j_per_byte=0.0)
"""A step of `FLOPS` is expected to take one joule and one second."""
STEP = GraphCost(FLOPS, 0, 64)


class Machine:
    """Its clock and its meter stand still but for the work that it is told of.

    Args:
        takes: joules and seconds of each step; nothing beyond.
    """

    origin: Origin = "measured"
    name = "script"

    def __init__(self, takes: Iterable[tuple[float, float]] = ()) -> None:
        self._takes = iter(takes)
        self.now_s, self.joules = NOW_S, 0.0
        self.board = Board(
            meter=self,
            rates=RATES,
            clock=lambda: self.now_s,
            stopwatch=lambda: self.now_s,
            worked=self._worked,
        )

    def read_j(self) -> float:
        return self.joules

    def _worked(self, demand: GraphCost) -> None:
        joules, seconds = next(self._takes, (0.0, 0.0))
        self.joules += joules
        self.now_s += seconds


@dataclass
class Steps(Update[str]):
    """An update whose steps can be counted.

    Attributes:
        demands: of its steps.
        between: called in each step with its number.
        taken: how many steps it has taken.
        is_open: whether its work waits for another step.
    """

    proposal: Proposal
    demands: Sequence[GraphCost] = ()
    between: Callable[[int], None] = lambda _: None
    taken: int = 0
    is_open: bool = False

    def work(self) -> Work[Candidate[str]]:
        raise NotImplementedError

    def makes(self, result: str = "made") -> Work[str]:
        """The steps, and what comes of them."""
        self.is_open = True
        try:
            for number, demand in enumerate(self.demands):
                yield demand
                self.between(number)
                self.taken += 1
        finally:
            self.is_open = False
        return result

    def kept(self, candidate: Candidate[str]) -> None:
        raise NotImplementedError

    def rejected(self, candidate: Candidate[str]) -> None:
        raise NotImplementedError

    def stopped(self) -> None:
        raise NotImplementedError


def proposal(
    demand: GraphCost = STEP, gain: float = 1.0, rung: str = "head", domain: int = 0
) -> Proposal:
    return Proposal(
        rung=rung,
        domain=domain,
        classes=("east",),
        frames=0,
        labels=20,
        steps=1,
        demand=demand,
        gain=gain,
        reason="because",
    )


def steps(count: int, **changes: object) -> Steps:
    """An update of so many like steps."""
    demand = GraphCost(FLOPS * count, 0, STEP.peak_bytes)
    return Steps(proposal(demand), (STEP,) * count, **changes)  # type: ignore[arg-type]


def like(takes: tuple[float, float]) -> Iterator[tuple[float, float]]:
    """The same for every step."""
    while True:
        yield takes
