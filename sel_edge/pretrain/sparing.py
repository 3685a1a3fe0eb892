"""Which images an epoch leaves out: those that embarrass the network no more than usual.

The idea is InfoBatch's (Qin et al. 2024, arXiv:2303.04947): an image whose last loss was below the
mean is left out by chance, and those of its kind that stay weigh more, so that the expected sum of
the gradients is that of all images. Neither its forward nor its backward pass is computed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def epoch_weights(
    losses: NDArray[np.floating],
    pool: NDArray[np.int64],
    share: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """What every image of an epoch weighs; 0 is left out.

    Args:
        losses: float [N], of each image when it was trained on last; infinite if it never was.
        pool: int64 indices of the images that the epoch may train on.
        share: 0 <= share < 1 of the images below the pool's mean loss that are left out.
        rng: draws one number for every image of the pool.

    Returns:
        float32 [N]: 1, or 1 / (1 - share) for images below the mean that stay; 0 outside the pool.
    """
    weights = np.zeros(len(losses), dtype=np.float32)
    weights[pool] = 1
    known = pool[np.isfinite(losses[pool])]
    if share == 0 or len(known) == 0:
        return weights
    easy = np.zeros(len(losses), dtype=bool)
    easy[known] = losses[known] < losses[known].mean()
    drawn = rng.random(len(pool))
    weights[pool[easy[pool]]] = 1 / (1 - share)
    weights[pool[easy[pool] & (drawn < share)]] = 0
    return weights
