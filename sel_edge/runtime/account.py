"""What a ledger says of a network at the start, and how answers are scored for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from sel_edge.bundle.domain import OWN
from sel_edge.core.ledger import Decision, LedgerWriter, Update
from sel_edge.runtime.network import Network
from sel_edge.runtime.normal import NormalLevels
from sel_edge.runtime.updates.head import RUNG as HEAD


def normal_at_start(ledger: LedgerWriter, network: Network) -> dict[int, NormalLevels]:
    """What was normal in each domain, as far as the ledger tells it of this network."""
    recorded = {
        number: ledger.current_levels(network.hash, number) for number in (OWN, *network.domains)
    }
    return {
        number: NormalLevels.recorded(levels)
        for number, levels in recorded.items()
        if levels is not None
    }


def taught_at_start(updates: Iterable[Update], network: Network) -> dict[int, int]:
    """Domain -> frames seen when its classifier learned last, of updates that led to a network.

    Args:
        updates: all that were recorded.
        network: in use.
    """
    kept = {update.network_after: update for update in updates if update.kept}
    taught: dict[int, int] = {}
    at = network.hash
    while (update := kept.pop(at, None)) is not None:
        if update.rung == HEAD:
            taught.setdefault(update.domain, update.frame)
        at = update.network_before
    return taught


def found_at_start(ledger: LedgerWriter, network: Network) -> tuple[Decision, ...]:
    """What is to be recorded of a start with another network than was in use when it ended.

    A person has gone back, or an update was stored and the power failed before it was recorded or
    confirmed.
    """
    before = ledger.current_network() or Network(network.base).hash
    if before == network.hash:
        return ()
    reason = f"the slots hold {network.hash}, the ledger ended with {before}"
    return (Decision(ledger.frames(), "rollback", reason, (), network.hash),)


def scored(predictions: Iterable[str], truths: Iterable[str | None]) -> dict[str, tuple[int, int]]:
    """Class -> (frames, correct answers), over the frames whose truth is known."""
    frames: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for prediction, truth in zip(predictions, truths, strict=True):
        if truth is not None:
            frames[truth] += 1
            right[truth] += prediction == truth
    return {truth: (count, right[truth]) for truth, count in sorted(frames.items())}
