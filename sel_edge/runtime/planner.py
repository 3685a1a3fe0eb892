"""The planner: which update to carry out, before anything is spent on it.

Every proposal has a price on this board and an expected gain. The best gain for a joule is taken
that the wallet can pay for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sel_edge.core.cost import Cost
from sel_edge.core.shortfall import Shortfall
from sel_edge.core.wallet import Wallet
from sel_edge.runtime.predictor import Predictor, worst
from sel_edge.runtime.updates.update import Proposal, Update

COMMIT_WRITES = 4
"""Files written and synced for a kept update at most: its delta, those before it folded into one, a
slot, and the slot confirmed."""
CONFIRMATION_WRITES = 1
"""Those of them that come later; they are paid for with the others."""
_LEAST_J = 1e-9


@dataclass(frozen=True)
class UpdatePlan:
    """What was decided.

    Attributes:
        update: to carry out.
        cost: what it is expected to take on this board.
    """

    update: Update[Any]
    cost: Cost

    @property
    def proposal(self) -> Proposal:
        """What it does."""
        return self.update.proposal


@dataclass(frozen=True)
class Deferral:
    """The best update that cannot be paid for now.

    Attributes:
        plan: that must wait.
        shortfall: what is in the way.
    """

    plan: UpdatePlan
    shortfall: Shortfall


class Planner:
    """Chooses among updates.

    Args:
        wallet: what may be spent.
        predictor: what updates will take.
    """

    def __init__(self, wallet: Wallet, predictor: Predictor) -> None:
        self._wallet, self._predictor = wallet, predictor

    def choose(self, updates: Sequence[Update[Any]], now_s: float) -> UpdatePlan | Deferral | None:
        """The update to carry out now; the best one that must wait; or None without any.

        Args:
            updates: to choose among.
            now_s: seconds since 1970.
        """
        plans = sorted(map(self.price, updates), key=_worth, reverse=True)
        deferral = None
        for plan in plans:
            shortfall = self._wallet.can_afford(worst(plan.cost), now_s)
            if shortfall is None:
                return plan
            deferral = deferral or Deferral(plan, shortfall)
        return deferral

    def price(self, update: Update[Any]) -> UpdatePlan:
        """What an update would take."""
        proposal = update.proposal
        cost = self._predictor.expect(proposal.rung, proposal.demand, COMMIT_WRITES)
        return UpdatePlan(update, cost)


def _worth(plan: UpdatePlan) -> float:
    """Expected gain, in nats, for a joule."""
    return plan.proposal.gain / max(plan.cost.energy_j, _LEAST_J)
