"""Domains: which environment each frame is from, told before the network answers.

A frame goes to the domain whose frames look most alike to the network's first layer, and frames
that came just before count: where one domain has been for long, a single odd frame is no other. So
a domain that returns is served within a few frames, and a mixture is told apart frame by frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.domain import OWN, Domain
from sel_edge.runtime.moments import MomentModel

RECENT_FRAMES = 64
"""Frames whose domains say what to expect of the next."""
_LOG_COUNTED_ONCE_MORE = np.log(np.arange(1, RECENT_FRAMES + 2)).tolist()


class Router:
    """Tells frames of several domains apart.

    Args:
        model: of the bundle.

    Attributes:
        model: as given.
    """

    def __init__(self, model: MomentModel) -> None:
        self.model = model
        self._recent: deque[int] = deque(maxlen=RECENT_FRAMES)

    def route(
        self, moments: NDArray[np.float32], domains: Mapping[int, Domain]
    ) -> NDArray[np.int64]:
        """The number of each frame's domain, int64 [n].

        The likeliest one, if frames of every domain scatter alike: log share of the domain among
        the frames before it, each domain counted once more, less half the squared distance. How
        frames are divided into batches makes no difference.

        Args:
            moments: float32 [n, 2, C].
            domains: beside the bundle's own.
        """
        numbers = [OWN, *domains]
        places = [self.model.normal, *(domain.place for domain in domains.values())]
        points = self.model.points(moments)
        centres = self.model.scaled(np.array(places, np.float64))
        likeness = -np.square(points[:, None] - centres).sum(axis=2) / 2
        counts = {number: self._recent.count(number) for number in numbers}
        chosen = []
        for of_frame in likeness.tolist():
            pairs = zip(of_frame, counts.values(), strict=True)
            scores = [like + _LOG_COUNTED_ONCE_MORE[count] for like, count in pairs]
            number = numbers[scores.index(max(scores))]
            if len(self._recent) == RECENT_FRAMES and self._recent[0] in counts:
                counts[self._recent[0]] -= 1
            self._recent.append(number)
            counts[number] += 1
            chosen.append(number)
        return np.array(chosen, np.int64)

    def flops(self, frames: int, domains: int) -> int:
        """Operations of routing as many frames among so many domains beside the bundle's own."""
        side = len(self.model.normal)
        return frames * side * (2 * side + 3 * (domains + 1))


class OneDomain(Router):
    """Takes every frame for one of a domain that is known beforehand.

    Args:
        router: whose model it has.
        number: of the domain.
    """

    def __init__(self, router: Router, number: int) -> None:
        super().__init__(router.model)
        self._number = number

    def route(
        self, moments: NDArray[np.float32], domains: Mapping[int, Domain]
    ) -> NDArray[np.int64]:
        """That number for each frame, int64 [n]."""
        return np.full(len(moments), self._number, np.int64)
