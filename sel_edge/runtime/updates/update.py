"""What all updates have in common: a proposal that can be priced, carried out, and kept or not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, TypeVar

from sel_edge.bundle.rungs import GraphCost
from sel_edge.runtime.network import Network
from sel_edge.runtime.verdict import Verdict
from sel_edge.runtime.work import Work

T = TypeVar("T")


@dataclass(frozen=True)
class Proposal:
    """What an update would do.

    Attributes:
        rung: one of `RUNGS`.
        domain: number of the domain that it is for.
        classes: that it is to teach; empty for all.
        frames: how many frames without a label it looks at.
        labels: how many labelled ones.
        steps: of training at most.
        demand: of all of it at most, the judging included.
        gain: nats by which embarrassment is expected to fall.
        reason: why, for people.
    """

    rung: str
    domain: int
    classes: tuple[str, ...]
    frames: int
    labels: int
    steps: int
    demand: GraphCost
    gain: float
    reason: str


@dataclass(frozen=True)
class Candidate(Generic[T]):
    """What an update made.

    Attributes:
        network: that might be used from now on.
        verdict: of the guard.
        attempt: what the update itself wants to know of it afterwards.
    """

    network: Network
    verdict: Verdict
    attempt: T


class Update(ABC, Generic[T]):
    """A way to change the network; made for one situation and used once.

    Attributes:
        proposal: what it would do.
        planning_flops: operations that it took to propose it.
    """

    proposal: Proposal
    planning_flops: int = 0

    @abstractmethod
    def work(self) -> Work[Candidate[T]]:
        """Make and judge a candidate; nothing is changed before `kept`."""

    @abstractmethod
    def kept(self, candidate: Candidate[T]) -> None:
        """The candidate's network is in use now."""

    @abstractmethod
    def rejected(self, candidate: Candidate[T]) -> None:
        """The guard objected."""

    @abstractmethod
    def stopped(self) -> None:
        """The budget objected, before or between steps."""
