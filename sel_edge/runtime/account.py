"""What a ledger says of a network at the start, and how answers are scored for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from sel_edge.bundle.domain import OWN
from sel_edge.core.ledger import Decision, LedgerWriter, Tick, Update
from sel_edge.core.measurement import Energy
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
    way = _way(updates, network)
    at = way[0].network_before if way else network.hash
    frame, start = way[0].frame if way else made_at, Network(network.base).hash
    taught = {} if at == start else {OWN: frame}
    for update in way:
        if update.rung != NORM:
            taught[update.domain] = update.frame
        else:
            taught.setdefault(update.domain, max(taught.values(), default=0))
    return taught if at == start else dict.fromkeys(network.domains, frame) | taught


def of_network(updates: Iterable[Update], network: Network) -> list[Update]:
    """The updates that led to a network, and those that were refused on the way, oldest first."""
    updates = list(updates)
    way = _way(updates, network)
    names = {Network(network.base).hash, network.hash, *(update.network_after for update in way)}
    return [
        update
        for update in updates
        if (update in way if update.kept else update.network_before in names)
    ]


def _way(updates: Iterable[Update], network: Network) -> list[Update]:
    """The recorded updates that led to a network, oldest first, as far back as they are known."""
    kept = {update.network_after: update for update in updates if update.kept}
    way: list[Update] = []
    at, start = network.hash, Network(network.base).hash
    while at != start and (update := kept.pop(at, None)) is not None:
        way.append(update)
        at = update.network_before
    return way[::-1]


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


def asked_for(start: int, watching_flops: int, energy: Energy, seconds: float) -> Tick:
    """A tick without frames, of what it took beside learning to do what a person asked for.

    Args:
        start: frames seen so far.
        watching_flops, energy, seconds: as a tick tells them.
    """
    return Tick(
        start=start,
        n=0,
        segment="asked for",
        scores={},
        embarrassment={},
        domains={},
        novel=0,
        executed_flops=0,
        watching_flops=watching_flops,
        energy=energy,
        seconds=seconds,
    )
