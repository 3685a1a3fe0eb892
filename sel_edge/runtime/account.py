"""What a ledger says of a network at the start, and how answers are scored for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from sel_edge.bundle.domain import OWN
from sel_edge.core.ledger import Decision, LedgerWriter, Update
from sel_edge.runtime.network import Network
from sel_edge.runtime.normal import NormalLevels
from sel_edge.runtime.renormalize import RUNG as NORM


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


def taught_at_start(updates: Iterable[Update], network: Network, made_at: int) -> dict[int, int]:
    """Domain -> frames whose labels may have taught the network there, and prove nothing to it.

    Those are the frames up to the last lesson of the domain. A new domain begins with
    the shared rows, and with labels of which others may have learned until then. Where an update
    was never recorded, because power failed right after it was stored, nobody knows what it was:
    then the frames up to its making are taken to have taught every domain.

    Args:
        updates: all that were recorded.
        network: in use.
        made_at: frames seen when it was made.
    """
    start = Network(network.base).hash
    kept = {update.network_after: update for update in updates if update.kept}
    way: list[Update] = []
    at, frame = network.hash, made_at
    while at != start and (update := kept.pop(at, None)) is not None:
        way.append(update)
        at, frame = update.network_before, update.frame
    taught = {} if at == start else {OWN: frame}
    for update in reversed(way):
        if update.rung != NORM:
            taught[update.domain] = update.frame
        else:
            taught.setdefault(update.domain, max(taught.values(), default=0))
    return taught if at == start else dict.fromkeys(network.domains, frame) | taught


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
