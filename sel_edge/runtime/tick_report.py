"""What a runtime tells of one batch of frames."""

from __future__ import annotations

from dataclasses import dataclass

from sel_edge.core.ledger import Decision, Tick, Update


@dataclass(frozen=True)
class TickReport:
    """What happened in one batch of frames.

    Attributes:
        predictions: a class name per frame.
        confidences: share of that class per frame, 0 to 1, softmax at T = 1.5.
        domains: the number of a domain per frame.
        strange: per frame, whether it is like none of the classes.
        tick, decisions, updates: as they stand in the ledger.
        inference_s: seconds that the answers alone took.
    """

    predictions: tuple[str, ...]
    confidences: tuple[float, ...]
    domains: tuple[int, ...]
    strange: tuple[bool, ...]
    tick: Tick
    decisions: tuple[Decision, ...]
    updates: tuple[Update, ...]
    inference_s: float
