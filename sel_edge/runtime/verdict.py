"""What a guard found about a candidate."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """Whether a candidate may replace what is in use, and why.

    Attributes:
        accepted: whether it may.
        reason: the numbers in words.
        exact: whether labels decided it; else the calibrated stand-in did.
        held_out: how many samples it was judged on; none of them taught it.
        held_out_before, held_out_after: embarrassment on them in nats.
        anchors_before, anchors_after: mean embarrassment on the anchors in nats; None where they
            are not touched.
    """

    accepted: bool
    reason: str
    exact: bool
    held_out: int
    held_out_before: float
    held_out_after: float
    anchors_before: float | None = None
    anchors_after: float | None = None
