"""What came of one contestant's way through one story."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

RECOVERY_FRAMES = 100
"""Frames of the moving mean that tells when a contestant has recovered."""
RECOVERED_SHARE = 0.95


@dataclass(frozen=True)
class Outcome:
    """Scores and costs.

    Attributes:
        exams: name -> share of correct answers.
        flops: executed for adapting, beyond the inference that the stream needs anyway.
        wall_s: the same in seconds.
        energy_j: the same in joules, by the profile's estimate.
        delta_bytes: of what was changed, as it is stored; 0 where nothing was.
        triggers: how often an adaptation began.
        right: per frame of the stream, whether the answer was correct; empty for contestants that
            are only examined.
        notes: what else is worth knowing.
    """

    exams: Mapping[str, float]
    flops: float
    wall_s: float
    energy_j: float = 0.0
    delta_bytes: int = 0
    triggers: int = 0
    right: Sequence[bool] = ()
    notes: Mapping[str, object] = field(default_factory=dict)

    def recovery_frames(self, onset: int) -> int | None:
        """Frames from the onset until the next hundred are answered 95 % as well as ever after it.

        None if the story has no onset, or answers on the way are unknown.
        """
        after = np.array(self.right[onset:], dtype=np.float64)
        if len(after) < 2 * RECOVERY_FRAMES:
            return None
        window = np.ones(RECOVERY_FRAMES) / RECOVERY_FRAMES
        means = np.convolve(after, window, mode="valid")
        enough = means >= RECOVERED_SHARE * means.max()
        return int(enough.argmax())
