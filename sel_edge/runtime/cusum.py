"""Page's cumulative sum: how much evidence there is that a level has risen, and since when."""

from __future__ import annotations

from sel_edge.runtime.normal import Normal

SURPRISE_LIMIT = 4.0
"""Standard deviations that one sample may count at most: a few odd samples are no change."""


class Cusum:
    """One-sided cumulative sum of surprises (Page 1954).

    Adds up by how many standard deviations each sample lies above normal, less a slack, and never
    falls below zero. A level that rose by much is noticed within few samples, one that rose by
    little within many, and one that did not rise is hardly ever. The earliest sample above normal
    since the last zero dates the change, in whatever order samples are told.

    Args:
        normal: level and spread while nothing has changed.
        slack: standard deviations taken off every surprise.
        limit: where the score stops rising, so that it can fall again once things are well.

    Attributes:
        score: accumulated standard deviations, 0..limit.
        onset: earliest frame of those samples since the score was last zero that speak for a
            change.
        samples: how many came since that zero.
        measured: how many of them `level` is the mean of: those since the last restart.
    """

    def __init__(self, normal: Normal, slack: float, limit: float) -> None:
        self.normal, self._slack, self._limit = normal, slack, limit
        self.score, self.onset, self.samples = 0.0, 0, 0
        self.measured, self._sum = 0, 0.0

    @property
    def level(self) -> float:
        """Mean of the values since the onset or restart; the normal level without any."""
        return self._sum / self.measured if self.measured else self.normal.level

    def add(self, value: float, frame: int, normal: Normal | None = None) -> None:
        """Take in one sample.

        Args:
            value: what was measured, in the units of `normal`.
            frame: when.
            normal: what is normal for this very sample, where that differs from sample to sample.
        """
        if self.score == 0.0:
            self.onset, self.samples, self.measured, self._sum = frame, 0, 0, 0.0
        evidence = min((normal or self.normal).surprise(value), SURPRISE_LIMIT) - self._slack
        if evidence > 0:
            self.onset = min(self.onset, frame)  # labels may be told newest first
        self.score = min(max(self.score + evidence, 0.0), self._limit)
        self.samples += 1
        self.measured += 1
        self._sum += value

    def restart(self, normal: Normal, score: float) -> None:
        """Measure anew, by another level.

        The onset stays, and at most `score` of the evidence: the situation that began there counts
        as over only once the score is zero.
        """
        self.normal = normal
        self.score, self.measured, self._sum = min(self.score, score), 0, 0.0
