"""Whether new normalization statistics are worth keeping, judged on the very frames they are from.

The pass that estimates the statistics answers for its frames too, so the proof costs nothing beyond
it. Labels take no part in the estimate, and so are held out from it by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.embarrassment import TEMPERATURE, cross_entropy
from sel_edge.core.standin import StandIn
from sel_edge.runtime.evidence import proved_gain
from sel_edge.runtime.guard import MINIMUM_GAIN
from sel_edge.runtime.head import Head

ENOUGH_LABELS = 6
"""Labelled frames from which on labels alone decide; the stand-in has a say where they are fewer,
or where they tell neither gain nor harm for certain."""


@dataclass(frozen=True)
class NormVerdict:
    """What the guard found.

    Attributes:
        accepted: whether the statistics may be used.
        reason: the numbers in words.
        exact: whether labels decided it; else the calibrated stand-in did.
        frames: how many it was decided on.
        before, after: embarrassment on them in nats.
    """

    accepted: bool
    reason: str
    exact: bool
    frames: int
    before: float
    after: float


def judge_norm(
    head: Head,
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    labels: Sequence[str | None],
    standin: StandIn,
) -> NormVerdict:
    """Judge statistics by what the classifier makes of the features they give.

    With labels enough, embarrassment on them must fall by more than MINIMUM_GAIN at a confidence of
    95 %. Where they leave it open, it must not rise, and the stand-in must fall as certainly.

    Args:
        head: in use.
        before, after: features float32 [n, F] of the same frames, as they were and as they would
            be; n >= 2.
        labels: n class names, None where there is none.
        standin: of the bundle.
    """
    logits = head.logits(before), head.logits(after)
    at = np.array([i for i, name in enumerate(labels) if name in head.positions], np.int64)
    names = head.index([name for name in labels if name is not None and name in head.positions])
    if len(at) >= ENOUGH_LABELS:
        losses = [cross_entropy(part[at], names, TEMPERATURE) for part in logits]
        verdict = _judge(losses[0], losses[1], exact=True)
        if verdict.accepted or verdict.after >= verdict.before:
            return verdict
    estimates = [standin.estimate(part).astype(np.float64) for part in logits]
    return _judge(estimates[0], estimates[1], exact=False)


def _judge(before: NDArray[np.float64], after: NDArray[np.float64], exact: bool) -> NormVerdict:
    everyone = np.zeros(len(before), np.int64)
    gain = proved_gain(before - after, everyone, everyone == 0)
    measure = "labels" if exact else "frames (stand-in)"
    e_before, e_after = float(before.mean()), float(after.mean())
    reason = f"E on {len(before)} {measure} {e_before:.2f} -> {e_after:.2f}"
    return NormVerdict(gain > MINIMUM_GAIN, reason, exact, len(before), e_before, e_after)
