"""What updates took against what they were predicted to take, in words."""

from __future__ import annotations

from collections.abc import Sequence

from sel_edge.core.ledger import Update
from sel_edge.report.costs import of_updates
from sel_edge.report.story import cost_words
from sel_edge.report.wording import counted, duration, scaled


def learning_cost(updates: Sequence[Update]) -> str:
    """One sentence on the updates of a session; predictions and joules of a meter stay apart."""
    if not updates:
        return "Nothing was learned, so learning cost nothing."
    taken = of_updates(updates)
    joules = scaled(sum(update.predicted_energy_j for update in updates), "J")
    seconds = duration(sum(update.predicted_seconds for update in updates))
    flops = scaled(sum(update.predicted_flops for update in updates), "FLOP")
    return (
        f"Learning ({counted(len(updates), 'update')}) was predicted to take {joules}, {seconds} "
        f"and {flops}; it took {cost_words(taken.joules)}, {duration(taken.seconds)} and "
        f"{scaled(taken.executed_flops, 'FLOP')}."
    )
