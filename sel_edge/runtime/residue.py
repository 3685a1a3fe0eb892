"""What labels that taught nobody say of a classifier in use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.runtime.memory import Samples
from sel_edge.runtime.normal import Normal


@dataclass(frozen=True)
class Residue:
    """What a learner has for whoever would mend what its classifier cannot.

    Attributes:
        samples: all labels of classes that the classifier knows.
        fresh: bool [N], which of them taught nobody.
        normal: embarrassment of all classes where nothing has changed.
    """

    samples: Samples
    fresh: NDArray[np.bool_]
    normal: Normal

    def where(self, mask: NDArray[np.bool_]) -> Residue:
        """Of those samples for which `mask`, bool [N], holds."""
        return Residue(self.samples.where(mask), self.fresh[mask], self.normal)
