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
from sel_edge.runtime.evidence import NORMAL_95, student_95
from sel_edge.runtime.guard import MINIMUM_GAIN
from sel_edge.runtime.verdict import Verdict

STANDIN = "frames (stand-in)"
ENOUGH = 6
"""Frames from which on their gain is looked at; fewer can show anything."""
GAIN_SIGMA = 0.2533471
"""How sure labels must make a gain: 60 %. Less than for weights, because frames that moved away
from all known domains already say that the old statistics are wrong, and because statistics of
their own change nothing for the frames of any other domain."""
HARM_SIGMA = NORMAL_95
"""How sure the stand-in must be of harm. It takes certainty for rightness, and new statistics take
away false certainty, so it cannot prove a gain; it can only show that all has become worse."""
_TINY = 1e-9


def judge_norm(
    classes: Sequence[str],
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    labels: Sequence[str | None],
    standin: StandIn,
) -> Verdict:
    """Judge statistics by what the classifier makes of the features they give.

    If there are labels enough, embarrassment on them must fall by MINIMUM_GAIN on average, and at a
    confidence of 60 %. Where there are not, the stand-in must not rise at a confidence of 95 %.

    Args:
        classes: K names.
        before, after: logits float32 [n, K] of the same frames, as they were and as they would be;
            n >= 2.
        labels: n class names, None where there is none.
        standin: of the bundle.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    at = np.array([i for i, name in enumerate(labels) if name in numbers], np.int64)
    truths = np.array([numbers[name] for name in labels if name in numbers], np.int64)
    others = np.setdiff1d(np.arange(len(labels)), at)
    exact = _Part(*(cross_entropy(part[at], truths, TEMPERATURE) for part in (before, after)))
    guess = _Part(*(standin.estimate(part[others]).astype(float) for part in (before, after)))
    if len(exact.before) >= ENOUGH:
        accepted = exact.score >= GAIN_SIGMA and exact.gain > MINIMUM_GAIN
        return _verdict(accepted, exact, "labels")
    if len(guess.before) < ENOUGH:
        few = (exact, "labels") if len(exact.before) > len(guess.before) else (guess, STANDIN)
        return _verdict(False, *few)
    return _verdict(guess.score > -HARM_SIGMA, guess, STANDIN)


def refuse_norm(before: NDArray[np.float32], standin: StandIn, why: str) -> Verdict:
    """The verdict on statistics that nothing can be computed with.

    Args:
        before: logits float32 [n, K] of the frames as they are answered now, n >= 1.
        standin: of the bundle.
        why: what is wrong with the statistics, in words.
    """
    level = float(standin.estimate(before).mean())
    return Verdict(False, f"statistics of no use: {why}", False, 0, level, level)


@dataclass(frozen=True, eq=False)
class _Part:
    """Embarrassment of some frames, float64 [n] in nats, before and after."""

    before: NDArray[np.float64]
    after: NDArray[np.float64]

    @property
    def gain(self) -> float:
        return float((self.before - self.after).mean())

    @property
    def score(self) -> float:
        """Student's t, scaled so that it is as rare as a normal number of this size at 95 %."""
        drops = self.before - self.after
        if len(drops) < 2:
            return 0.0
        error = float(drops.std(ddof=1)) / len(drops) ** 0.5
        scale: float = NORMAL_95 / student_95(len(drops) - 1)
        score: float = self.gain / max(error, _TINY) * scale
        return score


def _verdict(accepted: bool, part: _Part, measure: str) -> Verdict:
    before, after = float(part.before.mean()), float(part.after.mean())
    reason = (
        f"E on {len(part.before)} {measure} {before:.2f} -> {after:.2f}, {part.score:.1f} sigma "
        "better"
    )
    return Verdict(accepted, reason, measure != STANDIN, len(part.before), before, after)
