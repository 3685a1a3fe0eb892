"""Networks, frames and words for the tests of whole boards."""

from __future__ import annotations

import numpy as np
import pytest

from sel_edge.core.errors import RefusedError
from sel_edge.link.messages.refusal import Refusal
from tools.small_network import SIDE, small_delta, small_image

SMALL = small_image()
WIDE = small_image(width=32)
LONG_PAYLOAD = small_delta(WIDE)
"""Of several chunks."""


def frames(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def refusal(error: pytest.ExceptionInfo[RefusedError]) -> tuple[int, dict[str, int | str]]:
    """What a board said no with."""
    return error.value.status, error.value.fields


def no(status: Refusal, **fields: int | str) -> tuple[int, dict[str, int | str]]:
    """What `refusal` is to be."""
    return status, fields
