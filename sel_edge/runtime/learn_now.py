"""Learning because a person asked for it: from all labels there are, whatever the triggers say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sel_edge.core.ledger import Decision, Update
from sel_edge.core.shortfall import Shortfall
from sel_edge.runtime.loop import Runtime
from sel_edge.runtime.planner import UpdatePlan

NOTHING = (
    "Nothing can be learned from the labels there are: a gain could not be proved on so few that "
    "are held out. `sel-edge label` lists the frames whose labels would teach most."
)


@dataclass(frozen=True)
class Step:
    """One plan and what came of it.

    Attributes:
        plan: what was planned.
        shortfall: what the wallet says against it.
        decisions, updates: of carrying it out; none if it was not.
    """

    plan: UpdatePlan
    shortfall: Shortfall | None
    decisions: tuple[Decision, ...] = ()
    updates: tuple[Update, ...] = ()


def price(runtime: Runtime) -> list[Step]:
    """What could be learned now, and nothing of it done."""
    return [Step(plan, runtime.objection(plan)) for plan in runtime.plans()]


def learn_now(runtime: Runtime, begin: Callable[[], None] | None = None) -> list[Step]:
    """Learn in one domain after the other; what is planned for the next depends on those before.

    Args:
        runtime: that learns.
        begin: called once, if there is anything to do.

    Raises:
        StorageError: something cannot be written.
    """
    steps: list[Step] = []
    done: set[tuple[str, int]] = set()
    while plan := next((each for each in runtime.plans() if _key(each) not in done), None):
        if not done and begin is not None:
            begin()
        done.add(_key(plan))
        shortfall, outcome = runtime.objection(plan), runtime.carry_out(plan)
        steps.append(Step(plan, shortfall, outcome.decisions, outcome.updates))
    return steps


def _key(plan: UpdatePlan) -> tuple[str, int]:
    return plan.proposal.rung, plan.proposal.domain
