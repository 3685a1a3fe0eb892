"""Numbers for many numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def spread_ms(seconds: Sequence[float]) -> dict[str, Any]:
    """Count, median, 99th percentile and maximum in milliseconds; None where there is nothing."""
    if not len(seconds):
        return {"n": 0, "p50_ms": None, "p99_ms": None, "max_ms": None}
    p50, p99, most = (float(ms) for ms in np.percentile(seconds, (50, 99, 100)) * 1e3)
    return {"n": len(seconds), "p50_ms": p50, "p99_ms": p99, "max_ms": most}


def growth(seconds: Sequence[float], values: Sequence[float]) -> float:
    """By how much a value grew over the time, as a share of its median.

    The slope is that of Theil and Sen, the median over all pairs: a few high values do not bend it.

    Args:
        seconds: rising, at least two.
        values: one for each.
    """
    x, y = np.asarray(seconds, float), np.asarray(values, float)
    first, second = np.triu_indices(len(x), 1)
    slope = np.median((y[second] - y[first]) / (x[second] - x[first]))
    return float(slope * (x[-1] - x[0]) / np.median(y))
